//! AV1 bitstreams: what their sequence headers say (AV1 specification, section 5.5), and how many frames follow.

use crate::image::probe::codes::Codes;

/// Of a sequence header, what memory and colours depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) depth: u8,
    pub(super) monochrome: bool,
    /// Whether the colours have fewer samples than the brightness.
    pub(super) subsampled: bool,
    pub(super) codes: Codes,
}

impl Sequence {
    pub(super) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// What is in a bitstream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) sequences: Vec<Sequence>,
    pub(super) frames: u32,
}

/// The most sequence headers that are looked at: one is enough for a still.
const SEQUENCES_MAX: usize = 16;

impl Stream {
    /// `None` where the bytes are no bitstream, or one with too many headers.
    pub(super) fn of(mut bytes: &[u8]) -> Option<Self> {
        let mut stream = Stream::default();
        while let [header, ..] = bytes {
            let extended = usize::from((header >> 2) & 1);
            bytes = bytes.get(1 + extended..)?;
            let length = if header & 2 == 0 {
                bytes.len()
            } else {
                leb128(&mut bytes)?
            };
            let content = bytes.get(..length)?;
            bytes = &bytes[length..];
            match (header >> 3) & 15 {
                1 => stream.sequences.push(sequence(&mut Bits {
                    bytes: content,
                    at: 0,
                })?),
                3 | 6 => stream.frames = stream.frames.saturating_add(1),
                _ => {}
            }
            if stream.sequences.len() > SEQUENCES_MAX {
                return None;
            }
        }
        Some(stream)
    }
}

fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0u64;
    for i in 0..8 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return usize::try_from(number).ok();
        }
    }
    None
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let flag = (byte >> (7 - self.at % 8)) & 1 == 1;
        self.at += 1;
        Some(flag)
    }

    /// At most 32.
    fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0u32, |number, _| Some(number << 1 | u32::from(self.flag()?)))
    }

    fn skip(&mut self, bits: usize) {
        self.at += bits;
    }
}

fn sequence(bits: &mut Bits<'_>) -> Option<Sequence> {
    let profile = bits.number(3)?;
    bits.skip(1);
    let reduced = bits.flag()?;
    if reduced {
        bits.skip(5);
    } else {
        operating_points(bits)?;
    }
    let width_bits = bits.number(4)? + 1;
    let height_bits = bits.number(4)? + 1;
    let width = bits.number(width_bits)? + 1;
    let height = bits.number(height_bits)? + 1;
    if !reduced && bits.flag()? {
        bits.skip(7);
    }
    bits.skip(3);
    if !reduced {
        tools(bits)?;
    }
    bits.skip(3);
    let mut sequence = colours(bits, profile)?;
    (sequence.width, sequence.height) = (width, height);
    Some(sequence)
}

fn operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let mut decoder_model = None;
    if bits.flag()? {
        bits.skip(64);
        if bits.flag()? {
            exponential_golomb(bits)?;
        }
        if bits.flag()? {
            decoder_model = Some(bits.number(5)? as usize + 1);
            bits.skip(42);
        }
    }
    let display_delay = bits.flag()?;
    for _ in 0..=bits.number(5)? {
        bits.skip(12);
        if bits.number(5)? > 7 {
            bits.skip(1);
        }
        if let Some(delay) = decoder_model
            && bits.flag()?
        {
            bits.skip(2 * delay + 1);
        }
        if display_delay && bits.flag()? {
            bits.skip(4);
        }
    }
    Some(())
}

fn exponential_golomb(bits: &mut Bits<'_>) -> Option<()> {
    let mut zeros = 0;
    while !bits.flag()? {
        zeros += 1;
    }
    bits.skip(if zeros < 32 { zeros } else { 0 });
    Some(())
}

fn tools(bits: &mut Bits<'_>) -> Option<()> {
    bits.skip(4);
    let order_hint = bits.flag()?;
    if order_hint {
        bits.skip(2);
    }
    let chosen_by_frame = bits.flag()?;
    let screen_content = chosen_by_frame || bits.flag()?;
    if screen_content && !bits.flag()? {
        bits.skip(1);
    }
    if order_hint {
        bits.skip(3);
    }
    Some(())
}

fn colours(bits: &mut Bits<'_>, profile: u32) -> Option<Sequence> {
    let high = bits.flag()?;
    let depth = match (high, profile) {
        (true, 2) if bits.flag()? => 12,
        (true, _) => 10,
        (false, _) => 8,
    };
    let monochrome = profile != 1 && bits.flag()?;
    // Unspecified.
    let mut described = [2; 3];
    if bits.flag()? {
        described = [bits.number(8)?, bits.number(8)?, bits.number(8)?];
    }
    let srgb = described == [1, 13, 0] && !monochrome;
    let [primaries, transfer, matrix] = described.map(|code| code as u16);
    let full_range = srgb || bits.flag()?;
    let subsampled = match profile {
        _ if monochrome => true,
        _ if srgb => false,
        0 => true,
        1 => false,
        _ if depth == 12 => bits.flag()?,
        _ => true,
    };
    Some(Sequence {
        width: 0,
        height: 0,
        depth,
        monochrome,
        subsampled,
        codes: Codes {
            primaries,
            transfer,
            matrix,
            full_range,
        },
    })
}
