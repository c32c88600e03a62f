//! Images that say which version they are of: a bitmap of one colour, and the colour is the version.
//!
//! Invariant: three bytes of pixels, wherever they were cut from, tell the version, and bytes of two versions are never
//! taken for one. A resized PNG has the same colour. It does not know URLs.

/// Bytes before the pixels.
pub(crate) const HEADER: usize = 54;

/// Versions above it look like lower ones.
pub(crate) const VERSION_MAX: u64 = (1 << 24) - 1;

/// A bitmap of 24 bits. `side` is a multiple of four, so that lines have no padding. `owner` stands in bytes that no
/// decoder reads: images of one version and other owners are other bytes.
pub(crate) fn bitmap(version: u64, side: u32, owner: u32) -> Vec<u8> {
    assert!(version <= VERSION_MAX && side.is_multiple_of(4));
    let pixels = (side * side * 3) as usize;
    let mut bytes = Vec::with_capacity(HEADER + pixels);
    bytes.extend_from_slice(b"BM");
    let numbers = [(HEADER + pixels) as u32, owner, HEADER as u32, 40, side, side];
    numbers
        .iter()
        .for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes.extend_from_slice(&[1, 0, 24, 0]);
    bytes.resize(HEADER, 0);
    bytes.resize(HEADER + pixels, 0);
    let colour = version.to_le_bytes();
    for pixel in bytes[HEADER..].chunks_exact_mut(3) {
        pixel.copy_from_slice(&colour[..3]);
    }
    bytes
}

/// The version that part of a bitmap is of; `offset` is where in the file the part begins.
///
/// # Errors
/// When it is of no version, or of more than one.
pub(crate) fn version_of_part(part: &[u8], offset: usize) -> Result<u64, String> {
    let skipped = HEADER.saturating_sub(offset);
    let pixels = part.get(skipped..).unwrap_or_default();
    let phase = (offset + skipped - HEADER) % 3;
    let Some(first) = pixels.first_chunk::<3>() else {
        return Err(format!("{} bytes tell no version", part.len()));
    };
    let colour = version_of_colour(|channel| first[(channel + 3 - phase) % 3]);
    let torn = pixels
        .iter()
        .zip(first.iter().cycle())
        .position(|(byte, expected)| byte != expected);
    match torn {
        None => Ok(colour),
        Some(at) => Err(format!(
            "version {colour} up to byte {}, then another",
            offset + skipped + at
        )),
    }
}

/// The version of a whole image, bitmap or PNG, or of the text `#rrggbb`.
pub(crate) fn version_of(body: &[u8]) -> Result<u64, String> {
    match body {
        [b'B', b'M', ..] => version_of_part(body, 0),
        [0x89, b'P', b'N', b'G', ..] => version_of_png(body),
        [b'#', digits @ ..] => version_of_text(digits),
        _ => Err(format!(
            "no image: {:?}",
            String::from_utf8_lossy(&body[..body.len().min(80)])
        )),
    }
}

fn version_of_png(body: &[u8]) -> Result<u64, String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(body));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("too large")?];
    let frame = reader
        .next_frame(&mut pixels)
        .map_err(|error| error.to_string())?;
    let samples = frame.color_type.samples();
    let first = &pixels[..samples];
    let whole = &pixels[..frame.buffer_size()];
    if whole.chunks_exact(samples).any(|pixel| pixel != first) {
        return Err("a picture of several colours".into());
    }
    // Grey ones have one channel for all three, and an alpha channel comes last.
    let channel = |at: usize| if samples < 3 { first[0] } else { first[at] };
    Ok(version_of_colour(|at| channel(2 - at)))
}

fn version_of_text(digits: &[u8]) -> Result<u64, String> {
    let text = String::from_utf8_lossy(digits);
    let colour = u32::from_str_radix(text.trim(), 16).map_err(|error| format!("#{text}: {error}"))?;
    Ok(u64::from(colour))
}

/// From the channels in the order of a bitmap: blue, green, red.
fn version_of_colour(channel: impl Fn(usize) -> u8) -> u64 {
    (0..3).map(|at| u64::from(channel(at)) << (8 * at)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_bitmap_tells_its_version() {
        let bytes = bitmap(0x01_02_03, 16, 7);
        assert_eq!(bytes.len(), HEADER + 768);
        for start in (0..bytes.len() - 2).step_by(7) {
            let end = (start + 120).min(bytes.len());
            assert_eq!(
                version_of_part(&bytes[start..end], start),
                Ok(0x01_02_03),
                "{start}"
            );
        }
        assert_eq!(version_of(&bytes), Ok(0x01_02_03));
    }

    #[test]
    fn two_versions_in_one_body_are_told() {
        let mut bytes = bitmap(300, 16, 0);
        bytes.truncate(400);
        bytes.extend_from_slice(&bitmap(301, 16, 0)[400..]);
        assert!(version_of(&bytes).unwrap_err().contains("another"));
        assert!(version_of(b"<html>").is_err());
        assert!(version_of_part(&bitmap(1, 16, 0)[..HEADER + 2], 0).is_err());
    }

    #[test]
    fn a_png_and_a_colours_text_tell_the_version() {
        let colour = [0x12, 0x34, 0x56];
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&colour.repeat(64)).unwrap();
        writer.finish().unwrap();
        assert_eq!(version_of(&bytes), Ok(0x12_34_56));
        assert_eq!(version_of(b"#123456"), Ok(0x12_34_56));
    }
}
