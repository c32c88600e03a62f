//! The registry, case by case.

use super::*;
use proptest::prelude::*;

const LEASE: Duration = Duration::from_secs(5);

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

fn index(number: u64) -> PurgeIndex {
    PurgeIndex::from_number(number)
}

fn holder(node: &str, process: u8) -> Holder {
    Holder {
        node: node.into(),
        process: [process; 16],
    }
}

fn renew(
    leases: &mut Leases,
    millis: u64,
    holder: &Holder,
    applied: u64,
    committed: u64,
) -> Result<Grant, NotGranted> {
    let renewal = Renewal {
        holder,
        applied: index(applied),
        committed: index(committed),
    };
    leases.renew(at(millis), renewal)
}

fn ready(applied: &[(&str, u64)], fenced: &[&str]) -> Acknowledgement {
    Acknowledgement::Ready {
        applied: applied
            .iter()
            .map(|(node, millis)| ((*node).into(), at(*millis)))
            .collect(),
        fenced: fenced.iter().map(|node| (*node).into()).collect(),
    }
}

#[test]
fn an_order_waits_for_both_processes_of_a_node_and_names_the_node_once() {
    let mut leases = Leases::new(LEASE, 10, None, at(0));
    let (old, new) = (holder("a", 1), holder("a", 2));
    renew(&mut leases, 1000, &old, 3, 3).unwrap();
    renew(&mut leases, 1500, &new, 3, 3).unwrap();
    let until = |millis: u64| Acknowledgement::Wait(at(millis).plus(held_for(LEASE)));
    assert_eq!(leases.may_acknowledge(index(4), at(1600)), until(1500));
    renew(&mut leases, 1700, &new, 4, 4).unwrap();
    assert_eq!(leases.may_acknowledge(index(4), at(1800)), until(1000));
    renew(&mut leases, 1900, &old, 4, 4).unwrap();
    assert_eq!(
        leases.may_acknowledge(index(4), at(2000)),
        ready(&[("a", 1900)], &[])
    );
    leases.release(&old);
    renew(&mut leases, 2100, &new, 4, 4).unwrap();
    assert_eq!(leases.may_acknowledge(index(5), at(2200)), until(2100));
}

#[test]
fn an_order_waits_until_a_leased_follower_has_applied_it_or_its_lease_has_run_out() {
    let mut leases = Leases::new(LEASE, 10, None, at(0));
    let (a, b) = (holder("a", 1), holder("b", 2));
    let grant = renew(&mut leases, 1000, &a, 3, 4);
    assert_eq!(
        grant,
        Ok(Grant {
            lease: LEASE,
            barrier: index(4)
        })
    );
    renew(&mut leases, 2000, &b, 4, 4).unwrap();
    let until = at(1000).plus(held_for(LEASE));
    assert_eq!(
        leases.may_acknowledge(index(4), at(2000)),
        ready(&[("b", 2000)], &["a"])
    );
    assert_eq!(leases.acknowledgeable(index(5), at(2000)), index(4));
    renew(&mut leases, 3000, &b, 5, 5).unwrap();
    assert_eq!(
        leases.may_acknowledge(index(5), at(3000)),
        Acknowledgement::Wait(until)
    );
    assert_eq!(leases.counts(at(3000)), (2, 0));
    assert_eq!(
        leases.may_acknowledge(index(5), until),
        ready(&[("b", 3000)], &["a"])
    );
    assert_eq!(leases.counts(until), (1, 1));
    renew(&mut leases, 9000, &a, 5, 5).unwrap();
    assert_eq!(
        leases.may_acknowledge(index(5), at(9000)),
        ready(&[("a", 9000), ("b", 3000)], &[])
    );
}

#[test]
fn who_renews_and_never_applies_holds_nobody_up_for_longer_than_a_lease() {
    let mut leases = Leases::new(LEASE, 10, None, at(0));
    let slow = holder("slow", 1);
    renew(&mut leases, 0, &slow, 1, 1).unwrap();
    for millis in (100..=6000).step_by(10) {
        renew(&mut leases, millis, &slow, 1, 2 + millis / 100).unwrap();
    }
    assert!(leases.acknowledgeable(index(100), at(6000)) >= index(2));
    let last_before = at(5990).plus(held_for(LEASE));
    assert_eq!(
        leases.may_acknowledge(index(62), at(6000)),
        Acknowledgement::Wait(last_before)
    );
    assert_eq!(leases.may_acknowledge(index(11), at(6000)), ready(&[], &["slow"]));
}

#[test]
fn a_lease_that_was_given_back_is_not_waited_for_and_a_new_process_frees_none() {
    let mut leases = Leases::new(LEASE, 10, None, at(0));
    let (old, new) = (holder("a", 1), holder("a", 2));
    renew(&mut leases, 0, &old, 1, 1).unwrap();
    renew(&mut leases, 10, &new, 2, 2).unwrap();
    let until = at(0).plus(held_for(LEASE));
    assert_eq!(
        leases.may_acknowledge(index(2), at(20)),
        Acknowledgement::Wait(until)
    );
    leases.release(&old);
    assert_eq!(leases.may_acknowledge(index(2), at(20)), ready(&[("a", 10)], &[]));
}

#[test]
fn a_voter_waits_for_the_leases_of_its_predecessor() {
    let leases = Leases::new(LEASE, 10, Some(2 * LEASE), at(7000));
    let until = at(7000).plus(held_for(2 * LEASE));
    assert_eq!(
        leases.may_acknowledge(index(1), at(7000)),
        Acknowledgement::Wait(until)
    );
    assert_eq!(leases.acknowledgeable(index(1), at(7000)), PurgeIndex::NONE);
    assert!(!leases.is_quiet(at(7000)) && leases.is_quiet(until));
    assert_eq!(leases.acknowledgeable(index(1), until), index(1));
}

#[test]
fn nobody_gets_a_lease_who_is_ahead_one_too_many_or_late() {
    let mut leases = Leases::new(LEASE, 1, None, at(0));
    let (a, b) = (holder("a", 1), holder("b", 2));
    assert_eq!(renew(&mut leases, 0, &a, 3, 2), Err(NotGranted::Ahead));
    renew(&mut leases, 0, &a, 2, 2).unwrap();
    assert_eq!(renew(&mut leases, 0, &b, 2, 2), Err(NotGranted::Crowded));
    let much_later = 1_000_000;
    renew(&mut leases, much_later, &b, 2, 2).unwrap();
    leases.close();
    assert_eq!(renew(&mut leases, much_later, &b, 2, 2), Err(NotGranted::Closed));
}

proptest! {
    /// Against a registry that forgets no lease and counts none together.
    #[test]
    fn no_order_is_acknowledged_that_a_full_record_would_hold_back(
        steps in prop::collection::vec((0u64..200, 0u8..3, 0u64..4, 0u64..3), 1..150)
    ) {
        let mut leases = Leases::new(LEASE, 10, None, at(0));
        let mut record: Vec<(u8, PurgeIndex, BootTime)> = Vec::new();
        let (mut applied, mut committed, mut millis) = ([0; 3], 1, 0);
        for (passed, process, lag, news) in steps {
            millis += passed;
            committed += news;
            let so_far = &mut applied[usize::from(process)];
            *so_far = (committed - lag.min(committed)).max(*so_far);
            renew(&mut leases, millis, &holder("a", process), *so_far, committed).unwrap();
            record.push((process, index(committed), at(millis).plus(held_for(LEASE))));
            let now = at(millis);
            for order in committed.saturating_sub(20).max(1)..=committed {
                let holds_back = |(process, barrier, until): &(u8, PurgeIndex, BootTime)| {
                    *barrier < index(order) && *until > now && applied[usize::from(*process)] < order
                };
                let is_held_back = record.iter().any(holds_back);
                let is_ready = leases.acknowledgeable(index(committed), now) >= index(order);
                prop_assert!(!(is_ready && is_held_back), "{order} at {millis}");
            }
        }
    }

    #[test]
    fn a_held_lease_never_outlasts_what_was_granted_at_or_below_what_is_applied(
        grants in prop::collection::vec((0u64..1000, 0u64..10, 0u64..10), 1..50)
    ) {
        let mut held = Held::default();
        let (mut applied, mut granted) = (0, Vec::new());
        for (sent, barrier, further) in grants {
            applied = further.max(applied);
            let grant = Grant { lease: LEASE, barrier: index(barrier) };
            held.granted(at(sent), grant, index(applied));
            granted.push((sent, barrier));
            let effective = granted.iter().filter(|(_, barrier)| *barrier <= applied);
            let longest = effective.map(|(sent, _)| at(*sent).plus(LEASE)).max();
            prop_assert!(held.until() <= longest.unwrap_or(BootTime::ZERO));
        }
        held.release();
        prop_assert_eq!(held.until(), BootTime::ZERO);
    }
}
