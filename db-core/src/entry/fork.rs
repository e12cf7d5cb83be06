//! Proofs that a writer has forked its log: two entries with one `seq`, both of which it has signed.
//!
//! A run is signed on its last entry alone, so a branch is proved by the headers from the entry in question to the end of its
//! run. Nothing but the database's identity is needed to verify that. Every fork can be proved within these bounds: the
//! headers of a run are bounded ([`limits::RUN_HEADERS_BYTES_MAX`]), and where a log has two ends, the place of the
//! shorter end is one at which both branches have an entry.
//!
//! Layout, for each of the two branches: number of headers (u16); each header behind its length (u32); the signature of the
//! last header's hash (64 bytes).

use thiserror::Error;

use super::header::Header;
use super::run::verify_signature;
use crate::bytes::{Malformed, Put, Reader};
use crate::ids::{DatabaseId, EntryHash, WriterKey};
use crate::limits;

/// Two signed entries of one writer with one `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForkProof {
    branches: [Branch; 2],
}

/// One of the two entries, and what follows it up to the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Branch {
    /// Never empty.
    pub(crate) headers: Vec<Header>,
    pub(crate) signature: [u8; 64],
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum FalseProof {
    #[error("a branch without entries")]
    Empty,
    #[error("the entries of a branch do not follow one another")]
    Chain,
    #[error("the branches are of different writers or places")]
    Apart,
    #[error("the branches are the same")]
    Equal,
    #[error("a signature does not hold")]
    Signature,
}

impl ForkProof {
    /// The proof that consists of these branches.
    pub(crate) fn new(branches: [Branch; 2]) -> Self {
        Self { branches }
    }

    /// Whom the proof accuses; nobody can tell before [`ForkProof::verify`] whether it holds.
    pub(crate) fn accused(&self) -> Option<WriterKey> {
        self.branches[0].headers.first().map(|header| header.writer)
    }

    /// How many bytes of headers it holds.
    pub(crate) fn bytes(&self) -> usize {
        let headers = self.branches.iter().flat_map(|branch| &branch.headers);
        headers.map(|header| 256 + 32 * header.parents.len()).sum()
    }

    /// Checks the proof; gives who has forked its log.
    pub(crate) fn verify(&self, database: &DatabaseId) -> Result<WriterKey, FalseProof> {
        let [one, other] = &self.branches;
        let (Some(first), Some(second)) = (one.headers.first(), other.headers.first()) else {
            return Err(FalseProof::Empty);
        };
        if first.writer != second.writer || first.seq != second.seq {
            return Err(FalseProof::Apart);
        }
        let (hash, other_hash) = (one.verify(database)?, other.verify(database)?);
        if hash == other_hash { Err(FalseProof::Equal) } else { Ok(first.writer) }
    }

    pub(crate) fn put(&self, bytes: &mut Vec<u8>) {
        for branch in &self.branches {
            bytes.put_u16(branch.headers.len() as u16);
            for header in &branch.headers {
                bytes.put_bytes(&header.encode());
            }
            bytes.extend_from_slice(&branch.signature);
        }
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { branches: [Branch::take(reader)?, Branch::take(reader)?] })
    }
}

impl Branch {
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = usize::from(reader.u16()?);
        if count == 0 || count > limits::RUN_ENTRIES_MAX {
            return Err(Malformed("a branch of a fork has no run's length"));
        }
        let (mut headers, mut bytes) = (Vec::new(), 0);
        for _ in 0..count {
            let header = reader.bytes(limits::RUN_HEADERS_BYTES_MAX)?;
            bytes += header.len();
            if bytes > limits::RUN_HEADERS_BYTES_MAX {
                return Err(Malformed("a branch of a fork is longer than any run"));
            }
            headers.push(Header::decode(header)?);
        }
        Ok(Self { headers, signature: reader.array()? })
    }

    /// Checks chain and signature; gives the hash of the first entry.
    fn verify(&self, database: &DatabaseId) -> Result<EntryHash, FalseProof> {
        let mut before: Option<(&Header, EntryHash)> = None;
        let mut first = None;
        for header in &self.headers {
            let hash = header.hash(database);
            if let Some((last, last_hash)) = before {
                let follows = last.writer == header.writer
                    && last.seq.checked_add(1) == Some(header.seq)
                    && header.prev == Some(last_hash);
                if !follows {
                    return Err(FalseProof::Chain);
                }
            }
            first.get_or_insert(hash);
            before = Some((header, hash));
        }
        let (Some((last, last_hash)), Some(first)) = (before, first) else { return Err(FalseProof::Empty) };
        verify_signature(&last.writer, &last_hash, &self.signature).map_err(|_| FalseProof::Signature)?;
        Ok(first)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    const DATABASE: DatabaseId = DatabaseId::from_bytes([4; 32]);

    fn header(secret: &SigningKey, seq: u64, prev: Option<EntryHash>, payload: u8) -> Header {
        Header {
            writer: WriterKey::from_bytes(secret.verifying_key().to_bytes()),
            seq,
            prev,
            parents: Vec::new(),
            time: 1_000 + seq,
            epoch: 0,
            wave: 0,
            checkpoint: None,
            payload_length: 1,
            payload_hash: *blake3::hash(&[payload]).as_bytes(),
        }
    }

    fn branch(secret: &SigningKey, payload: u8, length: u64) -> Branch {
        let mut headers: Vec<Header> = Vec::new();
        for seq in 5..5 + length {
            let prev = headers.last().map_or(EntryHash::from_bytes([9; 32]), |last| last.hash(&DATABASE));
            headers.push(header(secret, seq, Some(prev), payload));
        }
        let signature = secret.sign(headers.last().unwrap().hash(&DATABASE).as_bytes()).to_bytes();
        Branch { headers, signature }
    }

    fn secret(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    /// A proof that holds.
    pub(crate) fn proof() -> ForkProof {
        ForkProof::new([branch(&secret(8), 1, 1), branch(&secret(8), 2, 3)])
    }

    #[test]
    fn two_signed_entries_of_one_place_are_a_proof_after_a_round_trip() {
        let accused = WriterKey::from_bytes(secret(8).verifying_key().to_bytes());
        let mut bytes = Vec::new();
        proof().put(&mut bytes);
        let read = ForkProof::take(&mut Reader::new(&bytes)).unwrap();
        assert_eq!((read.accused(), read.verify(&DATABASE)), (Some(accused), Ok(accused)));
        assert_eq!(read.verify(&DatabaseId::from_bytes([5; 32])), Err(FalseProof::Signature));
    }

    #[test]
    fn what_is_no_fork_is_no_proof() {
        let one = branch(&secret(8), 1, 2);
        let verify = |branches| ForkProof::new(branches).verify(&DATABASE);
        assert_eq!(verify([one.clone(), one.clone()]), Err(FalseProof::Equal));
        assert_eq!(verify([one.clone(), branch(&secret(7), 2, 1)]), Err(FalseProof::Apart));
        let mut later = branch(&secret(8), 2, 2);
        later.headers.remove(0);
        assert_eq!(verify([one.clone(), later]), Err(FalseProof::Apart));
        let mut cut = branch(&secret(8), 2, 3);
        cut.headers.pop();
        assert_eq!(verify([one.clone(), cut]), Err(FalseProof::Signature));
        let mut torn = branch(&secret(8), 2, 3);
        torn.headers.remove(1);
        assert_eq!(verify([one.clone(), torn]), Err(FalseProof::Chain));
        assert_eq!(verify([one, Branch { headers: Vec::new(), signature: [0; 64] }]), Err(FalseProof::Empty));
    }

    #[test]
    fn every_flipped_bit_of_a_proof_is_noticed() {
        let mut bytes = Vec::new();
        proof().put(&mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut reader = Reader::new(&flipped);
            let read = ForkProof::take(&mut reader).and_then(|read| reader.end().map(|()| read));
            assert!(read.is_err() || read.unwrap().verify(&DATABASE).is_err(), "bit {bit} went unnoticed");
        }
    }
}
