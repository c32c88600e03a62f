//! One flight for each key: many wait, one asks; none of them can hold up or end it.

use crate::support::{Answer, Client, Edge, Gate, Origin, PATIENCE, Reply, Setup, eventually, picture};
use std::thread;

/// So many first requests for one target, which wait for the same answer while the gate holds the origin's header.
fn crowd(edge: &Edge, target: &str, clients: usize, gate: &Gate) -> Vec<Answer> {
    let address = edge.address();
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..clients)
            .map(|_| scope.spawn(move || crate::support::get(address, target)))
            .collect();
        // A request that is counted as under way may not have joined the others yet.
        edge.wait_for_metric("aquatint_coalesced_requests_total", |followers| {
            followers >= clients as f64 - 1.0
        });
        gate.open();
        crowd.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// Complaint 16: a stampede of 50 clients made 47 fetches.
#[test]
fn two_hundred_first_requests_reach_the_origin_once() {
    let (gate, body) = (Gate::closed(), picture(20, 100_000));
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).header_held_by(&gate));
    let edge = Edge::before(&origin);
    let answers = crowd(&edge, "/a.png", 200, &gate);
    answers.iter().for_each(|answer| {
        answer.expect(200, &body);
    });
    assert_eq!(origin.count("/a.png"), 1);
    let collapsed = answers
        .iter()
        .filter(|answer| answer.cache_status().has("collapsed"))
        .count();
    let hits = answers.iter().filter(|answer| answer.is_hit()).count();
    assert_eq!(collapsed + hits, 199);
    assert!(collapsed > 0);
    edge.wait_for_metric("aquatint_coalesced_requests_total", |count| {
        count == collapsed as f64
    });
}

#[test]
fn requests_for_different_images_do_not_wait_for_each_other() {
    let gate = Gate::closed();
    let origin = Origin::with("/held.png", Reply::fresh("held").header_held_by(&gate));
    origin.set("/free.png", Reply::fresh("free"));
    let edge = Edge::before(&origin);
    let mut waiting = Client::connect(edge.address());
    waiting.send_request("GET", "/held.png", &[]);
    gate.wait_for_held(1);
    edge.get("/free.png").expect_miss(b"free");
    assert!(waiting.is_silent());
    gate.open();
    waiting.answer().expect_miss(b"held");
}

/// Complaint 17: the waiters were served at the pace of the first client.
#[test]
fn a_slow_first_client_stalls_nobody() {
    let (gate, body) = (Gate::closed(), picture(21, 30 << 20));
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).body_held_by(&gate, 1 << 20));
    let edge = Edge::before(&origin);
    let mut slow = Client::connect(edge.address());
    slow.send_request("GET", "/a.png", &[]).header().unwrap();
    let mut second = Client::connect(edge.address());
    second.send_request("GET", "/a.png", &[]);
    assert!(second.header().unwrap().cache_status().has("collapsed"));
    gate.open();
    // From here on the slow one reads nothing, and its socket can not hold the rest.
    assert!(second.read_exactly(body.len()).unwrap() == body);
    edge.wait_for_fills();
    edge.get("/a.png").expect_hit(&body);
    assert!(slow.read_exactly(body.len()).unwrap() == body);
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn a_client_that_leaves_does_not_end_the_fill() {
    let (gate, body) = (Gate::closed(), picture(22, 400_000));
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).body_held_by(&gate, 100_000));
    let edge = Edge::before(&origin);
    let mut leaving = Client::connect(edge.address());
    leaving.send_request("GET", "/a.png", &[]).header().unwrap();
    let mut staying = Client::connect(edge.address());
    staying.send_request("GET", "/a.png", &[]).header().unwrap();
    drop(leaving);
    gate.open();
    assert!(staying.read_exactly(body.len()).unwrap() == body);
    edge.wait_for_fills();
    edge.get("/a.png").expect_hit(&body);
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn a_fill_ends_though_nobody_waits_for_it_any_more() {
    let (gate, body) = (Gate::closed(), picture(23, 400_000));
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).header_held_by(&gate));
    let edge = Edge::before(&origin);
    let mut leaving = Client::connect(edge.address());
    leaving.send_request("GET", "/a.png", &[]);
    gate.wait_for_held(1);
    drop(leaving);
    gate.open();
    edge.wait_for_fills();
    eventually("the image is stored", || {
        edge.get("/a.png").is_hit().then_some(())
    });
    edge.get("/a.png").expect_hit(&body);
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn the_first_byte_of_a_large_image_arrives_before_the_origin_sent_its_last() {
    let (gate, body) = (Gate::closed(), picture(24, 30 << 20));
    let half = body.len() / 2;
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).body_held_by(&gate, half));
    let edge = Edge::before(&origin);
    let mut first = Client::connect(edge.address());
    first.send_request("GET", "/a.png", &[]);
    assert_eq!(first.header().unwrap().status, 200);
    assert!(first.read_exactly(half).unwrap() == body[..half]);
    // Who comes in the middle gets the start at once, and the rest as it arrives.
    let mut second = Client::connect(edge.address());
    second.send_request("GET", "/a.png", &[]);
    assert!(second.header().unwrap().cache_status().has("collapsed"));
    assert!(second.read_exactly(half).unwrap() == body[..half]);
    gate.open();
    for client in [&mut first, &mut second] {
        assert!(client.read_exactly(half).unwrap() == body[half..]);
    }
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn a_waiter_asking_for_a_range_gets_it_from_the_fill_in_flight() {
    let (gate, body) = (Gate::closed(), picture(25, 500_000));
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).body_held_by(&gate, 200_000));
    let edge = Edge::before(&origin);
    let mut first = Client::connect(edge.address());
    first.send_request("GET", "/a.png", &[]).header().unwrap();
    let mut second = Client::connect(edge.address());
    second.send_request("GET", "/a.png", &[("Range", "bytes=1000-1999")]);
    gate.open();
    let answer = second.answer();
    match answer.status {
        206 => answer.expect(206, &body[1000..2000]),
        _ => answer.expect(200, &body),
    };
    assert!(first.read_exactly(body.len()).unwrap() == body);
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn what_may_not_be_shared_is_not_shared_between_those_who_waited() {
    for control in ["no-store", "private, max-age=60"] {
        let gate = Gate::closed();
        let origin = Origin::start();
        let held = gate.clone();
        origin.set_with("/me.png", move |_, nth| {
            Reply::of(format!("secret {nth}"))
                .header("cache-control", control)
                .header_held_by(&held)
        });
        let edge = Edge::before(&origin);
        let answers = crowd(&edge, "/me.png", 8, &gate);
        let mut secrets: Vec<_> = answers.into_iter().map(|answer| answer.body).collect();
        secrets.sort();
        secrets.dedup();
        assert_eq!(secrets.len(), 8, "{control}");
        assert_eq!(origin.count("/me.png"), 8, "{control}");
    }
}

/// Where the first answer may not be shared, those who come later do not queue behind one another.
#[test]
fn a_url_known_as_private_is_asked_for_in_parallel() {
    let gate = Gate::closed();
    let origin = Origin::start();
    let held = gate.clone();
    origin.set_with("/me.png", move |_, nth| {
        let reply = Reply::of(format!("secret {nth}")).header("cache-control", "private");
        if nth == 1 {
            reply
        } else {
            reply.header_held_by(&held)
        }
    });
    let edge = Edge::before(&origin);
    edge.get("/me.png").expect(200, b"secret 1");
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(edge.address())).collect();
    for client in &mut clients {
        client.send_request("GET", "/me.png", &[]);
    }
    gate.wait_for_held(5);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(origin.count("/me.png"), 6);
}

#[test]
fn those_who_wait_for_a_failing_origin_are_all_told() {
    let gate = Gate::closed();
    let origin = Origin::with("/a.png", Reply::reset().header_held_by(&gate));
    let edge = Edge::before(&origin);
    let answers = crowd(&edge, "/a.png", 20, &gate);
    for answer in answers {
        assert_eq!(answer.status, 502, "{answer:?}");
    }
    assert!(
        origin.count("/a.png") <= 3,
        "a failure made {} requests",
        origin.count("/a.png")
    );
    origin.set("/a.png", Reply::fresh("image"));
    edge.get("/a.png").expect_miss(b"image");
}

#[test]
fn a_fill_has_a_deadline_for_its_whole() {
    let forever = PATIENCE / 600;
    let origin = Origin::start();
    origin.set("/a.png", Reply::fresh(picture(26, 100_000)).trickling(1, forever));
    let setup = Setup::of(&origin).purge("minimum_patience", "100ms");
    let edge = setup.serve("fill_deadline", "500ms").start();
    let mut client = Client::connect(edge.address());
    client.send_request("GET", "/a.png", &[]);
    let outcome = client.try_answer_to("GET");
    assert!(
        !matches!(&outcome, Ok(answer) if answer.status == 200),
        "{outcome:?}"
    );
    edge.wait_for_fills();
    origin.set("/a.png", Reply::fresh("image"));
    edge.get_despite_deadlines("/a.png").expect_miss(b"image");
}
