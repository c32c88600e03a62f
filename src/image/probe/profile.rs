//! ICC profiles: whether some bytes are one.

use super::view::View;

/// An ICC profile as its header says how long it is; `None` where it is none, as browsers ignore it then.
pub(super) fn checked(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let length = View(&bytes).be32(0)? as usize;
    let signed = View(&bytes).slice(36, 4)? == b"acsp";
    if !signed || length < 128 || length > bytes.len() {
        return None;
    }
    bytes.truncate(length);
    Some(bytes)
}
