//! The query of a request to the API: names and values, each name known.
//!
//! Invariant: what is not understood is refused, so that a filter that was misspelt is not silently wider than meant. It
//! does not know what the values mean.

use super::refusal::Refusal;
use percent_encoding::percent_decode_str;

/// Names and values, decoded, in their order.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// # Errors
    /// When a name is none of `known`, where those are told, or something is not UTF-8.
    pub(super) fn read(text: Option<&str>, known: Option<&[&str]>) -> Result<Self, Refusal> {
        let pairs = text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            let Some(known) = known.filter(|known| !known.contains(&name.as_str())) else {
                return Ok((name, value));
            };
            let wrong = format!("is not known here; these are: {}", known.join(", "));
            Err(Refusal::Query { name, wrong })
        });
        pairs.collect::<Result<_, _>>().map(Query)
    }

    /// The last value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().rev().filter(|(known, _)| known == name);
        values.next().map(|(_, value)| value.as_str())
    }

    /// All of it.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A number from 1 to `most`, or `otherwise` where none is named.
    pub(super) fn count(&self, name: &str, otherwise: usize, most: usize) -> Result<usize, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(otherwise.min(most));
        };
        let count = text.parse().ok().filter(|count| (1..=most).contains(count));
        count.ok_or_else(|| wrong(name, format!("{text:?} is no number from 1 to {most}")))
    }
}

pub(super) fn wrong(name: &str, wrong: String) -> Refusal {
    Refusal::Query {
        name: name.to_owned(),
        wrong,
    }
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(wrong(text, "is no UTF-8".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_and_what_is_not_known_is_refused() {
        let query = Query::read(Some("path=%2Fa%20b+c&&limit=5&limit=7"), Some(&["path", "limit"])).unwrap();
        assert_eq!(query.get("path"), Some("/a b c"));
        assert_eq!(query.count("limit", 10, 100).unwrap(), 7);
        assert_eq!(Query::read(None, None).unwrap().count("limit", 10, 5).unwrap(), 5);
        for wrong in ["stats=5xx", "path=%ff", "limit"] {
            let read = Query::read(Some(wrong), Some(&["path", "limit"]));
            assert!(
                read.and_then(|query| query.count("limit", 1, 9)).is_err(),
                "{wrong}"
            );
        }
        for wrong in ["limit=0", "limit=101", "limit=x"] {
            let query = Query::read(Some(wrong), Some(&["limit"])).unwrap();
            assert!(query.count("limit", 10, 100).is_err(), "{wrong}");
        }
    }
}
