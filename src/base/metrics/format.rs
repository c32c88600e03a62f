//! In which format metrics are wanted.
//!
//! Invariant: the text format unless the other is preferred by name: a browser that takes anything is shown text. Pure.

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0: the same, and exemplars.
    OpenMetrics,
}

/// Of a format in an Accept header, RFC 9110 section 12.4.2: in thousandths.
type Weight = u16;

impl Format {
    /// By the value of a request's Accept header, its lines joined by commas; empty where it has none.
    pub fn of(accept: &str) -> Format {
        let weight = |kind, subtype, version| weight_of(accept, kind, subtype, version);
        let text = weight("text", "plain", "0.0.4");
        let open = weight("application", "openmetrics-text", "1.0.0");
        if open > text {
            Format::OpenMetrics
        } else {
            Format::Text
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The weight that the most precise of the ranges gives which cover this media type.
fn weight_of(accept: &str, kind: &str, subtype: &str, version: &str) -> Weight {
    let covering = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let precision = precision(parts.next()?, kind, subtype)?;
        let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let said = |wanted: &str| {
            let named = parameters
                .iter()
                .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
            named.map(|(_, value)| value.trim().trim_matches('"'))
        };
        let covers = said("version").is_none_or(|said| said == version);
        covers.then_some((precision, said("version").is_some(), weight(said("q"))))
    });
    covering.max().map_or(0, |(_, _, weight)| weight)
}

/// How precisely a media range says a media type; `None` where it does not cover it.
fn precision(range: &str, kind: &str, subtype: &str) -> Option<u8> {
    let (range_kind, range_subtype) = range.split_once('/')?;
    match (range_kind, range_subtype) {
        ("*", "*") => Some(0),
        (of, "*") if of.eq_ignore_ascii_case(kind) => Some(1),
        (of, sub) if of.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => Some(2),
        _ => None,
    }
}

/// What is no weight counts as refused.
fn weight(q: Option<&str>) -> Weight {
    let Some(q) = q else { return 1000 };
    let parsed = q.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q));
    parsed.map_or(0, |q| (q * 1000.0).round() as Weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_prefers_open_metrics_by_name_has_them() {
        for accept in [
            // Prometheus 2.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            // Prometheus 3.
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.9, text/*;q=0.8",
            "text/plain;q=0, application/*",
        ] {
            assert_eq!(Format::of(accept), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn everybody_else_has_text() {
        for accept in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/plain, application/openmetrics-text",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0, */*;q=0.1",
            "application/openmetrics-text;q=0.4, */*;q=0.5",
            "application/openmetrics-text;q=none",
            "application/openmetrics-text;q=2",
            ",;=,",
        ] {
            assert_eq!(Format::of(accept), Format::Text, "{accept}");
        }
    }
}
