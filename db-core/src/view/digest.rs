//! The digest of a view: equal views have equal digests, on every peer.

use std::ops::Bound;

use super::ReadView;
use crate::error::Result;

/// Blake3 over all keys and values in order, each behind its length. Reads the whole view.
pub(crate) fn digest(view: &impl ReadView) -> Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key("combdb view digest v1");
    for item in view.range((Bound::Unbounded, Bound::Unbounded))? {
        let (key, value) = item?;
        for bytes in [key.value(), value.value()] {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
    }
    Ok(*hasher.finalize().as_bytes())
}
