//! Resume tokens: where in the confirmed order a stream is.
//!
//! Layout, in hexadecimal digits: a version (u8, 1), the first 8 bytes of the database's id, the position in the confirmed
//! order (u64), how many events of the entry there come before and with this one (u32; all of them: the greatest number), the
//! first 8 bytes of the entry's hash, and the first 4 of the hash of what is watched (zeros after a whole entry). The order of
//! confirmed entries is the same on all peers, and so are tokens. An event of a local stream has a token of another version
//! (0, then a running number): it names the event and no place to resume from.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};

use crate::bytes::{Put, Reader};
use crate::error::Error;
use crate::ids::{DatabaseId, EntryHash};

/// MongoDB's `InvalidResumeToken`.
const INVALID_RESUME_TOKEN: i32 = 260;
const VERSION: u8 = 1;
const VERSION_LOCAL: u8 = 0;
/// All events of an entry.
const WHOLE_ENTRY: u32 = u32::MAX;
const BYTES: usize = 1 + 8 + 8 + 4 + 8 + 4;

/// What names an event and, of the confirmed order, the place after it: MongoDB's `_id` of an event.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResumeToken {
    #[serde(rename = "_data")]
    data: String,
}

impl ResumeToken {
    /// A token from its text, as [`ResumeToken::as_str`] gives it. Whether it can be resumed from is seen when that is tried.
    pub fn new(text: impl Into<String>) -> Self {
        Self { data: text.into() }
    }

    /// The token's text.
    pub fn as_str(&self) -> &str {
        &self.data
    }

    /// That of an event of a local stream.
    pub(super) fn local(number: u64) -> Self {
        let mut bytes = vec![VERSION_LOCAL];
        bytes.extend_from_slice(&number.to_be_bytes());
        Self { data: HEXLOWER_PERMISSIVE.encode(&bytes) }
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.data)
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResumeToken({:.80})", self.data)
    }
}

/// A place between two events of the confirmed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The position of the entry of the last event before it.
    pub(super) position: u64,
    /// How many of the entry's events come before it; none: all of them.
    pub(super) events: Option<u32>,
    /// The beginning of the entry's hash.
    pub(super) entry: [u8; 8],
}

impl Place {
    pub(super) fn new(position: u64, events: Option<u32>, entry: &EntryHash) -> Self {
        Self { position, events, entry: first(entry.as_bytes()) }
    }

    /// Whether it lies behind this entry.
    pub(super) fn is_of(&self, entry: &EntryHash) -> bool {
        self.entry == first(entry.as_bytes())
    }

    /// The token of the place, in a stream of what is called `watched`.
    pub(super) fn token(&self, database: &DatabaseId, watched: &str) -> ResumeToken {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.put_u8(VERSION);
        bytes.extend_from_slice(&first::<8>(database.as_bytes()));
        // Ascending as text, too.
        bytes.extend_from_slice(&self.position.to_be_bytes());
        bytes.extend_from_slice(&self.events.unwrap_or(WHOLE_ENTRY).to_be_bytes());
        bytes.extend_from_slice(&self.entry);
        bytes.extend_from_slice(&self.tag(watched));
        ResumeToken { data: HEXLOWER_PERMISSIVE.encode(&bytes) }
    }

    /// Reads a token.
    ///
    /// # Errors
    /// `InvalidResumeToken` (260) for one of another database, of something else that is watched, or that is none.
    pub(super) fn read(token: &ResumeToken, database: &DatabaseId, watched: &str) -> Result<Self, Error> {
        let bytes = (token.data.len() == 2 * BYTES)
            .then(|| HEXLOWER_PERMISSIVE.decode(token.data.as_bytes()).ok())
            .flatten();
        let Some(bytes) = bytes else {
            let is_local = token.data.len() == 2 * 9 && token.data.starts_with("00");
            return Err(refused(if is_local {
                "a local stream cannot be resumed: watch anew, or with the concern majority"
            } else {
                "this is no resume token"
            }));
        };
        let mut reader = Reader::new(&bytes);
        if reader.u8()? != VERSION {
            return Err(refused("this is no resume token of this version"));
        }
        if reader.array::<8>()? != first::<8>(database.as_bytes()) {
            return Err(refused("the resume token is of another database"));
        }
        let position = u64::from_be_bytes(reader.array()?);
        let events = Some(u32::from_be_bytes(reader.array()?)).filter(|events| *events != WHOLE_ENTRY);
        let place = Self { position, events, entry: reader.array()? };
        if reader.array::<4>()? != place.tag(watched) {
            return Err(refused("the resume token is of a stream that watches something else"));
        }
        Ok(place)
    }

    /// Within an entry, events are counted among those that are watched.
    fn tag(&self, watched: &str) -> [u8; 4] {
        if self.events.is_none() { [0; 4] } else { first(blake3::hash(watched.as_bytes()).as_bytes()) }
    }
}

/// Why a token cannot be resumed from.
pub(super) fn refused(why: &str) -> Error {
    Error::invalid(why).with_code(INVALID_RESUME_TOKEN)
}

fn first<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    let mut first = [0; N];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_those_of_others_are_refused() {
        let database = DatabaseId::from_bytes([3; 32]);
        let entry = EntryHash::from_bytes([9; 32]);
        for events in [None, Some(7)] {
            let place = Place::new(12, events, &entry);
            let token = place.token(&database, "films");
            assert_eq!(Place::read(&token, &database, "films").unwrap(), place);
            assert!(place.is_of(&entry));
            let other = Place::read(&token, &DatabaseId::from_bytes([4; 32]), "films").unwrap_err();
            assert_eq!(other.code(), Some(260));
            // After a whole entry it makes no difference what was watched.
            assert_eq!(Place::read(&token, &database, "books").is_ok(), events.is_none());
        }
        for garbage in ["", "00", "zz", &"0".repeat(66), &"é".repeat(33), ResumeToken::local(5).as_str()] {
            let refused = Place::read(&ResumeToken::new(garbage), &database, "films").unwrap_err();
            assert_eq!(refused.code(), Some(260), "{garbage}");
        }
    }
}
