//! What the numbers of colours mean, as code points say it (ITU-T H.273).
//!
//! They become the profile that says the same, so that nothing else has to know them.

use crate::image::ImageError;
use moxcms::{CicpColorPrimaries, CicpProfile, ColorProfile, MatrixCoefficients, TransferCharacteristics};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Codes {
    pub(super) primaries: u16,
    pub(super) transfer: u16,
    pub(super) matrix: u16,
    pub(super) full_range: bool,
}

impl Codes {
    /// `None` where they are sRGB's, or say nothing that is known.
    ///
    /// # Errors
    /// For colours that are brighter than white: they would come out grey.
    pub(super) fn profile(self) -> Result<Option<Vec<u8>>, ImageError> {
        if matches!(self.transfer, 16 | 18) {
            return Err(ImageError::Unsupported {
                what: "a picture of high dynamic range",
            });
        }
        Ok(self.converted())
    }

    fn converted(self) -> Option<Vec<u8>> {
        // Unspecified is sRGB. So are the curves of television: browsers show them as that.
        let primaries = if self.primaries == 2 { 1 } else { self.primaries };
        let transfer = match self.transfer {
            1 | 2 | 6 | 14 | 15 => 13,
            transfer => transfer,
        };
        if (primaries, transfer) == (1, 13) {
            return None;
        }
        let codes = CicpProfile {
            color_primaries: CicpColorPrimaries::try_from(u8::try_from(primaries).ok()?).ok()?,
            transfer_characteristics: TransferCharacteristics::try_from(u8::try_from(transfer).ok()?).ok()?,
            matrix_coefficients: MatrixCoefficients::Identity,
            full_range: true,
        };
        let mut profile = ColorProfile::new_srgb();
        // That codes are known is told by what they leave behind, not by what is handed back.
        profile.cicp = None;
        profile.update_rgb_colorimetry_from_cicp(codes);
        profile.cicp.take()?;
        profile.encode().ok()
    }
}
