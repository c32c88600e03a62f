//! Values of parameters: from text to what it says.
//!
//! Invariant: pure, total and strict; `None` is a value that the parameter can not have. Numbers never pass through
//! floats, so that every node reads the same. It does not know which parameter it reads for, nor what a route allows.

use super::{Colour, Gravity, Padding, Quality, Region};
use std::ops::RangeInclusive;

/// Digits of a decimal that are looked at; nobody honest sends more.
const DIGITS_MAX: usize = 12;

/// The longer side of a region, and how far it may lie from the corner.
pub(super) const REGION_MAX: u32 = 65_536;
pub(super) const PADDING_MAX: u16 = 512;

/// A whole number without sign or spaces.
pub(super) fn whole(text: &str, allowed: RangeInclusive<u32>) -> Option<u32> {
    let is_number = !text.is_empty() && text.len() <= DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number)?;
    allowed.contains(&number).then_some(number)
}

/// A decimal in hundredths; further digits are rounded half away from zero.
pub(super) fn hundredths(text: &str, allowed: RangeInclusive<i64>) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = [whole, fraction]
        .iter()
        .all(|part| part.len() <= DIGITS_MAX && part.bytes().all(|b| b.is_ascii_digit()));
    if !is_number || fraction.is_empty() || digits.is_empty() {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let thousandths = fraction.bytes().chain(*b"000").take(3);
    let thousandths = thousandths.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let number = sign * (whole * 100 + (thousandths + 5) / 10);
    allowed.contains(&number).then_some(number)
}

/// Present without a value is on.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        "" | "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

pub(super) fn quality(text: &str) -> Option<Quality> {
    if text == "lossless" {
        return Some(Quality::Lossless);
    }
    let number = whole(text, 1..=100)?;
    u8::try_from(number).ok().map(Quality::Lossy)
}

pub(super) fn percent(text: &str) -> Option<i8> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let number = whole(digits, 0..=100)?;
    i8::try_from(number).ok().map(|number| sign * number)
}

/// Cloudflare's way: 1 changes nothing, 0 takes all, 2 doubles.
pub(super) fn factor(text: &str) -> Option<i8> {
    let hundredths = hundredths(text, 0..=200)?;
    i8::try_from(hundredths - 100).ok()
}

/// In quarters, clockwise.
pub(super) fn rotation(text: &str) -> Option<u8> {
    let (against, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let degrees = whole(digits, 0..=360)?;
    let quarters = u8::try_from(degrees / 90).ok().filter(|_| degrees % 90 == 0)? % 4;
    Some(if against { (4 - quarters) % 4 } else { quarters })
}

pub(super) fn gravity(text: &str) -> Option<Gravity> {
    let (x, y) = match text.replace([',', '-'], "").as_str() {
        "center" | "centre" | "middle" => (50, 50),
        "north" | "top" => (50, 0),
        "south" | "bottom" => (50, 100),
        "west" | "left" => (0, 50),
        "east" | "right" => (100, 50),
        "northwest" | "topleft" | "lefttop" => (0, 0),
        "northeast" | "topright" | "righttop" => (100, 0),
        "southwest" | "bottomleft" | "leftbottom" => (0, 100),
        "southeast" | "bottomright" | "rightbottom" => (100, 100),
        "smart" | "auto" | "entropy" => return Some(Gravity::Smart),
        _ => return focal(text),
    };
    Some(Gravity::Focal(x, y))
}

/// `focal:0.3,0.7` or `0.3x0.7`.
fn focal(text: &str) -> Option<Gravity> {
    let (x, y) = match text.strip_prefix("focal:") {
        Some(point) => point.split_once([',', 'x'])?,
        None => text.split_once('x')?,
    };
    let part = |text| u8::try_from(hundredths(text, 0..=100)?).ok();
    Some(Gravity::Focal(part(x)?, part(y)?))
}

/// `x,y,width,height`.
pub(super) fn region(text: &str) -> Option<Region> {
    let [left, top, width, height] = four(text)?;
    Some(Region {
        left: whole(left, 0..=REGION_MAX)?,
        top: whole(top, 0..=REGION_MAX)?,
        width: whole(width, 1..=REGION_MAX)?,
        height: whole(height, 1..=REGION_MAX)?,
    })
}

/// One number for all sides, or `top,right,bottom,left`.
pub(super) fn padding(text: &str) -> Option<Padding> {
    let side = |text| u16::try_from(whole(text, 0..=u32::from(PADDING_MAX))?).ok();
    let [top, right, bottom, left] = four(text).unwrap_or([text; 4]);
    Some(Padding {
        top: side(top)?,
        right: side(right)?,
        bottom: side(bottom)?,
        left: side(left)?,
    })
}

fn four(text: &str) -> Option<[&str; 4]> {
    let mut parts = text.split(',');
    let four = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(four)
}

/// `RGB`, `RRGGBB` or `RRGGBBAA`, with or without `#`, and three names.
pub(super) fn colour(text: &str) -> Option<Colour> {
    match text {
        "white" => return Some(opaque(255, 255, 255)),
        "black" => return Some(opaque(0, 0, 0)),
        "transparent" => {
            return Some(Colour {
                alpha: 0,
                ..opaque(0, 0, 0)
            });
        }
        _ => {}
    }
    let digits = text.strip_prefix('#').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(digits, 16).ok()?;
    let [first, second, third, fourth] = number.to_be_bytes();
    match digits.len() {
        // One digit stands for itself twice: `f` for `ff`.
        3 => Some(opaque((third & 15) * 17, (fourth >> 4) * 17, (fourth & 15) * 17)),
        6 => Some(opaque(second, third, fourth)),
        8 => Some(Colour {
            alpha: fourth,
            ..opaque(first, second, third)
        }),
        _ => None,
    }
}

fn opaque(red: u8, green: u8, blue: u8) -> Colour {
    Colour {
        red,
        green,
        blue,
        alpha: 255,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, number) in [
            ("1", Some(100)),
            ("1.5", Some(150)),
            (".5", Some(50)),
            ("0.005", Some(1)),
            ("0.004", Some(0)),
            ("2.999999999999", Some(300)),
            ("-1.25", Some(-125)),
            ("", None),
            ("-", None),
            ("1.", None),
            (".", None),
            ("1.2.3", None),
            ("1e3", None),
            ("+1", None),
            (" 1", None),
            ("--1", None),
            ("0000000000000", None),
            ("999999999999", None),
            ("\u{661}", None),
        ] {
            assert_eq!(hundredths(text, -1_000..=1_000), number, "{text:?}");
        }
    }

    #[test]
    fn colours_have_three_six_or_eight_digits() {
        assert_eq!(colour("fa0"), Some(opaque(255, 170, 0)));
        assert_eq!(colour("#0A0b0C"), Some(opaque(10, 11, 12)));
        assert_eq!(colour("01020304").map(|colour| colour.alpha), Some(4));
        for wrong in [
            "",
            "#",
            "f",
            "ff",
            "ffff",
            "fffff",
            "fffffff",
            "fffffffff",
            "+ff",
            "ggg",
            "##fff",
            "red",
        ] {
            assert_eq!(colour(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn turns_against_the_clock_are_turns_with_it() {
        let turns = [
            "0", "90", "180", "270", "360", "-90", "-180", "-270", "-0", "-360",
        ]
        .map(rotation);
        assert_eq!(turns, [0, 1, 2, 3, 0, 3, 2, 1, 0, 0].map(Some));
        assert_eq!(["45", "91", "450", "", "-", "90.0"].map(rotation), [None; 6]);
    }

    #[test]
    fn places_have_names_and_points() {
        for (text, place) in [
            ("centre", (50, 50)),
            ("top,left", (0, 0)),
            ("south-east", (100, 100)),
            ("focal:0.3,0.75", (30, 75)),
            ("0.3x1", (30, 100)),
            ("focal:1x0", (100, 0)),
        ] {
            assert_eq!(gravity(text), Some(Gravity::Focal(place.0, place.1)), "{text}");
        }
        for wrong in [
            "",
            "faces",
            "face",
            "focal:",
            "focal:1",
            "1.01x0",
            "-0.1x0",
            "0.5,0.5",
            "x",
            "focal:0.1,0.2,0.3",
        ] {
            assert_eq!(gravity(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC{0,20}|[-0-9.,x#a-f]{0,20}") {
            let _ = (whole(&text, 0..=u32::MAX), hundredths(&text, i64::MIN..=i64::MAX), flag(&text), quality(&text));
            let _ = (percent(&text), factor(&text), rotation(&text), gravity(&text));
            let _ = (region(&text), padding(&text), colour(&text));
        }
    }
}
