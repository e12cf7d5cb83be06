//! The genesis: what a database is from its first moment and can never change.

use crate::bytes::{Malformed, Put, Reader};
use crate::ids::{DatabaseId, DatabaseKey, WriterKey};

/// The version of the rules by which operations are replayed; peers of one database share it for ever.
pub(crate) const RULES_VERSION: u16 = 3;

/// Who may write to a database before anybody has said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The founder, and the writers that an admin adds.
    Closed,
    /// Whoever holds the database's key.
    Open,
}

/// What a database is from its first moment: rules, admission, founder.
///
/// The founder is the sole indexer of epoch 0. In a closed database it is the writer that created it. In an open one,
/// which several peers may start apart from each other, it is a key that everybody who holds the database's key can
/// derive; its log holds the one entry that appoints the first indexers.
///
/// Layout: rules version (u16), admission (u8: 0 closed, 1 open), founder (32 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The version of the replay's rules.
    pub rules_version: u16,
    /// Who may write at first.
    pub admission: Admission,
    /// The sole indexer of epoch 0.
    pub founder: WriterKey,
}

impl Genesis {
    /// The length of an encoded genesis, in bytes.
    pub const BYTES: usize = 35;

    /// The genesis of a database that `founder` creates for itself and whom it admits.
    pub fn closed(founder: WriterKey) -> Self {
        Self { rules_version: RULES_VERSION, admission: Admission::Closed, founder }
    }

    /// The genesis of the open database with this key: the same wherever it is started.
    pub fn open(key: &DatabaseKey) -> Self {
        let founder = founder_secret(key).verifying_key();
        Self {
            rules_version: RULES_VERSION,
            admission: Admission::Open,
            founder: WriterKey::from_bytes(founder.to_bytes()),
        }
    }

    /// The identity of the database with this key and genesis.
    pub fn database_id(&self, key: &DatabaseKey) -> DatabaseId {
        let mut hasher = blake3::Hasher::new_derive_key("combdb database id v1");
        hasher.update(key.expose_bytes()).update(&self.encode());
        DatabaseId::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The genesis as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.put_u16(self.rules_version);
        bytes.put_u8(match self.admission {
            Admission::Closed => 0,
            Admission::Open => 1,
        });
        bytes.extend_from_slice(self.founder.as_bytes());
        bytes
    }

    /// Reads an encoded genesis.
    ///
    /// # Errors
    /// If the bytes are not exactly one genesis of a version that this program knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let rules_version = reader.u16()?;
        if rules_version != RULES_VERSION {
            return Err(Malformed("the database follows rules of another version: upgrade needed"));
        }
        let admission = match reader.u8()? {
            0 => Admission::Closed,
            1 => Admission::Open,
            _ => return Err(Malformed("unknown admission policy")),
        };
        let founder = WriterKey::from_bytes(reader.array()?);
        reader.end()?;
        Ok(Self { rules_version, admission, founder })
    }
}

/// The secret with which any holder of an open database's key may write the founding entry.
pub(crate) fn founder_secret(key: &DatabaseKey) -> ed25519_dalek::SigningKey {
    let mut seed = blake3::derive_key("combdb open founder v1", key.expose_bytes());
    let secret = ed25519_dalek::SigningKey::from_bytes(&seed);
    zeroize::Zeroize::zeroize(&mut seed);
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_topic_has_one_genesis_and_identity_wherever_it_starts() {
        let (a, b) = (DatabaseKey::of_open_topic("films"), DatabaseKey::of_open_topic("films"));
        assert_eq!(Genesis::open(&a), Genesis::open(&b));
        assert_eq!(Genesis::open(&a).database_id(&a), Genesis::open(&b).database_id(&b));
        let other = DatabaseKey::of_open_topic("Films");
        assert_ne!(Genesis::open(&a).database_id(&a), Genesis::open(&other).database_id(&other));
    }

    #[test]
    fn decoding_gives_back_what_was_encoded_and_nothing_longer() {
        let genesis = Genesis::closed(WriterKey::from_bytes([9; 32]));
        let mut bytes = genesis.encode();
        assert_eq!(bytes.len(), Genesis::BYTES);
        assert_eq!(Genesis::decode(&bytes), Ok(genesis));
        bytes.push(0);
        assert!(Genesis::decode(&bytes).is_err());
    }
}
