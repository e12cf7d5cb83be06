//! What is kept of every entry for ever: which epoch its past knows, and how far it sees the logs of that epoch's indexers.
//!
//! A standing is a pure function of the entry and its past, and all that a descendant needs for its own. Its encoding, all
//! numbers as LEB128 varints:
//!
//! ```text
//! epoch | rise | count | count × (next, wave)
//! ```

use crate::bytes::{Malformed, Reader};
pub(super) use crate::bytes::{put_varint, take_varint};

use super::{EntryNumber, Facts};

/// The standing of an entry: see [`crate::linearizer::Linearizer::check`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The last epoch whose beginning the entry's past certifies.
    pub(super) epoch: u64,
    /// By how many waves the entry is above its author's last in this epoch: in so many waves it votes.
    pub(super) rise: u64,
    /// What the entry and its past hold of each indexer of the epoch; empty for nothing at all.
    pub(super) seen: Vec<Seen>,
}

/// How much of one indexer's log an entry has in its past, itself included: of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// One more than the highest `seq`; 0 for no entry.
    pub(super) next: u64,
    /// The highest wave.
    pub(super) wave: u64,
}

/// What the caller has kept of the entries added before.
pub trait Past {
    /// The standing that [`crate::linearizer::Linearizer::check`] gave for the entry, `None` if there is no such entry.
    fn standing(&self, number: EntryNumber) -> Option<Standing>;

    /// The entry's parents and its `prev`; empty if there is no such entry. Asked for where an indexer's log is forked, and of
    /// entries of a long tail.
    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber>;

    /// What else the order asks again of an entry of a long tail; none if there is no such entry.
    fn facts(&self, number: EntryNumber) -> Option<Facts>;
}

impl Standing {
    /// The last epoch whose beginning the entry's past certifies: what an indexer's entry has to carry.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the entry votes, in some wave.
    pub const fn votes(&self) -> bool {
        self.rise > 0
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(3 + 4 * self.seen.len());
        put_varint(&mut bytes, self.epoch);
        put_varint(&mut bytes, self.rise);
        put_seen(&mut bytes, &self.seen);
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// If `bytes` are not what [`Standing::encode`] gives.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let standing = Self {
            epoch: take_varint(&mut reader)?,
            rise: take_varint(&mut reader)?,
            seen: take_seen(&mut reader)?,
        };
        reader.end()?;
        Ok(standing)
    }
}

impl Seen {
    /// Takes in what another entry of the past sees.
    pub(super) fn merge(&mut self, other: Self) {
        self.next = self.next.max(other.next);
        self.wave = self.wave.max(other.wave);
    }
}

/// Merges what one parent sees into what the others see.
pub(super) fn merge_seen(into: &mut Vec<Seen>, from: &[Seen]) {
    if into.len() < from.len() {
        into.resize(from.len(), Seen::default());
    }
    for (mine, theirs) in into.iter_mut().zip(from) {
        mine.merge(*theirs);
    }
}

pub(super) fn put_seen(bytes: &mut Vec<u8>, seen: &[Seen]) {
    put_varint(bytes, seen.len() as u64);
    for one in seen {
        put_varint(bytes, one.next);
        put_varint(bytes, one.wave);
    }
}

pub(super) fn take_seen(reader: &mut Reader<'_>) -> Result<Vec<Seen>, Malformed> {
    let count = take_count(reader, 2)?;
    (0..count).map(|_| Ok(Seen { next: take_varint(reader)?, wave: take_varint(reader)? })).collect()
}

/// A count of items that take at least `bytes_each` bytes: never more than the input can hold.
pub(super) fn take_count(reader: &mut Reader<'_>, bytes_each: usize) -> Result<usize, Malformed> {
    let count = usize::try_from(take_varint(reader)?).map_err(|_| Malformed("count beyond its limit"))?;
    if count > reader.remaining() / bytes_each.max(1) {
        return Err(Malformed("count beyond the input"));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_standing_reads_back(epoch: u64, rise: u64, seen: Vec<(u64, u64)>) {
            let seen = seen.into_iter().map(|(next, wave)| Seen { next, wave }).collect();
            let standing = Standing { epoch, rise, seen };
            prop_assert_eq!(Standing::decode(&standing.encode()), Ok(standing));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(standing) = Standing::decode(&bytes) {
                prop_assert_eq!(standing.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_count_beyond_the_input_is_refused_before_anything_is_reserved() {
        let mut bytes = vec![0, 0];
        put_varint(&mut bytes, u64::MAX);
        assert!(Standing::decode(&bytes).is_err());
    }
}
