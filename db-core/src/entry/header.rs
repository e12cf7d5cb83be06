//! The header of an entry: its fixed binary layout, and the hash that names the entry.

use crate::bytes::{Malformed, Put, Reader};
use crate::ids::{DatabaseId, EntryHash, WriterKey};
use crate::limits;

/// The version of the layout below.
const FORMAT_VERSION: u8 = 1;
/// Set when a checkpoint follows the parents.
const FLAG_CHECKPOINT: u8 = 1;

/// Everything of an entry but its payload.
///
/// Layout, integers little-endian:
///
/// ```text
/// u8    format version (1)
/// u8    flags (bit 0: a checkpoint follows the parents)
/// 32    writer
/// u64   seq
/// 32    prev (zeros where seq is 0)
/// u64   time, milliseconds since 1970
/// u64   epoch
/// u64   wave
/// u16   number of parents, then 32 bytes each, ascending, without repetition
/// 64    checkpoint: anchor, digest (only with flag 0)
/// u32   payload length
/// 32    payload hash (blake3 of the payload as it is stored)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The author: whose log this entry is in.
    pub writer: WriterKey,
    /// The place in the log, from 0 without gaps.
    pub seq: u64,
    /// The hash of the entry before it in the log; none for the first.
    pub prev: Option<EntryHash>,
    /// The heads of other logs that the author knew, ascending, without those implied by another.
    pub parents: Vec<EntryHash>,
    /// The author's wall clock in milliseconds since 1970, never decreasing along a log.
    pub time: u64,
    /// The epoch in which an indexer's entry votes; 0 for a writer that is no indexer.
    pub epoch: u64,
    /// The wave below which an indexer has voted; 0 for a writer that is no indexer.
    pub wave: u64,
    /// A digest of the view at an anchor, reserved for verified snapshots.
    pub checkpoint: Option<Checkpoint>,
    /// The length of the payload in bytes; 0 for an ack.
    pub payload_length: u32,
    /// The blake3 hash of the payload's bytes.
    pub payload_hash: [u8; 32],
}

/// What an indexer vouches for: the view's digest once an anchor is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The anchor.
    pub anchor: EntryHash,
    /// The digest of the view there.
    pub digest: [u8; 32],
}

impl Header {
    /// Whether the entry holds no transaction and only votes on the order.
    pub fn is_ack(&self) -> bool {
        self.payload_length == 0
    }

    /// The header in its one and only encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(136 + 32 * self.parents.len());
        bytes.put_u8(FORMAT_VERSION);
        bytes.put_u8(if self.checkpoint.is_some() { FLAG_CHECKPOINT } else { 0 });
        bytes.extend_from_slice(self.writer.as_bytes());
        bytes.put_u64(self.seq);
        bytes.extend_from_slice(self.prev.as_ref().map_or(&[0; 32], |prev| prev.as_bytes()));
        bytes.put_u64(self.time);
        bytes.put_u64(self.epoch);
        bytes.put_u64(self.wave);
        bytes.put_u16(self.parents.len() as u16);
        for parent in &self.parents {
            bytes.extend_from_slice(parent.as_bytes());
        }
        if let Some(checkpoint) = &self.checkpoint {
            bytes.extend_from_slice(checkpoint.anchor.as_bytes());
            bytes.extend_from_slice(&checkpoint.digest);
        }
        bytes.put_u32(self.payload_length);
        bytes.extend_from_slice(&self.payload_hash);
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// If the bytes are not the one encoding of a header within the limits; re-encoding what is accepted gives the same
    /// bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT_VERSION {
            return Err(Malformed("entry of an unknown format version: upgrade needed"));
        }
        let flags = reader.u8()?;
        if flags & !FLAG_CHECKPOINT != 0 {
            return Err(Malformed("unknown entry flags"));
        }
        let writer = WriterKey::from_bytes(reader.array()?);
        let seq = reader.u64()?;
        let prev: [u8; 32] = reader.array()?;
        let prev = match (seq, prev == [0; 32]) {
            (0, true) => None,
            (0, false) => return Err(Malformed("the first entry of a log names an entry before it")),
            (_, true) => return Err(Malformed("an entry does not name the entry before it")),
            (_, false) => Some(EntryHash::from_bytes(prev)),
        };
        let (time, epoch, wave) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let count = usize::from(reader.u16()?);
        if count > limits::PARENTS_MAX {
            return Err(Malformed("too many parents"));
        }
        let mut parents = Vec::with_capacity(count);
        for _ in 0..count {
            let parent = EntryHash::from_bytes(reader.array()?);
            if parents.last().is_some_and(|last| *last >= parent) || prev == Some(parent) {
                return Err(Malformed("parents out of order or repeated"));
            }
            parents.push(parent);
        }
        let checkpoint = if flags & FLAG_CHECKPOINT == 0 {
            None
        } else {
            Some(Checkpoint { anchor: EntryHash::from_bytes(reader.array()?), digest: reader.array()? })
        };
        let payload_length = reader.u32()?;
        if payload_length as usize > limits::PAYLOAD_BYTES_MAX {
            return Err(Malformed("payload beyond its limit"));
        }
        let payload_hash = reader.array()?;
        reader.end()?;
        Ok(Self { writer, seq, prev, parents, time, epoch, wave, checkpoint, payload_length, payload_hash })
    }

    /// The hash that names the entry: blake3 of the database's identity and the encoded header.
    pub fn hash(&self, database: &DatabaseId) -> EntryHash {
        hash_encoded(database, &self.encode())
    }
}

/// The hash of a header that is already encoded.
pub(crate) fn hash_encoded(database: &DatabaseId, header: &[u8]) -> EntryHash {
    let mut hasher = blake3::Hasher::new_derive_key("combdb entry v1");
    hasher.update(database.as_bytes()).update(header);
    EntryHash::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_header() -> impl Strategy<Value = Header> {
        let hashes = proptest::collection::btree_set(any::<[u8; 32]>(), 0..4);
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>());
        (any::<[u8; 32]>(), hashes, numbers, any::<[u8; 32]>(), any::<bool>()).prop_map(
            |(writer, parents, (seq, time, epoch, wave, length), payload_hash, with_checkpoint)| Header {
                writer: WriterKey::from_bytes(writer),
                seq,
                prev: (seq > 0).then_some(EntryHash::from_bytes([0xEE; 32])),
                parents: parents.into_iter().map(EntryHash::from_bytes).collect(),
                time,
                epoch,
                wave,
                checkpoint: with_checkpoint
                    .then_some(Checkpoint { anchor: EntryHash::from_bytes([1; 32]), digest: [2; 32] }),
                payload_length: length % limits::PAYLOAD_BYTES_MAX as u32,
                payload_hash,
            },
        )
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding(header in any_header()) {
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }

        #[test]
        fn every_flipped_bit_changes_the_hash(header in any_header(), bit in any::<prop::sample::Index>()) {
            let database = DatabaseId::from_bytes([3; 32]);
            let mut bytes = header.encode();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Header::decode(&bytes) {
                prop_assert_ne!(other.hash(&database), header.hash(&database));
            }
        }
    }

    #[test]
    fn parents_that_are_not_ascending_are_refused() {
        let mut header = Header {
            writer: WriterKey::from_bytes([1; 32]),
            seq: 0,
            prev: None,
            parents: vec![EntryHash::from_bytes([5; 32]), EntryHash::from_bytes([5; 32])],
            time: 0,
            epoch: 0,
            wave: 0,
            checkpoint: None,
            payload_length: 0,
            payload_hash: [0; 32],
        };
        assert!(Header::decode(&header.encode()).is_err());
        header.parents = vec![EntryHash::from_bytes([6; 32]), EntryHash::from_bytes([5; 32])];
        assert!(Header::decode(&header.encode()).is_err());
    }
}
