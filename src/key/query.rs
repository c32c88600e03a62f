//! The query of a URL: which parameters belong to its identity, and in which order.
//!
//! Invariant: a parameter that is not kept reaches neither key nor origin; of parameters with one name the order
//! is never changed. It does not know what a parameter means, but for the one that names a version.

use super::UrlError;
use super::encoding::{self, Component};
use percent_encoding::percent_decode_str;

/// A route's word on queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryPolicy {
    pub keep: Keep,
    pub order: Order,
    /// The parameter that names a version; always kept.
    pub version_parameter: Option<String>,
}

/// Which parameters are kept; names are given decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    All,
    None,
    Include(Vec<String>),
    Exclude(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `?a=1&b=2` and `?b=2&a=1` are one.
    Sorted,
    AsGiven,
}

/// Whether the URL names a version, by a parameter with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioned {
    Yes,
    No,
}

impl Default for QueryPolicy {
    fn default() -> Self {
        QueryPolicy {
            keep: Keep::All,
            order: Order::Sorted,
            version_parameter: None,
        }
    }
}

impl QueryPolicy {
    fn keeps(&self, name: &str) -> bool {
        let is_name = |wanted: &String| is(name, wanted);
        let kept = match &self.keep {
            Keep::All => true,
            Keep::None => false,
            Keep::Include(names) => names.iter().any(is_name),
            Keep::Exclude(names) => !names.iter().any(is_name),
        };
        kept || self.is_version(name)
    }

    fn is_version(&self, name: &str) -> bool {
        self.version_parameter
            .as_ref()
            .is_some_and(|wanted| is(name, wanted))
    }
}

/// Appends `?` and the kept parameters, or nothing when there are none; empty ones are none.
pub(super) fn push(text: &mut String, query: &str, policy: &QueryPolicy) -> Result<Versioned, UrlError> {
    if query.is_empty() {
        return Ok(Versioned::No);
    }
    let query = encoding::normalise(query, Component::Query)?;
    let start = text.len();
    let mut versioned = Versioned::No;
    let mut sorted = true;
    let mut previous: Option<&str> = None;
    for parameter in parameters(&query) {
        let name = name_of(parameter);
        if !policy.keeps(name) {
            continue;
        }
        if parameter.len() > name.len() + 1 && policy.is_version(name) {
            versioned = Versioned::Yes;
        }
        text.push(if text.len() == start { '?' } else { '&' });
        text.push_str(parameter);
        sorted &= previous.is_none_or(|previous| previous <= name);
        previous = Some(name);
    }
    if policy.order == Order::Sorted && !sorted {
        sort(text, start + 1);
    }
    Ok(versioned)
}

/// The ones that are not empty. They are a few bytes each: looking byte by byte beats a searcher's preparations.
fn parameters(query: &str) -> impl Iterator<Item = &str> {
    let mut rest = query;
    std::iter::from_fn(move || {
        let end = rest.bytes().position(|byte| byte == b'&').unwrap_or(rest.len());
        let parameter = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        (end > 0 || !rest.is_empty()).then_some(parameter)
    })
    .filter(|parameter| !parameter.is_empty())
}

fn name_of(parameter: &str) -> &str {
    let end = parameter.bytes().position(|byte| byte == b'=');
    &parameter[..end.unwrap_or(parameter.len())]
}

/// Stable, by name alone: `?a=2&a=1` is not `?a=1&a=2`.
fn sort(text: &mut String, start: usize) {
    let kept = text.split_off(start);
    let mut parameters: Vec<&str> = kept.split('&').collect();
    parameters.sort_by_key(|parameter| name_of(parameter));
    text.push_str(&parameters.join("&"));
}

/// Whether an encoded name is the wanted one.
fn is(name: &str, wanted: &str) -> bool {
    name == wanted || (name.contains(['%', '+']) && decodes_to(name, wanted))
}

/// In a query `+` is a space as well.
fn decodes_to(name: &str, wanted: &str) -> bool {
    let spaced = name.replace('+', " ");
    percent_decode_str(&spaced).eq(wanted.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pushed(query: &str, policy: &QueryPolicy) -> (String, Versioned) {
        let mut text = String::from("/a");
        let versioned = push(&mut text, query, policy).unwrap();
        (text.split_off(2), versioned)
    }

    fn kept(query: &str, policy: &QueryPolicy) -> String {
        pushed(query, policy).0
    }

    fn keeping(keep: Keep) -> QueryPolicy {
        QueryPolicy {
            keep,
            ..QueryPolicy::default()
        }
    }

    fn versions() -> QueryPolicy {
        QueryPolicy {
            version_parameter: Some("v".into()),
            ..keeping(Keep::None)
        }
    }

    #[test]
    fn parameters_are_sorted_by_name_and_those_of_one_name_keep_their_order() {
        let sorted = QueryPolicy::default();
        assert_eq!(kept("b=2&a=1", &sorted), "?a=1&b=2");
        assert_eq!(kept("b&a=2&c&a=1&a", &sorted), "?a=2&a=1&a&b&c");
        assert_eq!(kept("a%62=1&aa=2", &sorted), "?aa=2&ab=1");
    }

    #[test]
    fn parameters_stay_as_given_where_the_route_wants_it() {
        let as_given = QueryPolicy {
            order: Order::AsGiven,
            ..QueryPolicy::default()
        };
        assert_eq!(kept("b=2&&a=1&", &as_given), "?b=2&a=1");
    }

    #[test]
    fn only_kept_parameters_are_left() {
        let names = || vec!["a".to_owned(), "b c".to_owned(), "d[]".to_owned()];
        let include = keeping(Keep::Include(names()));
        assert_eq!(kept("x=1&a=2&ab=3&A=4", &include), "?a=2");
        assert_eq!(
            kept("%61=1&b+c=2&b%20c=3&d[]=4&d%5b%5D=5", &include),
            "?a=1&b%20c=3&b+c=2&d%5B%5D=4&d%5B%5D=5"
        );
        let exclude = keeping(Keep::Exclude(names()));
        assert_eq!(kept("x=1&a=2&b+c=2&d[]=4&%61", &exclude), "?x=1");
        assert_eq!(kept("x=1&a", &keeping(Keep::None)), "");
    }

    #[test]
    fn a_query_without_parameters_is_none() {
        for query in ["", "&", "&&&"] {
            assert_eq!(kept(query, &QueryPolicy::default()), "", "{query}");
        }
        assert_eq!(kept("=", &QueryPolicy::default()), "?=");
    }

    #[test]
    fn the_version_parameter_is_kept_and_a_value_makes_a_version() {
        for (query, text, versioned) in [
            ("v=3", "?v=3", Versioned::Yes),
            ("x=1&v=3", "?v=3", Versioned::Yes),
            ("%76=3", "?v=3", Versioned::Yes),
            ("v=&v=1", "?v=&v=1", Versioned::Yes),
            ("v=", "?v=", Versioned::No),
            ("v", "?v", Versioned::No),
            ("vv=3", "", Versioned::No),
        ] {
            assert_eq!(
                pushed(query, &versions()),
                (text.to_owned(), versioned),
                "{query}"
            );
        }
        assert_eq!(pushed("v=3", &QueryPolicy::default()).1, Versioned::No);
    }

    #[test]
    fn values_keep_their_meaning() {
        let as_is = "?a=b/c?d=e:f@g&b=1+2%202%26%2B%0A";
        assert_eq!(kept(&as_is[1..], &QueryPolicy::default()), as_is);
        assert_eq!(
            kept("a=%7e%5c|\\\"<\u{fc}", &QueryPolicy::default()),
            "?a=~%5C%7C%5C%22%3C%C3%BC"
        );
    }

    #[test]
    fn what_no_query_may_hold_is_refused_by_its_fault() {
        for (query, error) in [
            ("a=\0", UrlError::Control),
            ("a=%00", UrlError::Control),
            ("a=\r\n", UrlError::Control),
            ("a= b", UrlError::Delimiter),
            ("a=#b", UrlError::Delimiter),
            ("a=100%", UrlError::PercentEncoding),
            ("a=%zz", UrlError::PercentEncoding),
        ] {
            let mut text = String::new();
            assert_eq!(
                push(&mut text, query, &QueryPolicy::default()),
                Err(error),
                "{query:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_order_of_differently_named_parameters_does_not_matter(
            names in prop::collection::btree_set("[a-z]{1,3}", 1..6), seed in any::<u64>(),
        ) {
            let mut shuffled: Vec<_> = names.iter().cloned().collect();
            let turns = (seed % names.len() as u64) as usize;
            shuffled.rotate_left(turns);
            let given: Vec<_> = names.iter().cloned().collect();
            let policy = QueryPolicy::default();
            prop_assert_eq!(kept(&shuffled.join("&"), &policy), kept(&given.join("&"), &policy));
        }

        #[test]
        fn an_excluded_parameter_leaves_no_trace(name in "[a-c]", value in "[a-z]{0,4}", query in "([d-f]=1&){0,4}") {
            let policy = keeping(Keep::Exclude(vec![name.clone()]));
            let with = format!("{query}{name}={value}");
            prop_assert_eq!(kept(&with, &policy), kept(&query, &policy));
        }
    }
}
