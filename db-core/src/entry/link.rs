//! Links between two keys of one writer: what the one key signs so that the other may go on in its place.

use ed25519_dalek::{Signer, SigningKey};

use super::run::verify_signature;
use crate::ids::{DatabaseId, EntryHash, WriterKey};

/// Signs that `to` goes on in the place of `from`; with the key of either.
pub(crate) fn sign_link(
    database: &DatabaseId,
    from: &WriterKey,
    to: &WriterKey,
    secret: &SigningKey,
) -> [u8; 64] {
    secret.sign(digest(database, from, to).as_bytes()).to_bytes()
}

/// Whether `signer` has signed that `to` goes on in the place of `from`.
pub(crate) fn link_holds(
    database: &DatabaseId,
    from: &WriterKey,
    to: &WriterKey,
    signer: &WriterKey,
    signature: &[u8; 64],
) -> bool {
    verify_signature(signer, &digest(database, from, to), signature).is_ok()
}

/// What is signed: a domain of its own, so that no signature of an entry is one of a link.
fn digest(database: &DatabaseId, from: &WriterKey, to: &WriterKey) -> EntryHash {
    let mut hasher = blake3::Hasher::new_derive_key("combdb writer link v1");
    hasher.update(database.as_bytes()).update(from.as_bytes()).update(to.as_bytes());
    EntryHash::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_for_its_database_its_direction_and_its_signer_only() {
        let (old, new) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let key = |secret: &SigningKey| WriterKey::from_bytes(secret.verifying_key().to_bytes());
        let (from, to) = (key(&old), key(&new));
        let database = DatabaseId::from_bytes([4; 32]);
        let signature = sign_link(&database, &from, &to, &new);
        assert!(link_holds(&database, &from, &to, &to, &signature));
        assert!(!link_holds(&database, &from, &to, &from, &signature));
        assert!(!link_holds(&database, &to, &from, &to, &signature));
        assert!(!link_holds(&DatabaseId::from_bytes([5; 32]), &from, &to, &to, &signature));
    }
}
