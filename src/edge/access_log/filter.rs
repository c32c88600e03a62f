//! Which requests a follower of the live log wants to see.
//!
//! Invariant: of one key any of its values has to fit, of different keys all. It sees what may be shown and no more, so that
//! nobody finds out by filters what is hidden.

use super::shown::Shown;
use crate::base::metrics::{Label, Outcome};
use crate::base::units::Span;
use std::net::IpAddr;
use std::time::Duration;

/// Without a value it lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    statuses: Vec<Status>,
    outcomes: Vec<Outcome>,
    methods: Vec<String>,
    /// With their port or without.
    hosts: Vec<String>,
    path_prefixes: Vec<String>,
    routes: Vec<String>,
    clients: Vec<IpAddr>,
    duration_min: Duration,
}

/// One status, or all of a class by its first digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Exactly(u16),
    Class(u16),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    #[error(
        "{0:?} is nothing to filter by: try status, outcome, method, host, path, route, client or min_duration"
    )]
    Key(String),
    #[error("{key}={value:?} is not {wanted}")]
    Value {
        key: &'static str,
        value: String,
        wanted: &'static str,
    },
    #[error("more than {VALUES_MAX} filters")]
    TooMany,
}

/// Each is looked at for every request.
const VALUES_MAX: usize = 64;

impl Filter {
    /// From pairs as a query has them, decoded: `status=5xx`, `outcome=miss`, `method=GET`, `host=shop.example`,
    /// `path=/images/`, `route=*/`, `client=192.0.2.7`, `min_duration=250ms`.
    pub(crate) fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        for (position, (key, value)) in pairs.into_iter().enumerate() {
            if position >= VALUES_MAX {
                return Err(FilterError::TooMany);
            }
            filter.add(key, value)?;
        }
        Ok(filter)
    }

    fn add(&mut self, key: &str, value: &str) -> Result<(), FilterError> {
        match key {
            "status" => self.statuses.push(status(value)?),
            "outcome" => self.outcomes.push(outcome(value)?),
            "method" => self.methods.push(value.to_owned()),
            "host" => self.hosts.push(value.to_owned()),
            "path" => self.path_prefixes.push(value.to_owned()),
            "route" => self.routes.push(value.to_owned()),
            "client" => {
                let client = value.parse();
                self.clients
                    .push(client.map_err(|_| refusal("client", value, "an IP address"))?);
            }
            "min_duration" => self.duration_min = duration(value)?,
            _ => return Err(FilterError::Key(key.to_owned())),
        }
        Ok(())
    }

    pub(super) fn lets_through(&self, shown: &Shown<'_>) -> bool {
        let line = shown.line;
        line.duration >= self.duration_min
            && any(&self.statuses, |status| status.covers(line.status))
            && any(&self.outcomes, |outcome| *outcome == line.outcome)
            && any(&self.methods, |method| method.as_bytes() == line.method)
            && any(&self.hosts, |host| is_host(host.as_bytes(), shown.host))
            && any(&self.path_prefixes, |prefix| {
                shown.path.starts_with(prefix.as_bytes())
            })
            && any(&self.routes, |route| route.as_bytes() == line.route)
            && any(&self.clients, |client| Some(*client) == line.client)
    }
}

impl Status {
    fn covers(self, status: u16) -> bool {
        match self {
            Status::Exactly(wanted) => wanted == status,
            Status::Class(digit) => status / 100 == digit,
        }
    }
}

fn any<T>(wanted: &[T], fits: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(fits)
}

fn is_host(wanted: &[u8], host: &[u8]) -> bool {
    let port = host.get(wanted.len()..).unwrap_or_default();
    let name = &host[..wanted.len().min(host.len())];
    name.eq_ignore_ascii_case(wanted) && (port.is_empty() || port.starts_with(b":"))
}

fn status(text: &str) -> Result<Status, FilterError> {
    let wanted = "a status such as 404, or a class such as 5xx";
    let number = |text: &str| text.parse().ok();
    let status = match text.strip_suffix("xx") {
        Some(digit) => number(digit)
            .filter(|digit| (1..=5).contains(digit))
            .map(Status::Class),
        None => number(text)
            .filter(|status| (100..600).contains(status))
            .map(Status::Exactly),
    };
    status.ok_or_else(|| refusal("status", text, wanted))
}

fn outcome(text: &str) -> Result<Outcome, FilterError> {
    let wanted = "an outcome such as hit_memory, miss or error";
    let outcome = Outcome::ALL.iter().find(|outcome| outcome.name() == text);
    outcome.copied().ok_or_else(|| refusal("outcome", text, wanted))
}

fn duration(text: &str) -> Result<Duration, FilterError> {
    let wanted = "a time with its unit, such as 250ms";
    let span = text.parse::<Span>();
    span.map(Span::get)
        .map_err(|_| refusal("min_duration", text, wanted))
}

fn refusal(key: &'static str, value: &str, wanted: &'static str) -> FilterError {
    FilterError::Value {
        key,
        value: value.to_owned(),
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::ShownQuery;
    use super::super::line::Line;
    use super::super::line::tests::line;
    use super::*;

    fn lets(pairs: &[(&str, &str)], line: &Line<'_>) -> bool {
        let filter = Filter::parse(pairs.iter().copied()).unwrap();
        filter.lets_through(&Shown::of(line, ShownQuery::Known, &mut Vec::new()))
    }

    #[test]
    fn each_key_lets_through_what_fits_it() {
        let line = line(b"/images/a.jpg?w=300");
        for (key, fits, does_not) in [
            ("status", "200", "404"),
            ("status", "2xx", "5xx"),
            ("outcome", "hit_memory", "miss"),
            ("method", "GET", "HEAD"),
            ("host", "SHOP.example", "shop.exampl"),
            ("path", "/images/", "/videos/"),
            ("route", "*/", "*/images"),
            ("client", "127.0.0.1", "127.0.0.2"),
            ("min_duration", "17us", "18us"),
        ] {
            assert!(lets(&[(key, fits)], &line), "{key}={fits}");
            assert!(!lets(&[(key, does_not)], &line), "{key}={does_not}");
        }
        assert!(lets(&[], &line));
    }

    #[test]
    fn of_one_key_any_has_to_fit_and_of_different_ones_all() {
        let line = line(b"/a.jpg");
        assert!(lets(&[("status", "404"), ("status", "2xx")], &line));
        assert!(!lets(&[("status", "2xx"), ("outcome", "miss")], &line));
    }

    #[test]
    fn a_host_is_the_same_with_its_port() {
        let line = Line {
            host: b"shop.example:8080",
            ..line(b"/")
        };
        assert!(lets(&[("host", "shop.example")], &line));
        assert!(lets(&[("host", "shop.example:8080")], &line));
        assert!(!lets(&[("host", "shop.example:80")], &line));
    }

    #[test]
    fn nobody_finds_out_by_a_filter_what_is_hidden() {
        assert!(!lets(
            &[("path", "/a.jpg?token=s")],
            &line(b"/a.jpg?token=s3cret")
        ));
    }

    #[test]
    fn what_is_no_filter_is_refused_with_what_is() {
        for (key, value, told) in [
            ("colour", "red", "\"colour\" is nothing to filter by"),
            ("status", "6xx", "a status such as 404"),
            ("status", "99", "a class such as 5xx"),
            ("outcome", "hit", "an outcome such as"),
            ("client", "shop", "an IP address"),
            ("min_duration", "5", "a time with its unit"),
        ] {
            let refusal = Filter::parse([(key, value)]).unwrap_err().to_string();
            assert!(refusal.contains(told), "{refusal}");
        }
        let many = vec![("status", "200"); VALUES_MAX + 1];
        assert_eq!(Filter::parse(many), Err(FilterError::TooMany));
    }
}
