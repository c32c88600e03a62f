//! Numbers in headers: read where they stand, `None` where the bytes end before.

#[derive(Clone, Copy)]
pub(in crate::image) struct View<'a>(pub(in crate::image) &'a [u8]);

impl<'a> View<'a> {
    pub(in crate::image) fn slice(self, at: usize, length: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(length)?)
    }

    pub(in crate::image) fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.slice(at, N)?.try_into().ok()
    }

    pub(in crate::image) fn byte(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(in crate::image) fn be16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(in crate::image) fn be32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    pub(in crate::image) fn le16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(in crate::image) fn le24(self, at: usize) -> Option<u32> {
        let [low, middle, high] = self.array(at)?;
        Some(u32::from_le_bytes([low, middle, high, 0]))
    }

    pub(in crate::image) fn le32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }
}
