//! What is written as OpenMetrics, read by the grammar of its specification.
//!
//! The reader knows the specification alone: its ABNF, and what its text says of families and their samples.

use super::*;
use crate::base::clock::Timestamp;
use crate::base::metrics::{Format, Metrics, Outcome};
use proptest::prelude::*;
use std::collections::HashSet;

#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    help: String,
    samples: Vec<Read>,
}

type Labels = Vec<(String, String)>;

#[derive(Debug)]
struct Read {
    name: String,
    labels: Labels,
    value: f64,
    /// With its value and time.
    exemplar: Option<(Labels, f64, f64)>,
}

/// What is left of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, text: &str) -> bool {
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, text: &str) {
        assert!(self.take(text), "no {text:?} at {:?}", self.0);
    }

    fn while_in(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !belongs(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    /// `metricname`; without colons `label-name`.
    fn name(&mut self, colons: &str) -> String {
        let name = self.while_in(|c| c.is_ascii_alphanumeric() || c == '_' || colons.contains(c));
        assert!(
            !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()),
            "{name:?}"
        );
        name.to_owned()
    }

    /// `escaped-string`, up to what ends it.
    fn escaped(&mut self, end: Option<char>) -> String {
        let mut text = String::new();
        loop {
            match self.0.chars().next() {
                next if next == end => return text,
                Some('\\') => {
                    let escape = self.0[1..].chars().next().expect("an escape is of something");
                    text.push(if escape == 'n' { '\n' } else { escape });
                    self.0 = &self.0[1 + escape.len_utf8()..];
                }
                Some(normal) => {
                    assert!(!matches!(normal, '"' | '\n'), "{normal:?} has to be escaped");
                    text.push(normal);
                    self.0 = &self.0[normal.len_utf8()..];
                }
                None => panic!("the string does not end"),
            }
        }
    }

    fn labels(&mut self) -> Labels {
        let mut labels = Vec::new();
        if !self.take("{") {
            return labels;
        }
        while !self.take("}") {
            if !labels.is_empty() {
                self.expect(",");
            }
            let name = self.name("");
            self.expect("=\"");
            labels.push((name, self.escaped(Some('"'))));
            self.expect("\"");
        }
        labels
    }

    /// `number`: Rust reads more, so letters are looked at.
    fn number(&mut self) -> f64 {
        let text = self.while_in(|c| c != ' ');
        let real = |c: char| c.is_ascii_digit() || "+-.e".contains(c);
        assert!(
            text.chars().all(real) || ["+Inf", "-Inf", "NaN"].contains(&text),
            "{text:?}"
        );
        text.parse().unwrap()
    }
}

fn read(text: &str) -> Vec<Family> {
    let body = text.strip_suffix("# EOF\n").expect("it says where it ends");
    let mut families: Vec<Family> = Vec::new();
    for line in body.split_terminator('\n') {
        let mut rest = Rest(line);
        if rest.take("# HELP ") {
            let name = rest.name(":");
            rest.expect(" ");
            let help = rest.escaped(None);
            families.push(Family {
                name,
                help,
                ..Family::default()
            });
        } else if rest.take("# TYPE ") {
            let family = families.last_mut().expect("HELP came before");
            assert_eq!(rest.name(":"), family.name);
            rest.expect(" ");
            family.kind = rest.0.to_owned();
        } else {
            let family = families.last_mut().expect("a family came before");
            family.samples.push(read_sample(rest));
        }
    }
    families
}

fn read_sample(mut rest: Rest<'_>) -> Read {
    let (name, labels) = (rest.name(":"), rest.labels());
    rest.expect(" ");
    let value = rest.number();
    let exemplar = rest.take(" # ").then(|| {
        let labels = rest.labels();
        rest.expect(" ");
        let value = rest.number();
        rest.expect(" ");
        (labels, value, rest.number())
    });
    assert_eq!(rest.0, "", "after the sample");
    Read {
        name,
        labels,
        value,
        exemplar,
    }
}

/// What the specification says beside its grammar.
fn check(families: &[Family]) {
    let mut names = HashSet::new();
    let mut series = HashSet::new();
    for family in families {
        assert!(names.insert(&family.name), "{} comes twice", family.name);
        assert!(!family.help.is_empty(), "{}", family.name);
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" | "unknown" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other} is no type"),
        };
        for sample in &family.samples {
            let suffix = sample.name.strip_prefix(&family.name);
            assert!(
                suffix.is_some_and(|suffix| suffixes.contains(&suffix)),
                "{sample:?}"
            );
            assert!(
                series.insert((&sample.name, &sample.labels)),
                "{sample:?} comes twice"
            );
            let may_show = family.kind == "counter" || sample.name.ends_with("_bucket");
            assert!(sample.exemplar.is_none() || may_show, "{sample:?}");
            assert!(family.kind != "counter" || sample.value >= 0.0, "{sample:?}");
        }
        if family.kind == "histogram" {
            check_histogram(&family.samples);
        }
    }
}

/// Buckets come by their bounds, each with what the ones before it have; the last has all.
fn check_histogram(samples: &[Read]) {
    let mut before = (f64::NEG_INFINITY, 0.0);
    for sample in samples {
        if sample.name.ends_with("_bucket") {
            let (name, bound) = sample.labels.last().expect("a bucket has a bound");
            assert_eq!(name, "le");
            let bound: f64 = bound.parse().unwrap();
            assert!(bound > before.0 && sample.value >= before.1, "{sample:?}");
            if let Some((_, value, _)) = &sample.exemplar {
                assert!(
                    *value <= bound && *value > before.0,
                    "{sample:?} is another bucket's"
                );
            }
            before = (bound, sample.value);
        } else if sample.name.ends_with("_count") {
            assert_eq!(before, (f64::INFINITY, sample.value));
            before = (f64::NEG_INFINITY, 0.0);
        }
    }
}

fn families_of(metrics: &Metrics) -> Vec<Family> {
    let text = String::from_utf8(metrics.render(Format::OpenMetrics)).unwrap();
    let families = read(&text);
    check(&families);
    families
}

#[test]
fn the_whole_table_follows_the_specification() {
    let metrics = Metrics::new();
    let _origin = metrics.of_origin("shop");
    metrics.of_no_route().request_body_bytes.inc_by(12);
    for micros in [1, 50, 51, 900, 70_000, 100_000_000] {
        let seconds = f64::from(micros) / 1e6;
        metrics.request_duration[Outcome::Miss].observe(seconds);
        metrics.exemplar(
            Outcome::Miss,
            seconds,
            [7; 16],
            Timestamp::from_millis(1_700_000_000_123),
        );
    }
    let families = families_of(&metrics);
    let found = |name: &str| families.iter().find(|family| family.name == name).unwrap();
    let bytes = found("aquatint_request_body_bytes");
    assert_eq!((bytes.kind.as_str(), bytes.samples[0].value), ("counter", 12.0));
    assert_eq!(bytes.samples[0].name, "aquatint_request_body_bytes_total");
    assert_eq!(found("process_open_fds").kind, "gauge");
    // Two metrics would be one family: the counter goes by its whole name.
    assert_eq!(found("aquatint_connections").kind, "gauge");
    assert_eq!(found("aquatint_connections_total").kind, "unknown");
}

#[test]
fn an_exemplar_is_shown_with_its_bucket_alone() {
    let metrics = Metrics::new();
    let at = Timestamp::from_millis(1_700_000_000_123);
    metrics.exemplar(Outcome::HitSsd, 0.000_3, [0xab; 16], at);
    metrics.exemplar(Outcome::HitSsd, 0.000_4, [0x0c; 16], at);
    let families = families_of(&metrics);
    let shown: Vec<_> = families
        .iter()
        .flat_map(|family| &family.samples)
        .filter(|sample| sample.exemplar.is_some())
        .collect();
    let [shown] = shown[..] else { panic!("{shown:?}") };
    assert_eq!(shown.name, "aquatint_request_duration_seconds_bucket");
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(shown.labels, [label("outcome", "hit_ssd"), label("le", "0.0005")]);
    let trace = label("trace_id", &"0c".repeat(16));
    assert_eq!(shown.exemplar, Some((vec![trace], 0.000_4, 1_700_000_000.123)));
}

proptest! {
    #[test]
    fn whatever_a_route_is_called_is_read_as_it_was_written(name in "\\PC*[\"\\\\\n]?\\PC*") {
        let metrics = Metrics::new();
        let route = metrics.of_route(&name);
        route.request_body_bytes.inc_by(3);
        let families = families_of(&metrics);
        let family = families.iter().find(|family| family.name == "aquatint_request_body_bytes").unwrap();
        let sample = family.samples.iter().find(|sample| sample.labels[0].1 == name).unwrap();
        prop_assert_eq!(sample.value, 3.0);
    }

    #[test]
    fn every_number_is_read_as_it_was_written(value: f64) {
        let text = number(value);
        let read = Rest(&text).number();
        prop_assert!(read == value || (read.is_nan() && value.is_nan()), "{text}");
        let text = canonical(value.abs());
        prop_assert!(text.contains(['.', 'e', 'I', 'N']), "{text}");
        let read: f64 = text.parse().unwrap();
        prop_assert!(read == value.abs() || read.is_nan(), "{text}");
    }
}
