//! Where traces go, and of which requests.

use super::collector;
use crate::base::problem::Problems;
use crate::base::units::Span;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The URL of a collector that takes OTLP over HTTP; without one nothing is recorded.
    pub otlp: Option<String>,
    /// The share of requests, from 0 to 1, that begin a trace here.
    pub sample: f64,
    /// Whether a request that names its trace is recorded if its sender records, and only then. Otherwise its sender's
    /// word does not count: clients are anybody.
    pub follow: bool,
    /// Spans that may wait to be exported.
    pub spans_max: usize,
    /// By which traces name this service.
    pub service_name: String,
    /// How long one export may take, and the last one at stop.
    pub deadline: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            otlp: None,
            sample: 0.01,
            follow: false,
            spans_max: 8192,
            service_name: "aquatint".into(),
            deadline: Span::secs(10),
        }
    }
}

impl Config {
    pub fn validate(&self, problems: &mut Problems) {
        if let Some(otlp) = &self.otlp
            && let Err(refusal) = collector::endpoint(otlp)
        {
            problems.refuse(
                "otlp",
                refusal.shown(otlp),
                "http(s)://host[:port]/path, without a user",
            );
        }
        if !(0.0..=1.0).contains(&self.sample) {
            problems.refuse("sample", self.sample, "0..1");
        }
        problems.check("spans_max", self.spans_max, 64..=1 << 20);
        if self.service_name.is_empty() || self.service_name.len() > 255 {
            problems.refuse("service_name", &self.service_name, "1 to 255 bytes");
        }
        problems.check("deadline", self.deadline, Span::millis(100)..=Span::secs(60));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &Config) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        config.validate(&mut problems);
        let found = problems.into_found().into_iter();
        found.map(|problem| (problem.key, problem.value)).collect()
    }

    fn at(otlp: &str) -> Config {
        Config {
            otlp: Some(otlp.into()),
            ..Config::default()
        }
    }

    #[test]
    fn a_collector_is_an_http_url() {
        for otlp in [
            "http://127.0.0.1:4318/v1/traces",
            "https://collector.example/otlp/v1/traces",
        ] {
            assert_eq!(refused(&at(otlp)), [], "{otlp}");
        }
        for otlp in [
            "",
            "collector:4318",
            "grpc://collector:4317",
            "http://",
            "/v1/traces",
        ] {
            assert_eq!(refused(&at(otlp)), [("otlp".into(), otlp.into())], "{otlp}");
        }
    }

    #[test]
    fn a_user_in_the_url_is_refused_and_not_shown() {
        let found = refused(&at("http://me:hunter2@collector:4318/v1/traces"));
        assert_eq!(found.len(), 1);
        assert!(!found[0].1.contains("hunter2"), "{found:?}");
    }

    #[test]
    fn a_share_lies_between_none_and_all() {
        for (sample, is_refused) in [
            (0.0, false),
            (1.0, false),
            (-0.1, true),
            (1.1, true),
            (f64::NAN, true),
        ] {
            let config = Config {
                sample,
                ..Config::default()
            };
            assert_eq!(!refused(&config).is_empty(), is_refused, "{sample}");
        }
    }
}
