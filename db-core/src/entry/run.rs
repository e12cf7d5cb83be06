//! Runs: entries of one log that were appended together, under one signature, as they are stored and sent.

use ed25519_dalek::{Signature, VerifyingKey};
#[cfg(any(test, feature = "simulation"))]
use ed25519_dalek::{Signer, SigningKey};
use thiserror::Error;

use super::header::{Header, hash_encoded};
use crate::bytes::{Malformed, Put, Reader};
use crate::ids::{DatabaseId, EntryHash, WriterKey};
use crate::limits;

/// One entry: its header, the header's hash, and its payload as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The header.
    pub header: Header,
    /// The hash that names the entry.
    pub hash: EntryHash,
    /// The payload's bytes; empty for an ack.
    pub payload: Vec<u8>,
}

/// A run as it comes from a peer: well-formed, and nothing else is known of it.
///
/// Layout: number of entries (u16); for each the header and the payload, each behind its length (u32); the signature of
/// the last entry's hash (64 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    signature: [u8; 64],
}

/// A run whose hashes, chain and signature hold: the only kind that a log accepts.
///
/// It says nothing of what lies before the run: whether `prev` and the parents are known is for the log to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRun {
    entries: Vec<Entry>,
    signature: [u8; 64],
}

/// Why a run is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidRun {
    /// The bytes do not follow the layout.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A run without entries, or with more than a run may have.
    #[error("a run of {0} entries")]
    Length(usize),
    /// The payload is not the one that the header names.
    #[error("payload does not match its header: seq={seq}")]
    Payload {
        /// The entry's place in its log.
        seq: u64,
    },
    /// The entries are not consecutive items of one log.
    #[error("entries do not follow one another: seq={seq}")]
    Chain {
        /// The entry's place in its log.
        seq: u64,
    },
    /// The writer's key is no key that anybody could sign with honestly.
    #[error("weak or malformed writer key: writer={0}")]
    WriterKey(WriterKey),
    /// The signature does not hold.
    #[error("bad signature: writer={0}")]
    Signature(WriterKey),
}

impl Run {
    /// Reads a run.
    ///
    /// # Errors
    /// If the bytes do not follow the layout within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidRun> {
        if bytes.len() > limits::RUN_BYTES_MAX {
            return Err(Malformed("run beyond its limit").into());
        }
        let mut reader = Reader::new(bytes);
        let count = usize::from(reader.u16()?);
        if count == 0 || count > limits::RUN_ENTRIES_MAX {
            return Err(InvalidRun::Length(count));
        }
        let mut entries = Vec::with_capacity(count);
        let mut headers_bytes = 0;
        for _ in 0..count {
            let header = reader.bytes(limits::RUN_BYTES_MAX)?;
            headers_bytes += header.len();
            if headers_bytes > limits::RUN_HEADERS_BYTES_MAX {
                return Err(Malformed("headers of a run beyond their limit").into());
            }
            let payload = reader.bytes(limits::PAYLOAD_BYTES_MAX)?;
            entries.push((header.to_vec(), payload.to_vec()));
        }
        let signature = reader.array()?;
        reader.end()?;
        Ok(Self { entries, signature })
    }

    /// The hash of what stands in the place of the last entry's header, to ask whether the run is stored already.
    pub(crate) fn claimed_head(&self, database: &DatabaseId) -> EntryHash {
        hash_encoded(database, self.entries.last().map_or(&[][..], |(header, _)| header))
    }

    /// Checks hashes, chain and signature (strictly, so that no two peers can disagree on it).
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(self, database: &DatabaseId) -> Result<VerifiedRun, InvalidRun> {
        let mut entries: Vec<Entry> = Vec::with_capacity(self.entries.len());
        for (encoded, payload) in self.entries {
            let header = Header::decode(&encoded)?;
            let hash = hash_encoded(database, &encoded);
            let payload_holds = header.payload_length as usize == payload.len()
                && header.payload_hash == *blake3::hash(&payload).as_bytes();
            if !payload_holds {
                return Err(InvalidRun::Payload { seq: header.seq });
            }
            if let Some(before) = entries.last() {
                let follows = before.header.writer == header.writer
                    && before.header.seq.checked_add(1) == Some(header.seq)
                    && header.prev == Some(before.hash)
                    && before.header.time <= header.time;
                if !follows {
                    return Err(InvalidRun::Chain { seq: header.seq });
                }
            }
            entries.push(Entry { header, hash, payload });
        }
        let last = entries.last().ok_or(InvalidRun::Length(0))?;
        verify_signature(&last.header.writer, &last.hash, &self.signature)?;
        Ok(VerifiedRun { entries, signature: self.signature })
    }
}

impl VerifiedRun {
    /// Signs entries made by a test.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn sign(entries: Vec<Entry>, secret: &SigningKey) -> Option<Self> {
        let signature = secret.sign(entries.last()?.hash.as_bytes()).to_bytes();
        Some(Self { entries, signature })
    }

    /// Puts together a run that was verified before it was stored.
    pub(crate) fn from_stored(entries: Vec<Entry>, signature: [u8; 64]) -> Self {
        Self { entries, signature }
    }

    /// The run without its first entries, which the signature on the last holds no less; the last always stays.
    pub(crate) fn without_first(mut self, count: usize) -> Self {
        self.entries.drain(..count.min(self.entries.len().saturating_sub(1)));
        self
    }

    /// The entries, oldest first; never empty.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The signature on the last entry's hash.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// The run in the layout of [`Run`].
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u16(self.entries.len() as u16);
        for entry in &self.entries {
            bytes.put_bytes(&entry.header.encode());
            bytes.put_bytes(&entry.payload);
        }
        bytes.extend_from_slice(&self.signature);
        bytes
    }
}

/// The key to verify a writer's signatures with; none for bytes that are no point or a point of small order, under
/// which anybody's message verifies.
pub(crate) fn verifying_key(writer: &WriterKey) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(writer.as_bytes()).ok().filter(|key| !key.is_weak())
}

/// Checks the signature of an entry of which only the header is there; gives the header and its hash.
///
/// # Errors
/// If the header is malformed or the signature does not hold.
pub(crate) fn verify_head(
    database: &DatabaseId,
    encoded: &[u8],
    signature: &[u8; 64],
) -> Result<(Header, EntryHash), InvalidRun> {
    let header = Header::decode(encoded)?;
    let head = hash_encoded(database, encoded);
    verify_signature(&header.writer, &head, signature)?;
    Ok((header, head))
}

/// Checks the signature of a hash strictly, so that no two peers can disagree on it.
pub(super) fn verify_signature(
    writer: &WriterKey,
    hash: &EntryHash,
    signature: &[u8; 64],
) -> Result<(), InvalidRun> {
    let key = verifying_key(writer).ok_or(InvalidRun::WriterKey(*writer))?;
    let signature = Signature::from_bytes(signature);
    key.verify_strict(hash.as_bytes(), &signature).map_err(|_| InvalidRun::Signature(*writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: DatabaseId = DatabaseId::from_bytes([4; 32]);

    fn secret() -> SigningKey {
        SigningKey::from_bytes(&[8; 32])
    }

    fn signed_run(length: u64) -> VerifiedRun {
        let writer = WriterKey::from_bytes(secret().verifying_key().to_bytes());
        let mut entries: Vec<Entry> = Vec::new();
        for seq in 0..length {
            let payload = format!("payload {seq}").into_bytes();
            let header = Header {
                writer,
                seq,
                prev: entries.last().map(|entry| entry.hash),
                parents: Vec::new(),
                time: 1_000 + seq,
                epoch: 0,
                wave: 0,
                checkpoint: None,
                payload_length: payload.len() as u32,
                payload_hash: *blake3::hash(&payload).as_bytes(),
            };
            let hash = header.hash(&DATABASE);
            entries.push(Entry { header, hash, payload });
        }
        VerifiedRun::sign(entries, &secret()).unwrap()
    }

    #[test]
    fn a_signed_run_verifies_after_a_round_trip() {
        let run = signed_run(3);
        assert_eq!(Run::decode(&run.encode()).unwrap().verify(&DATABASE), Ok(run));
    }

    #[test]
    fn a_run_of_another_database_is_refused() {
        let run = signed_run(1);
        let elsewhere = DatabaseId::from_bytes([5; 32]);
        let refused = Run::decode(&run.encode()).unwrap().verify(&elsewhere);
        assert!(matches!(refused, Err(InvalidRun::Signature(_))));
    }

    #[test]
    fn every_single_flipped_bit_is_refused() {
        let bytes = signed_run(2).encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verified = Run::decode(&flipped).and_then(|run| run.verify(&DATABASE));
            assert!(verified.is_err(), "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn a_small_order_key_is_no_writer() {
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(verifying_key(&WriterKey::from_bytes(weak)).is_none());
    }
}
