//! What an edge tells Prometheus: which metrics there are, with which labels, and which values these have.

use crate::query::Selector;
use crate::support::{Certificate, Edge, Origin, Setup, get};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Labels that come from Prometheus: who was asked.
const OF_THE_TARGET: [&str; 2] = ["instance", "job"];

/// What Prometheus tells of a target by itself.
const OF_PROMETHEUS: [&str; 1] = ["up"];

type Labels = BTreeMap<String, String>;

/// The series of each metric.
pub(crate) struct Exposed(BTreeMap<String, Vec<Labels>>);

/// Those of an edge that has just started: every series exists from the start.
pub(crate) static OF_AN_EDGE: LazyLock<Exposed> = LazyLock::new(|| {
    let origin = Origin::start();
    let edge = Setup::of(&origin).with_tls(&Certificate::new()).start();
    Exposed::by(&edge)
});

impl Exposed {
    pub(crate) fn by(edge: &Edge) -> Exposed {
        let answer = get(edge.admin_address(), "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        Exposed::parse(&String::from_utf8(answer.body).unwrap())
    }

    fn parse(text: &str) -> Exposed {
        let mut metrics: BTreeMap<String, Vec<Labels>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split("\",");
            let labels = labels.filter(|label| !label.is_empty()).map(|label| {
                let (label, value) = label.split_once("=\"").unwrap();
                (label.to_owned(), value.trim_end_matches('"').to_owned())
            });
            metrics.entry(name.to_owned()).or_default().push(labels.collect());
        }
        Exposed(metrics)
    }

    /// Why nothing could ever come of this selector.
    pub(crate) fn complaint(&self, selector: &Selector) -> Option<String> {
        let metric = &selector.metric;
        if OF_PROMETHEUS.contains(&metric.as_str()) {
            return None;
        }
        let Some(series) = self.0.get(metric) else {
            return Some(format!("there is no metric {metric}"));
        };
        let labels: BTreeSet<&str> = series.iter().flat_map(Labels::keys).map(String::as_str).collect();
        let matched = selector.matchers.iter().map(|matcher| &matcher.label);
        let mut named = matched
            .chain(&selector.grouped_by)
            .filter(|label| !OF_THE_TARGET.contains(&label.as_str()));
        if let Some(unknown) = named.find(|label| !labels.contains(label.as_str())) {
            return Some(format!("{metric} has no label {unknown}"));
        }
        let values = selector.matchers.iter().flat_map(|matcher| {
            let values = matcher.values.iter();
            values.map(|value| (&matcher.label, value))
        });
        let mut unknown =
            values.filter(|(label, value)| !series.iter().any(|series| series.get(*label) == Some(*value)));
        let (label, value) = unknown.next()?;
        Some(format!("{label} of {metric} is never {value}"))
    }
}

#[test]
fn a_metric_a_label_and_a_value_that_do_not_exist_are_found() {
    let exposed = Exposed::parse("# HELP a Some.\na{b=\"c\",d=\"e, f\"} 1\na{b=\"g\",d=\"h\"} 0\nz 5\n");
    let complaint = |query: &str| exposed.complaint(&crate::query::selectors(query).unwrap()[0]);
    for fine in [
        "a",
        "a{b=\"c\"}",
        "sum by (d, instance) (a{b!~\"c|g\"})",
        "z",
        "up{job=\"x\"}",
    ] {
        assert_eq!(complaint(fine), None, "{fine}");
    }
    for wrong in [
        "y",
        "a{c=\"b\"}",
        "a{b=~\"c|x\"}",
        "sum by (b) (z)",
        "a{b!=\"x\"}",
    ] {
        assert!(complaint(wrong).is_some(), "{wrong}");
    }
}
