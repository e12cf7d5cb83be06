//! The keys under which this device writes to one database: the first follows from the store's secret, later ones from that
//! and a seed drawn when they are taken, which is kept in the database's file. The file alone thus gives no key away.

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::ids::WriterKey;

/// This device's secrets, the present one last.
#[derive(Clone)]
pub(super) struct OwnKeys {
    seeds: Vec<[u8; 32]>,
    first: (WriterKey, SigningKey),
    later: Vec<(WriterKey, SigningKey)>,
}

impl OwnKeys {
    /// The keys that follow from the first and these seeds.
    pub(super) fn restore(first: SigningKey, seeds: Vec<[u8; 32]>) -> Self {
        let later = seeds.iter().map(|seed| with_key(derive(&first, seed))).collect();
        Self { seeds, first: with_key(first), later }
    }

    /// The key of the log that calls are appended to.
    pub(super) fn writer(&self) -> WriterKey {
        self.later.last().unwrap_or(&self.first).0
    }

    /// All keys, the present one first.
    pub(super) fn writers(&self) -> impl Iterator<Item = WriterKey> {
        self.later.iter().rev().chain(std::iter::once(&self.first)).map(|(writer, _)| *writer)
    }

    /// The secret of one of the keys.
    pub(super) fn secret_of(&self, writer: &WriterKey) -> Option<&SigningKey> {
        let mut keys = std::iter::once(&self.first).chain(&self.later);
        keys.find(|(key, _)| key == writer).map(|(_, secret)| secret)
    }

    /// Takes the key that follows from a seed; gives it.
    pub(super) fn take(&mut self, seed: [u8; 32]) -> WriterKey {
        let taken = with_key(derive(&self.first.1, &seed));
        let writer = taken.0;
        self.seeds.push(seed);
        self.later.push(taken);
        writer
    }

    /// Forgets the key that was taken last.
    pub(super) fn forget_last(&mut self) {
        self.seeds.pop();
        self.later.pop();
    }

    /// The seeds of the later keys.
    pub(super) fn seeds(&self) -> &[[u8; 32]] {
        &self.seeds
    }
}

fn with_key(secret: SigningKey) -> (WriterKey, SigningKey) {
    (WriterKey::from_bytes(secret.verifying_key().to_bytes()), secret)
}

fn derive(first: &SigningKey, seed: &[u8; 32]) -> SigningKey {
    let mut hasher = blake3::Hasher::new_derive_key("combdb rotated writer v1");
    hasher.update(&*Zeroizing::new(first.to_bytes())).update(seed);
    SigningKey::from_bytes(&Zeroizing::new(*hasher.finalize().as_bytes()))
}
