//! Human units of the configuration: `256MiB`, `30s`.
//!
//! A bare number is refused, except zero: a reader must never have to guess the unit.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written `512B`, `64KiB`, `1.5GiB` or `10MB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A span of time, written `250ms`, `30s`, `1h 30m` or `365days`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl ByteSize {
    pub const fn kib(n: u64) -> Self {
        ByteSize(n << 10)
    }

    pub const fn mib(n: u64) -> Self {
        ByteSize(n << 20)
    }

    pub const fn gib(n: u64) -> Self {
        ByteSize(n << 30)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// As an index into memory; saturates where memory is smaller than the number.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Span {
    pub const fn millis(n: u64) -> Self {
        Span(Duration::from_millis(n))
    }

    pub const fn secs(n: u64) -> Self {
        Span(Duration::from_secs(n))
    }

    pub const fn days(n: u64) -> Self {
        Span(Duration::from_secs(n * 86_400))
    }

    pub const fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// Why a value is no size or span.
#[derive(Debug, thiserror::Error)]
#[error("{value:?} is not {wanted}")]
pub struct UnitError {
    value: String,
    wanted: &'static str,
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wanted = "a size with its unit, such as 64KiB, 256MiB or 10GiB";
        let unit_named = text == "0" || text.ends_with('B');
        match text.parse::<bytesize::ByteSize>() {
            Ok(size) if unit_named => Ok(ByteSize(size.as_u64())),
            _ => Err(UnitError {
                value: text.into(),
                wanted,
            }),
        }
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wanted = "a time with its unit, such as 250ms, 30s, 10m or 365days";
        humantime::parse_duration(text).map(Span).map_err(|_| UnitError {
            value: text.into(),
            wanted,
        })
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Scalar {
                    Text(String),
                    Number(u64),
                }
                let text = match Scalar::deserialize(deserializer)? {
                    Scalar::Text(text) => text,
                    Scalar::Number(number) => number.to_string(),
                };
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

as_text!(ByteSize);
as_text!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_survive_being_written_and_read() {
        for size in [
            ByteSize(0),
            ByteSize(1023),
            ByteSize::kib(64),
            ByteSize::mib(256),
            ByteSize::gib(3),
        ] {
            assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
        for span in [Span::secs(0), Span::millis(250), Span::secs(90), Span::days(365)] {
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }

    #[test]
    fn a_number_without_its_unit_is_refused() {
        assert!("512".parse::<ByteSize>().is_err());
        assert!("30".parse::<Span>().is_err());
    }
}
