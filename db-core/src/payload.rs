//! Payloads: the operations of an entry as they are stored, compressed when that pays.
//!
//! Layout: a codec byte, then for codec 0 the plain bytes; for codec 1 the plain length (u32) and an LZ4 block.

use std::borrow::Cow;

use crate::bytes::{Malformed, Put, Reader};
use crate::limits;

const CODEC_PLAIN: u8 = 0;
const CODEC_LZ4: u8 = 1;
/// Below this many bytes compression saves nothing worth the time.
const COMPRESS_BYTES_MIN: usize = 256;

/// Packs plain bytes into a payload.
pub(crate) fn pack(plain: &[u8]) -> Vec<u8> {
    if plain.len() >= COMPRESS_BYTES_MIN {
        let compressed = lz4_flex::block::compress(plain);
        // An eighth must be won: reading is more frequent than writing.
        if compressed.len() + 5 < plain.len() - plain.len() / 8 {
            let mut payload = Vec::with_capacity(compressed.len() + 5);
            payload.put_u8(CODEC_LZ4);
            payload.put_u32(plain.len() as u32);
            payload.extend_from_slice(&compressed);
            return payload;
        }
    }
    let mut payload = Vec::with_capacity(plain.len() + 1);
    payload.put_u8(CODEC_PLAIN);
    payload.extend_from_slice(plain);
    payload
}

/// Why an entry's operations cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// They are no operations: the entry is a recorded no-op.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// They may be operations of a later version: whoever applies them must wait for an upgrade.
    #[error("upgrade needed: {0}")]
    UpgradeNeeded(&'static str),
}

/// Unpacks a payload. No more memory is taken than the format's limit, whatever the payload claims.
pub(crate) fn unpack(payload: &[u8]) -> Result<Cow<'_, [u8]>, Unreadable> {
    let mut reader = Reader::new(payload);
    match reader.u8()? {
        CODEC_PLAIN => {
            let plain = reader.take(reader.remaining())?;
            Ok(Cow::Borrowed(plain))
        }
        CODEC_LZ4 => {
            let length = reader.u32()? as usize;
            if length > limits::PAYLOAD_PLAIN_BYTES_MAX {
                return Err(Malformed("payload inflates beyond its limit").into());
            }
            let block = reader.take(reader.remaining())?;
            // LZ4 cannot inflate more than 255 times: a larger claim is a lie, and no memory is spent on it.
            if length / 255 > block.len() {
                return Err(Malformed("payload claims an impossible length").into());
            }
            let plain = lz4_flex::block::decompress(block, length)
                .map_err(|_| Malformed("payload does not decompress"))?;
            if plain.len() != length {
                return Err(Malformed("payload is shorter than it claims").into());
            }
            Ok(Cow::Owned(plain))
        }
        _ => Err(Unreadable::UpgradeNeeded("a payload of an unknown codec")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unpacking_inverts_packing(plain in proptest::collection::vec(0_u8..4, 0..2_000)) {
            let payload = pack(&plain);
            let unpacked = unpack(&payload).unwrap();
            prop_assert_eq!(&*unpacked, &plain[..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack(&payload);
        }
    }

    #[test]
    fn repetitive_bytes_are_compressed() {
        assert!(pack(&[7; 10_000]).len() < 200);
    }

    #[test]
    fn a_small_payload_cannot_claim_a_large_length() {
        let mut bomb = vec![CODEC_LZ4];
        bomb.put_u32(16 * 1024 * 1024);
        bomb.extend_from_slice(&[0; 1_000]);
        assert!(unpack(&bomb).is_err());
    }
}
