//! Proving knowledge of the database's key without showing it.

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::ids::{DatabaseId, DatabaseKey};

/// Everything that both ends must agree on for a proof to hold. Nonces are fresh for each session; the binding ties the
/// proof to the channel, so that it is worth nothing on another one.
pub(super) struct Transcript<'a> {
    pub(super) database: &'a DatabaseId,
    pub(super) binding: &'a [u8; 32],
    pub(super) dialer_nonce: &'a [u8; 32],
    pub(super) acceptor_nonce: &'a [u8; 32],
}

/// Which end of the connection proves. The two proofs differ by it, so that neither can be played back as the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Dialer,
    Acceptor,
}

impl Transcript<'_> {
    /// The proof that the end with this role gives.
    pub(super) fn prove(&self, key: &DatabaseKey, role: Role) -> [u8; 32] {
        *self.hash(key, role).as_bytes()
    }

    /// Whether a proof is the one that this role gives; takes the same time for every wrong one.
    pub(super) fn holds(&self, key: &DatabaseKey, role: Role, proof: &[u8; 32]) -> bool {
        self.hash(key, role).as_bytes().ct_eq(proof).into()
    }

    fn hash(&self, key: &DatabaseKey, role: Role) -> blake3::Hash {
        let mut secret = blake3::derive_key("combdb session proof v1", key.expose_bytes());
        let mut hasher = blake3::Hasher::new_keyed(&secret);
        secret.zeroize();
        hasher
            .update(&[match role {
                Role::Dialer => 1,
                Role::Acceptor => 2,
            }])
            .update(self.database.as_bytes())
            .update(self.binding)
            .update(self.dialer_nonce)
            .update(self.acceptor_nonce);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_role_key_database_channel_and_pair_of_nonces() {
        let key = DatabaseKey::from_bytes([1; 32]);
        let database = DatabaseId::from_bytes([2; 32]);
        let (binding, other) = ([3; 32], [9; 32]);
        let (dialer_nonce, acceptor_nonce) = ([4; 32], [5; 32]);
        let transcript = Transcript {
            database: &database,
            binding: &binding,
            dialer_nonce: &dialer_nonce,
            acceptor_nonce: &acceptor_nonce,
        };
        let proof = transcript.prove(&key, Role::Dialer);
        assert!(transcript.holds(&key, Role::Dialer, &proof));
        assert!(!transcript.holds(&key, Role::Acceptor, &proof));
        assert!(!transcript.holds(&DatabaseKey::from_bytes(other), Role::Dialer, &proof));
        let elsewhere = DatabaseId::from_bytes(other);
        assert!(!Transcript { database: &elsewhere, ..transcript }.holds(&key, Role::Dialer, &proof));
        assert!(!Transcript { binding: &other, ..transcript }.holds(&key, Role::Dialer, &proof));
        assert!(!Transcript { dialer_nonce: &other, ..transcript }.holds(&key, Role::Dialer, &proof));
        assert!(!Transcript { acceptor_nonce: &other, ..transcript }.holds(&key, Role::Dialer, &proof));
    }
}
