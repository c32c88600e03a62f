//! What request headers say about a picture: `Accept`, client hints, `Save-Data`.
//!
//! Invariant: a header counts only for what it names: `*/*` and `image/*` are sent by clients that show neither AVIF
//! nor WebP. What can not be read is as if it were not there. It does not know parameters.

use super::config::ModernFormat;
use super::{Format, Moving, Negotiated, value};
use http::header::{ACCEPT, HeaderMap, HeaderValue};

/// In hundredths: what an honest screen says; beyond it the route's own limit counts.
const DPR_MIN: i64 = 50;
const DPR_MAX: i64 = 10_000;

/// What a client says it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    avif: bool,
    webp: bool,
}

impl Accepted {
    /// Of the same type twice the last counts.
    pub(super) fn read(headers: &HeaderMap) -> Accepted {
        let mut accepted = Accepted::default();
        let lines = headers
            .get_all(ACCEPT)
            .into_iter()
            .filter_map(|line| line.to_str().ok());
        for range in lines.flat_map(|line| line.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            if media_type.eq_ignore_ascii_case("image/avif") {
                accepted.avif = is_wanted(parts);
            } else if media_type.eq_ignore_ascii_case("image/webp") {
                accepted.webp = is_wanted(parts);
            }
        }
        accepted
    }

    fn shows(self, format: ModernFormat) -> bool {
        match format {
            ModernFormat::Avif => self.avif,
            ModernFormat::Webp => self.webp,
        }
    }

    /// The first of the route's formats that the client shows.
    pub(super) fn best(self, formats: &[ModernFormat]) -> Format {
        match formats.iter().find(|format| self.shows(**format)) {
            Some(ModernFormat::Avif) if self.webp && formats.contains(&ModernFormat::Webp) => {
                Format::AvifOr(Moving::Webp)
            }
            Some(ModernFormat::Avif) => Format::AvifOr(Moving::Legacy),
            Some(ModernFormat::Webp) => Format::Webp,
            None => Format::Legacy,
        }
    }
}

/// Whether a weight (RFC 9110 section 12.4.2) is there and above zero, or not there. One that can not be read is zero.
fn is_wanted<'a>(mut parameters: impl Iterator<Item = &'a str>) -> bool {
    let weight = parameters.find_map(|parameter| {
        let (name, weight) = parameter.split_once('=')?;
        name.trim_end()
            .eq_ignore_ascii_case("q")
            .then(|| weight.trim_start())
    });
    weight.is_none_or(is_above_zero)
}

fn is_above_zero(weight: &str) -> bool {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let is_weight = matches!(whole, "0" | "1")
        && fraction.len() <= 3
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    is_weight && (whole == "1" || fraction.bytes().any(|byte| byte != b'0'))
}

/// The screen's pixels for each pixel of a page, in hundredths.
pub(super) fn device_pixel_ratio(headers: &HeaderMap) -> Option<u32> {
    let ratio = value::hundredths(hint(headers, "sec-ch-dpr")?, 1..=DPR_MAX)?;
    u32::try_from(ratio.max(DPR_MIN)).ok()
}

/// How wide the picture will be shown, in pixels of the screen.
pub(super) fn shown_width(headers: &HeaderMap) -> Option<u32> {
    value::whole(hint(headers, "sec-ch-width")?, 1..=u32::from(u16::MAX))
}

pub(super) fn saves_data(headers: &HeaderMap) -> bool {
    hint(headers, "save-data").is_some_and(|hint| hint.eq_ignore_ascii_case("on"))
}

/// A structured field's item, without its parameters.
fn hint<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    let item = headers.get(name)?.to_str().ok()?;
    item.split(';').next().map(str::trim)
}

impl Negotiated {
    /// The names of the headers that had a say, for `Vary`.
    pub fn vary(self) -> Option<HeaderValue> {
        const BY_BITS: [&str; 16] = [
            "",
            "Accept",
            "Sec-CH-DPR",
            "Accept, Sec-CH-DPR",
            "Sec-CH-Width",
            "Accept, Sec-CH-Width",
            "Sec-CH-DPR, Sec-CH-Width",
            "Accept, Sec-CH-DPR, Sec-CH-Width",
            "Save-Data",
            "Accept, Save-Data",
            "Sec-CH-DPR, Save-Data",
            "Accept, Sec-CH-DPR, Save-Data",
            "Sec-CH-Width, Save-Data",
            "Accept, Sec-CH-Width, Save-Data",
            "Sec-CH-DPR, Sec-CH-Width, Save-Data",
            "Accept, Sec-CH-DPR, Sec-CH-Width, Save-Data",
        ];
        let bits = [self.accept, self.dpr, self.width, self.save_data];
        let index = bits
            .iter()
            .rev()
            .fold(0, |index, bit| index << 1 | usize::from(*bit));
        (index != 0).then(|| HeaderValue::from_static(BY_BITS[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vary_names_exactly_what_had_a_say() {
        for bits in 0..16u8 {
            let has = |bit: u8| bits & (1 << bit) != 0;
            let negotiated = Negotiated {
                accept: has(0),
                dpr: has(1),
                width: has(2),
                save_data: has(3),
            };
            let names = ["Accept", "Sec-CH-DPR", "Sec-CH-Width", "Save-Data"];
            let named: Vec<&str> = (0..4u8)
                .filter(|bit| has(*bit))
                .map(|bit| names[usize::from(bit)])
                .collect();
            let vary = negotiated.vary().map(|vary| vary.to_str().unwrap().to_owned());
            assert_eq!(vary.unwrap_or_default(), named.join(", "));
        }
    }

    #[test]
    fn a_weight_of_zero_excludes_and_so_does_one_that_can_not_be_read() {
        for weight in ["0", "0.", "0.0", "0.000", "", "-1", "2", "1.0000", "x", "0,5"] {
            assert!(!is_above_zero(weight), "{weight}");
        }
        for weight in ["1", "1.", "1.000", "0.001", "0.5"] {
            assert!(is_above_zero(weight), "{weight}");
        }
    }
}
