//! What heat promises.

use super::*;
use crate::base::clock;
use crate::cluster::load::Draws;
use std::collections::HashMap;

fn heat(hot_rate: u32, hot_keys_max: usize) -> Heat {
    Heat::new(&Config {
        hot_rate,
        hot_keys_max,
        ..Config::default()
    })
}

fn key(number: u32) -> KeyName {
    KeyName::of(&number.to_string())
}

/// A clock that this test moves, and the heat that it ticks for.
struct Stream {
    heat: Heat,
    now: Instant,
    draws: Draws,
}

impl Stream {
    fn new(heat: Heat) -> Self {
        let now = clock::monotonic();
        heat.tick(now);
        Stream {
            heat,
            now,
            draws: Draws::new(7),
        }
    }

    /// Requests for one key at an even rate.
    fn ask(&mut self, key: KeyName, rate: u32, ticks: u32) {
        for _ in 0..ticks {
            for _ in 0..rate * TICK.as_millis() as u32 / 1000 {
                self.heat.note(key);
            }
            self.pass(1);
        }
    }

    fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now += TICK;
            self.heat.tick(self.now);
        }
    }

    /// Requests for keys of which the n-th is asked for 1/n as often as the first.
    fn zipf(&mut self, keys: u32, requests: u32, ticks: u32) -> HashMap<u32, u32> {
        let cumulated: Vec<f64> = (1..=keys)
            .scan(0.0, |sum, rank| {
                *sum += 1.0 / f64::from(rank);
                Some(*sum)
            })
            .collect();
        let mut counts = HashMap::new();
        for number in 0..requests {
            let draw = (self.draws.draw() >> 11) as f64 / (1u64 << 53) as f64 * cumulated[keys as usize - 1];
            let rank = cumulated.partition_point(|sum| *sum <= draw) as u32 + 1;
            *counts.entry(rank).or_default() += 1;
            self.heat.note(key(rank));
            if number % (requests / ticks) == requests / ticks - 1 {
                self.pass(1);
            }
        }
        counts
    }
}

fn is_hot(temperature: Temperature) -> bool {
    matches!(temperature, Temperature::Hot(_))
}

#[test]
fn a_key_is_hot_from_the_rate_on() {
    let mut stream = Stream::new(heat(100, 8));
    stream.ask(key(1), 80, 40);
    assert!(!is_hot(stream.heat.temperature(key(1))));
    stream.ask(key(1), 120, 40);
    let Temperature::Hot(rate) = stream.heat.temperature(key(1)) else {
        panic!("it is hot");
    };
    assert!((100..=140).contains(&rate), "{rate}");
}

#[test]
fn a_key_of_ten_times_the_rate_is_hot_after_a_fraction_of_the_window() {
    let stream = Stream::new(heat(100, 8));
    let before = (0..).take_while(|_| !is_hot(stream.heat.note(key(1)))).count();
    assert_eq!(before, 199);
}

#[test]
fn a_hot_key_cools_at_half_the_rate_and_not_before() {
    let mut stream = Stream::new(heat(100, 8));
    stream.ask(key(1), 200, 16);
    stream.ask(key(1), 80, 40);
    assert!(is_hot(stream.heat.temperature(key(1))));
    stream.ask(key(1), 40, 40);
    assert!(!is_hot(stream.heat.temperature(key(1))));
    assert_eq!(stream.heat.hottest(), []);
}

#[test]
fn what_is_not_asked_for_any_more_is_forgotten_after_two_windows() {
    let mut stream = Stream::new(heat(100, 8));
    stream.ask(key(1), 100_000, 8);
    stream.now += WINDOW * 2;
    stream.heat.tick(stream.now);
    assert_eq!(stream.heat.hottest(), []);
    assert_eq!(stream.heat.sketch.count(key(1)), 0);
}

#[test]
fn reported_hits_count_as_requests() {
    let stream = Stream::new(heat(100, 8));
    assert_eq!(stream.heat.add(key(1), 199), Temperature::Cold);
    assert_eq!(stream.heat.add(key(1), 201), Temperature::Hot(200));
}

#[test]
fn absurd_reports_do_not_spill_into_other_counts() {
    let mut stream = Stream::new(heat(100, 8));
    for _ in 0..10_000 {
        stream.heat.add(key(1), u32::MAX);
    }
    stream.pass(WINDOW.as_millis() as u32 / TICK.as_millis() as u32 * 2);
    assert_eq!(stream.heat.sketch.count(key(1)), 0);
}

#[test]
fn a_full_list_keeps_the_hottest_and_no_more() {
    let mut stream = Stream::new(heat(1, 3));
    for round in 0..50 {
        for number in 1..10 {
            stream.heat.add(key(number), number * 10);
        }
        if round % 10 == 0 {
            stream.pass(1);
        }
        assert!(stream.heat.hottest().len() <= 3);
    }
    let hottest: Vec<KeyName> = stream.heat.hottest().into_iter().map(|(key, _)| key).collect();
    assert!(hottest.contains(&key(9)), "{hottest:?}");
    assert!(!hottest.contains(&key(1)), "{hottest:?}");
}

#[test]
fn keys_of_one_heat_do_not_take_turns() {
    let mut stream = Stream::new(heat(1, 1));
    stream.heat.add(key(1), 1000);
    for _ in 0..100 {
        for number in 1..=2 {
            stream.heat.add(key(number), 100);
        }
        stream.pass(1);
        assert_eq!(stream.heat.hottest()[0].0, key(1));
    }
}

#[test]
fn a_rate_of_zero_makes_nothing_hot() {
    let stream = Stream::new(heat(0, 8));
    assert_eq!(stream.heat.add(key(1), 1 << 20), Temperature::Cold);
}

#[test]
fn of_a_zipf_stream_the_keys_above_the_rate_are_hot_and_the_others_are_not() {
    let seconds = 10;
    let mut stream = Stream::new(heat(100, 256));
    let counts = stream.zipf(20_000, 10_000 * seconds, 4 * seconds);
    for rank in 1..=20_000 {
        let rate = counts.get(&rank).copied().unwrap_or(0) / seconds;
        let hot = is_hot(stream.heat.temperature(key(rank)));
        match rate {
            140.. => assert!(hot, "the key of rank {rank} has {rate} requests in a second"),
            0..30 => assert!(
                !hot,
                "the key of rank {rank} has only {rate} requests in a second"
            ),
            _ => {}
        }
    }
}

#[test]
fn the_sketch_never_counts_too_few() {
    let sketch = Sketch::new();
    for number in 0..50_000 {
        sketch.add(key(number), 1 + number % 3);
    }
    assert!((0..50_000).all(|number| sketch.count(key(number)) > number % 3));
}

#[test]
fn threads_count_together() {
    let stream = Stream::new(heat(1, 8));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).map(|_| stream.heat.note(key(1))).last());
        }
    });
    assert_eq!(stream.heat.note(key(1)), Temperature::Hot(2000));
    assert_eq!(stream.heat.hottest(), [(key(1), 2000)]);
}
