//! What was counted so far, as plain numbers.
//!
//! Invariant: a sample's name and labels are those of the OpenMetrics format, so that a number has one name whoever asks.
//! It does not know how samples are sent.

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// The value of one series, or of one bucket of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// All samples of a family: of a histogram its buckets, sum and count.
pub(super) fn samples_of(family: &MetricFamily) -> Vec<Sample> {
    let of_metric = |metric| match family.get_field_type() {
        MetricType::HISTOGRAM => of_histogram(family.name(), metric),
        MetricType::COUNTER => vec![sample(family.name(), metric, metric.get_counter().get_value())],
        _ => vec![sample(family.name(), metric, metric.get_gauge().get_value())],
    };
    family.get_metric().iter().flat_map(of_metric).collect()
}

fn of_histogram(name: &str, metric: &Metric) -> Vec<Sample> {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count() as f64;
    let bounded = histogram
        .get_bucket()
        .iter()
        .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count() as f64));
    let infinite = std::iter::once((f64::INFINITY, count));
    let bucket = |(bound, value)| {
        let mut sample = sample(&format!("{name}_bucket"), metric, value);
        sample.labels.push(("le".to_owned(), canonical(bound)));
        sample
    };
    let mut samples: Vec<_> = bounded.chain(infinite).map(bucket).collect();
    samples.push(sample(&format!("{name}_sum"), metric, histogram.get_sample_sum()));
    samples.push(sample(&format!("{name}_count"), metric, count));
    samples
}

fn sample(name: &str, metric: &Metric, value: f64) -> Sample {
    let pair = |pair: &LabelPair| (pair.name().to_owned(), pair.value().to_owned());
    Sample {
        name: name.to_owned(),
        labels: metric.get_label().iter().map(pair).collect(),
        value,
    }
}

/// A number as OpenMetrics wants the bounds of buckets: as Go's `%g`, and never without a point or an exponent.
pub(super) fn canonical(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent @ ..-4) => format!("{mantissa}e-{:02}", -exponent),
        Ok(exponent @ 6..) => format!("{mantissa}e+{exponent:02}"),
        _ => format!("{number:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    /// The examples of the specification, "Canonical Numbers".
    #[test]
    fn bounds_are_written_as_the_specification_shows() {
        for (number, text) in [
            (0.0, "0.0"),
            (0.001, "0.001"),
            (0.01, "0.01"),
            (0.95, "0.95"),
            (0.999, "0.999"),
            (1.0, "1.0"),
            (1.7, "1.7"),
            (10.0, "10.0"),
            (1e-10, "1e-10"),
            (1e-9, "1e-09"),
            (1e-5, "1e-05"),
            (5e-5, "5e-05"),
            (1e-4, "0.0001"),
            (1e5, "100000.0"),
            (1e6, "1e+06"),
            (1e10, "1e+10"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(canonical(number), text);
        }
    }
}
