//! Series that exist, go and come back; what the two formats say of them.

use super::*;
use prometheus::proto::{Metric, MetricType};
use std::collections::BTreeSet;

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render(Format::Text)).unwrap()
}

#[test]
fn every_series_exists_at_zero_from_the_start() {
    let metrics = Metrics::new();
    let (_route, _origin) = (metrics.of_route("a.example/"), metrics.of_origin("shop"));
    let text = text(&metrics);
    for outcome in Outcome::ALL {
        for route in ["a.example/", NO_ROUTE] {
            let line = format!(
                "aquatint_requests_total{{outcome=\"{}\",route=\"{route}\",status_class=\"5xx\"}} 0",
                outcome.name()
            );
            assert!(text.contains(&line), "{line}");
        }
    }
    for reason in Rejection::ALL {
        let line = format!(
            "aquatint_rejected_requests_total{{reason=\"{}\"}} 0",
            reason.name()
        );
        assert!(text.contains(&line), "{line}");
    }
    for state in AddressState::ALL {
        let line = format!(
            "aquatint_origin_addresses{{origin=\"shop\",state=\"{}\"}} 0",
            state.name()
        );
        assert!(text.contains(&line), "{line}");
    }
    assert!(text.contains("# HELP aquatint_ssd_up Whether the SSD tier is in use"));
    assert!(text.contains(concat!(
        "aquatint_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"} 1"
    )));
}

#[test]
fn a_family_resolves_the_label_it_is_asked_for() {
    let metrics = Metrics::new();
    metrics.of_no_route().requests[(Outcome::Stale, StatusClass::of(304))].inc();
    let line = "aquatint_requests_total{outcome=\"stale\",route=\"none\",status_class=\"3xx\"} 1";
    assert!(text(&metrics).contains(line));
}

fn names_of_routes(metrics: &Metrics) -> BTreeSet<String> {
    let samples = metrics.samples().into_iter();
    let labels = samples.flat_map(|sample| sample.labels);
    labels
        .filter(|(name, _)| name == "route")
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn a_route_that_goes_takes_its_series_along() {
    let metrics = Metrics::new();
    let (kept, going) = (metrics.of_route("a/"), metrics.of_route("b/"));
    let all = ["a/", "b/", NO_ROUTE].map(str::to_owned);
    assert_eq!(names_of_routes(&metrics), BTreeSet::from(all));
    drop(going);
    let left = ["a/", NO_ROUTE].map(str::to_owned);
    assert_eq!(names_of_routes(&metrics), BTreeSet::from(left));
    drop(kept);
    assert_eq!(
        metrics
            .samples()
            .iter()
            .filter(|sample| sample.name.contains("request_body"))
            .count(),
        1
    );
}

#[test]
fn a_route_that_comes_back_while_requests_of_the_old_one_run_loses_no_count() {
    let metrics = Metrics::new();
    let old = metrics.of_route("a/");
    old.request_body_bytes.inc_by(1);
    let new = metrics.of_route("a/");
    new.request_body_bytes.inc_by(2);
    drop(old);
    assert_eq!(new.request_body_bytes.get(), 3);
    assert!(text(&metrics).contains("aquatint_request_body_bytes_total{route=\"a/\"} 3"));
    drop(new);
    assert_eq!(
        metrics.of_route("a/").request_body_bytes.get(),
        0,
        "a new life begins at zero"
    );
}

struct Thermometer(Arc<OriginMetrics>, i64);

impl Observer for Thermometer {
    fn observe(&self) {
        self.0.addresses[AddressState::Up].set(self.1);
    }
}

#[test]
fn the_last_observer_of_a_gauge_has_its_way_and_the_dead_have_none() {
    let metrics = Metrics::new();
    let of_origin = metrics.of_origin("shop");
    let old: Arc<dyn Observer> = Arc::new(Thermometer(of_origin.clone(), 1));
    let new: Arc<dyn Observer> = Arc::new(Thermometer(of_origin.clone(), 2));
    metrics.observed_by(Arc::downgrade(&old));
    metrics.observed_by(Arc::downgrade(&new));
    let seen = || {
        metrics.samples();
        of_origin.addresses[AddressState::Up].get()
    };
    assert_eq!(seen(), 2);
    drop(new);
    assert_eq!(seen(), 1);
    drop(old);
    of_origin.addresses[AddressState::Up].set(7);
    assert_eq!(seen(), 7);
}

/// As `docs/metrics.md` tells of a metric; what outcomes and statuses there are it tells once.
fn row(family: &MetricFamily) -> String {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::HISTOGRAM => "histogram",
        _ => "gauge",
    };
    let metrics = family.get_metric();
    let names = metrics[0].get_label().iter().map(|pair| pair.name());
    let labels: Vec<_> = names
        .map(|name| match name {
            "outcome" | "status_class" | "route" | "origin" | "version" => format!("`{name}`"),
            name => format!("`{name}`: {}", values_of(metrics, name).join(", ")),
        })
        .collect();
    let (name, help) = (family.name(), family.help());
    format!("| `{name}` | {kind} | {} | {help} |", labels.join("; "))
}

fn values_of<'a>(metrics: &'a [Metric], label: &str) -> Vec<&'a str> {
    let pairs = metrics.iter().flat_map(Metric::get_label);
    let values = pairs.filter(|pair| pair.name() == label).map(|pair| pair.value());
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn the_document_tells_of_every_metric_and_of_no_other() {
    let metrics = Metrics::new();
    let _origin = metrics.of_origin("shop");
    let families = metrics.gather();
    let expected: BTreeSet<_> = families.iter().map(row).collect();
    let document = include_str!("../../../docs/metrics.md");
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let told: BTreeSet<_> = rows.map(str::to_owned).collect();
    let differences = |of: &BTreeSet<String>, but: &BTreeSet<String>| {
        of.difference(but).cloned().collect::<Vec<_>>().join("\n")
    };
    let (missing, wrong) = (differences(&expected, &told), differences(&told, &expected));
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "docs/metrics.md lacks\n{missing}\nand should not have\n{wrong}"
    );
}
