//! OpenMetrics 1.0.0 as text.
//!
//! Invariant: no two families have one name. A counter's family goes by its name without `_total`; where another metric has
//! that name, it goes as it is, of unknown type. It does not know where numbers come from.

use super::exemplars::{Exemplar, Exemplars};
use super::samples::{Sample, canonical, samples_of};
use prometheus::proto::{MetricFamily, MetricType};
use std::collections::HashSet;
use std::fmt::Write;

/// Whose buckets are shown with exemplars.
const WITH_EXEMPLARS: &str = "aquatint_request_duration_seconds";

const IN_MEMORY: &str = "writing to memory can not fail";

pub(super) fn encode(families: &[MetricFamily], exemplars: &Exemplars) -> String {
    let names: HashSet<&str> = families.iter().map(MetricFamily::name).collect();
    let mut text = String::new();
    for family in families {
        let (name, kind) = name_and_type(family, &names);
        writeln!(text, "# HELP {name} {}", escaped(family.help())).expect(IN_MEMORY);
        writeln!(text, "# TYPE {name} {kind}").expect(IN_MEMORY);
        for sample in samples_of(family) {
            let exemplar = exemplar_of(family, &sample, exemplars);
            write_sample(&mut text, &sample, exemplar);
        }
    }
    text.push_str("# EOF\n");
    text
}

/// Samples keep their names either way.
fn name_and_type<'a>(family: &'a MetricFamily, names: &HashSet<&str>) -> (&'a str, &'static str) {
    let name = family.name();
    match (family.get_field_type(), name.strip_suffix("_total")) {
        (MetricType::COUNTER, Some(stem)) if !names.contains(stem) => (stem, "counter"),
        (MetricType::COUNTER, _) => (name, "unknown"),
        (MetricType::HISTOGRAM, _) => (name, "histogram"),
        _ => (name, "gauge"),
    }
}

fn exemplar_of(family: &MetricFamily, sample: &Sample, exemplars: &Exemplars) -> Option<Exemplar> {
    if family.name() != WITH_EXEMPLARS {
        return None;
    }
    let label = |wanted: &str| {
        let found = sample.labels.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    exemplars.find(label("outcome")?, label("le")?)
}

fn write_sample(text: &mut String, sample: &Sample, exemplar: Option<Exemplar>) {
    text.push_str(&sample.name);
    if !sample.labels.is_empty() {
        write_labels(text, &sample.labels);
    }
    write!(text, " {}", number(sample.value)).expect(IN_MEMORY);
    if let Some(Exemplar {
        trace_id,
        seconds,
        at,
    }) = exemplar
    {
        let trace_id = u128::from_be_bytes(trace_id);
        let (value, at) = (number(seconds), at.as_millis() as f64 / 1000.0);
        write!(text, " # {{trace_id=\"{trace_id:032x}\"}} {value} {at}").expect(IN_MEMORY);
    }
    text.push('\n');
}

fn write_labels(text: &mut String, labels: &[(String, String)]) {
    for (position, (name, value)) in labels.iter().enumerate() {
        let before = if position == 0 { '{' } else { ',' };
        write!(text, "{before}{name}=\"{}\"", escaped(value)).expect(IN_MEMORY);
    }
    text.push('}');
}

/// Counts without a point.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return canonical(value);
    }
    value.to_string()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
#[path = "open_metrics_tests.rs"]
mod tests;
