//! The format, by the first bytes: never by a name or a media type.

use super::Kind;
use super::view::View;
use crate::image::ImageError;
use flate2::read::GzDecoder;
use std::io::Read;

/// How much of a text is looked at for its first element.
const TEXT_MAX: usize = 16 << 10;

/// The lengths a BMP's second header comes in; `BM` alone is too little to go by.
const BMP_HEADERS: [u32; 7] = [12, 40, 52, 56, 64, 108, 124];

/// # Errors
/// When it is none of [`Kind`].
pub(super) fn kind(bytes: &[u8]) -> Result<Kind, ImageError> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Ok(Kind::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Kind::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Kind::Gif),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Kind::Webp),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => by_brands(bytes),
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Ok(Kind::Tiff),
        [b'I', b'I', b'+', 0, ..] | [b'M', b'M', 0, b'+', ..] => unsupported("BigTIFF"),
        [0xff, 0x0a, ..] | [0, 0, 0, 0x0c, b'J', b'X', b'L', b' ', ..] => unsupported("JPEG XL"),
        [b'B', b'M', ..] if is_bmp(bytes) => Ok(Kind::Bmp),
        [0x1f, 0x8b, ..] if is_vector(&unzipped(bytes)) => Err(ImageError::Vector),
        _ if is_vector(&bytes[..bytes.len().min(TEXT_MAX)]) => Err(ImageError::Vector),
        _ => Err(ImageError::Unrecognised),
    }
}

fn unsupported(what: &'static str) -> Result<Kind, ImageError> {
    Err(ImageError::Unsupported { what })
}

/// An ISO base media file: the major brand, its version, then the compatible brands.
fn by_brands(bytes: &[u8]) -> Result<Kind, ImageError> {
    let length = View(bytes).be32(0).unwrap_or_default() as usize;
    let content = bytes.get(8..length.min(bytes.len())).unwrap_or_default();
    let brands = content.chunks_exact(4).take(64).enumerate();
    let brands: Vec<&[u8]> = brands.filter(|(i, _)| *i != 1).map(|(_, brand)| brand).collect();
    let has = |wanted: &[&[u8]]| brands.iter().any(|brand| wanted.contains(brand));
    if has(&[b"avif", b"avis"]) {
        Ok(Kind::Avif)
    } else if has(&[
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1",
    ]) {
        unsupported("HEIC")
    } else {
        Err(ImageError::Unrecognised)
    }
}

fn is_bmp(bytes: &[u8]) -> bool {
    let header = View(bytes).le32(14);
    header.is_some_and(|length| BMP_HEADERS.contains(&length))
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut reader = GzDecoder::new(bytes).take(TEXT_MAX as u64);
    // What comes out before an error is looked at all the same.
    reader.read_to_end(&mut text).ok();
    text
}

/// Whether a text's first element is `svg`, after what may stand before it.
fn is_vector(text: &[u8]) -> bool {
    let narrowed: Vec<u8>;
    let mut rest = match text {
        [0xef, 0xbb, 0xbf, rest @ ..] => rest,
        // Of UTF-16 the letters of ASCII are enough.
        [0xfe, 0xff, rest @ ..] | [0xff, 0xfe, rest @ ..] => {
            narrowed = rest.iter().copied().filter(|byte| *byte != 0).collect();
            &narrowed
        }
        _ => text,
    };
    loop {
        rest = rest.trim_ascii_start();
        let end: &[u8] = match rest {
            [b'<', b'?', ..] => b"?>",
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            [b'<', b'!', ..]
                if rest
                    .iter()
                    .take_while(|byte| **byte != b'>')
                    .any(|byte| *byte == b'[') =>
            {
                b"]>"
            }
            [b'<', b'!', ..] => b">",
            _ => return is_svg_element(rest),
        };
        match rest.windows(end.len()).position(|window| window == end) {
            Some(at) => rest = &rest[at + end.len()..],
            None => return false,
        }
    }
}

/// `<svg` or `<prefix:svg`.
fn is_svg_element(text: &[u8]) -> bool {
    let [b'<', text @ ..] = text else { return false };
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/');
    let name = &text[..text.iter().position(ends).unwrap_or(text.len())];
    name.rsplit(|byte| *byte == b':').next() == Some(b"svg")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zipped(text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut reader = flate2::read::GzEncoder::new(text, flate2::Compression::fast());
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_svg_is_known_by_its_first_element_whatever_stands_before_it() {
        let plain = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(plain.bytes().flat_map(|byte| [byte, 0]))
            .collect();
        for text in [
            plain.as_bytes().to_vec(),
            format!("\u{feff} \n{plain}").into(),
            format!("<?xml version='1.0'?>\n<!-- <html> > -->\n{plain}").into(),
            format!("<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'x.dtd'>{plain}").into(),
            format!("<!DOCTYPE svg [ <!ENTITY a 'b'> ]>{plain}").into(),
            b"<s:svg xmlns:s='http://www.w3.org/2000/svg'/>".to_vec(),
            b"<svg>".to_vec(),
            zipped(plain.as_bytes()),
            utf16,
        ] {
            assert_eq!(
                kind(&text),
                Err(ImageError::Vector),
                "{:?}",
                String::from_utf8_lossy(&text)
            );
        }
    }

    #[test]
    fn what_is_no_image_is_not_taken_for_one() {
        let long = format!("<!--{}--><svg>", " ".repeat(TEXT_MAX));
        let bomb = zipped(&vec![b' '; 4 << 20]);
        for bytes in [
            b"".as_slice(),
            b"<",
            b"<!--",
            b"<html><svg></svg></html>",
            b"<svgx>",
            b"svg",
            b"%PDF-1.7",
            b"BM is a text",
            b"\x1f\x8b nothing",
            b"\0\0\0\x14ftypisom\0\0\0\0mp41",
            b"\0\0\0\0ftyp",
            long.as_bytes(),
            &bomb,
        ] {
            assert_eq!(kind(bytes), Err(ImageError::Unrecognised));
        }
    }

    #[test]
    fn what_is_known_and_not_decoded_is_named() {
        for (bytes, what) in [
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".as_slice(), "HEIC"),
            (b"\xff\x0a\0\0", "JPEG XL"),
            (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
            (b"II+\0", "BigTIFF"),
        ] {
            assert_eq!(kind(bytes), Err(ImageError::Unsupported { what }));
        }
        assert_eq!(kind(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif"), Ok(Kind::Avif));
        assert_eq!(kind(b"\0\0\0\x14ftypavis\0\0\0\0avis"), Ok(Kind::Avif));
    }
}
