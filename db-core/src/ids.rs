//! The names of things: databases, writers, entries. Each is 32 bytes with a type of its own.

use std::fmt;

use zeroize::Zeroize;

/// Declares a public 32-byte name with ordering, short `Debug` and full hexadecimal `Display`.
macro_rules! name32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The name with these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes of the name.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Reads 64 hexadecimal digits of either case; `None` for anything else.
            pub fn from_hex(text: &str) -> Option<Self> {
                let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
                Some(Self(bytes.try_into().ok()?))
            }

            /// The first eight hexadecimal digits, for logs and tables.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
    };
}

name32! {
    /// The ed25519 public key that names a writer and its log.
    WriterKey
}

name32! {
    /// The hash of an entry's header, bound to its database: how entries name one another.
    EntryHash
}

name32! {
    /// The public identity of a database: the hash of its key and genesis. Signatures are bound to it.
    DatabaseId
}

name32! {
    /// What peers of one database find each other by. Knowing it is no right to read.
    Topic
}

/// The secret that members of a database share; who has it may read and replicate.
///
/// Zeroed when dropped; `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseKey([u8; 32]);

impl DatabaseKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key of the open database that everybody who knows `name` shares.
    pub fn of_open_topic(name: &str) -> Self {
        Self(blake3::derive_key("combdb open topic v1", name.as_bytes()))
    }

    /// The secret bytes.
    pub const fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The topic on which the database's peers meet.
    pub fn topic(&self) -> Topic {
        Topic(blake3::derive_key("combdb topic v1", &self.0))
    }
}

impl fmt::Debug for DatabaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseKey(secret)")
    }
}

impl Drop for DatabaseKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_text_reads_back_and_garbage_does_not() {
        let key = WriterKey::from_bytes([0xAB; 32]);
        assert_eq!(WriterKey::from_hex(&key.to_string()), Some(key));
        assert_eq!(WriterKey::from_hex(&key.to_string().to_uppercase()), Some(key));
        assert_eq!(WriterKey::from_hex("abcd"), None);
        assert_eq!(WriterKey::from_hex(&"g".repeat(64)), None);
    }

    #[test]
    fn debug_of_a_database_key_tells_nothing() {
        assert_eq!(format!("{:?}", DatabaseKey::from_bytes([7; 32])), "DatabaseKey(secret)");
    }
}
