//! The date of a response that was made before it is sent (RFC 9110 section 6.6.1).
//!
//! Invariant: a [`Date`] has the length of the session's own, so that one can stand in the other's place. It writes
//! nothing.

use http::{HeaderMap, header};

/// An IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date([u8; Date::BYTES]);

impl Date {
    pub(crate) const BYTES: usize = 29;

    /// The date that a header says, if it says one and in this form.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut dates = headers.get_all(header::DATE).iter();
        let date: [u8; Date::BYTES] = dates.next()?.as_bytes().try_into().ok()?;
        let only = dates.next().is_none() && date[3] == b',' && date.ends_with(b" GMT");
        only.then_some(Date(date))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Date::BYTES] {
        &self.0
    }
}

/// Where the date of a final response's header stands, if `buffer` is one.
pub(crate) fn position_of_date(buffer: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"Date: ";
    /// Those of an interim response are no final response's header.
    const INTERIM: &[u8] = b"HTTP/1.1 1";
    if !buffer.starts_with(b"HTTP/1.") || buffer.starts_with(INTERIM) {
        return None;
    }
    let mut start = 0;
    loop {
        let line = &buffer[start..];
        let end = line.iter().position(|byte| *byte == b'\n')?;
        let line = line[..end].strip_suffix(b"\r")?;
        if line.is_empty() {
            return None;
        }
        let is_date = line.len() == NAME.len() + Date::BYTES && line[..NAME.len()].eq_ignore_ascii_case(NAME);
        if is_date {
            return Some(start + NAME.len());
        }
        start += end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn of(dates: &[&str]) -> Option<Date> {
        let mut headers = HeaderMap::new();
        for date in dates {
            headers.append(header::DATE, HeaderValue::from_str(date).unwrap());
        }
        Date::of(&headers)
    }

    #[test]
    fn only_one_date_of_the_sessions_form_can_stand_in_its_place() {
        assert_eq!(of(&[DATE]).unwrap().as_bytes(), DATE.as_bytes());
        for other in [
            &[][..],
            &[DATE, DATE],
            &["Sunday, 06-Nov-94 08:49:37 GMT"],
            &["Sun Nov  6 08:49:37 1994"],
            &["Sun, 06 Nov 1994 08:49:37 UTC"],
            &[""],
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_date_is_found_in_the_header_alone() {
        let header = format!("HTTP/1.1 200 OK\r\nX-Date: {DATE}\r\nDate: {DATE}\r\nA: b\r\n\r\n");
        let at = position_of_date(header.as_bytes()).unwrap();
        assert_eq!(&header[at - 6..at + Date::BYTES], format!("Date: {DATE}"));
        for other in [
            format!("HTTP/1.1 200 OK\r\n\r\nDate: {DATE}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\nDate: {DATE}"),
            format!("HTTP/1.1 200 OK\r\nDate: {DATE} \r\n\r\n"),
            format!("HTTP/1.1 103 Early Hints\r\nDate: {DATE}\r\n\r\n"),
            format!("Date: {DATE}\r\n\r\n"),
            String::new(),
        ] {
            assert_eq!(position_of_date(other.as_bytes()), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_search_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let header = [b"HTTP/1.1 200 OK\r\n", bytes.as_slice()].concat();
            if let Some(at) = position_of_date(&header) {
                prop_assert!(at + Date::BYTES <= header.len());
            }
        }
    }
}
