//! What of a configuration is not what its author wrote, because what was written could not be read.
//!
//! A problem that would be reported about such a key is of our making, not the author's. Keys are in the
//! file's own numbering: an element that was left out of a list shifts those behind it, here they shift back.

use std::fmt::Write;

#[derive(Debug, Default)]
pub(super) struct Doubts {
    keys: Vec<String>,
    /// Elements left out of lists, the list's lowest index first.
    left_out: Vec<LeftOut>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LeftOut {
    list: String,
    index: usize,
}

impl Doubts {
    /// Everything is in doubt.
    pub(super) fn all() -> Self {
        Doubts {
            keys: vec![String::new()],
            left_out: Vec::new(),
        }
    }

    /// `key` as the file numbers it.
    pub(super) fn add(&mut self, key: String) {
        self.keys.push(key);
    }

    /// `list` and `index` as the file numbers them.
    pub(super) fn leave_out(&mut self, list: String, index: usize) {
        self.left_out.push(LeftOut { list, index });
        self.left_out.sort();
    }

    /// Whether `key`, or something above or below it, is in doubt. In the file's numbering.
    pub(super) fn about(&self, key: &str) -> bool {
        self.keys.iter().any(|doubted| related(doubted, key))
    }

    /// `key` in the file's numbering.
    pub(super) fn as_written(&self, key: &str) -> String {
        let mut written = String::with_capacity(key.len());
        for part in key.split_inclusive(']') {
            let Some((list, index)) = split_index(part) else {
                written.push_str(part);
                continue;
            };
            written.push_str(list);
            let index = self.index_as_written(&written, index);
            write!(written, "[{index}]").expect("writing to memory can not fail");
        }
        written
    }

    fn index_as_written(&self, list: &str, index: usize) -> usize {
        let of_this_list = self.left_out.iter().filter(|left_out| left_out.list == list);
        of_this_list.fold(index, |index, left_out| {
            index + usize::from(left_out.index <= index)
        })
    }
}

/// `routes[3]` as `routes` and 3.
pub(super) fn split_index(part: &str) -> Option<(&str, usize)> {
    let (list, index) = part.strip_suffix(']')?.rsplit_once('[')?;
    Some((list, index.parse().ok()?))
}

/// Whether one of two keys is the other or lies below it.
fn related(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    match long.strip_prefix(short) {
        Some(rest) => short.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_behind_elements_left_out_is_the_one_the_file_shows() {
        let mut doubts = Doubts::default();
        doubts.leave_out("routes".into(), 2);
        doubts.leave_out("routes".into(), 0);
        doubts.leave_out("routes[1].content_types".into(), 0);
        assert_eq!(doubts.as_written("routes[0].path"), "routes[1].path");
        assert_eq!(doubts.as_written("routes[1]"), "routes[3]");
        assert_eq!(
            doubts.as_written("routes[0].content_types[0]"),
            "routes[1].content_types[1]"
        );
        assert_eq!(doubts.as_written("others[0].path"), "others[0].path");
    }

    #[test]
    fn doubt_reaches_up_and_down_but_not_sideways() {
        let mut doubts = Doubts::default();
        doubts.add("origins.shop.url".into());
        for key in [
            "origins",
            "origins.shop",
            "origins.shop.url",
            "origins.shop.url.x",
        ] {
            assert!(doubts.about(key), "{key}");
        }
        for key in ["origins.shop.urls", "origins.sho", "edge", "origins.shop.retries"] {
            assert!(!doubts.about(key), "{key}");
        }
        assert!(Doubts::all().about("edge"));
    }
}
