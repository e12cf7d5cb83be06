//! Tickets: text that lets somebody join a database.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::bytes::{Malformed, Put, Reader};
use crate::entry::Genesis;
use crate::ids::DatabaseKey;
use crate::peer_address::PeerAddress;

/// The most peers that a ticket names.
pub const TICKET_ADDRESSES_MAX: usize = 8;
/// The longest name of a database in a ticket, in bytes.
pub const TICKET_NAME_BYTES_MAX: usize = 120;
/// The longest ticket, in characters.
pub const TICKET_TEXT_MAX: usize = 4_096;

/// What a text begins with that is a ticket of this version.
const PREFIX: &str = "combdb1";
const CHECKSUM_BYTES: usize = 4;

/// What somebody needs to join a database: whoever holds it may read and replicate.
///
/// The text is `combdb1` and base32 (lower case, without padding) of: key (32 bytes), genesis (35), name (length u32,
/// UTF-8), number of peers (u8) and their addresses, and the first 4 bytes of the hash of all that.
///
/// `Debug` shows nothing that helps to join; there is no `Display`, so that a ticket is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The secret that members share.
    pub key: DatabaseKey,
    /// What the database is from its first moment.
    pub genesis: Genesis,
    /// What the database is called where the ticket comes from; at most [`TICKET_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Peers to begin with, at most [`TICKET_ADDRESSES_MAX`].
    pub addresses: Vec<PeerAddress>,
}

/// Why a text is no ticket. No message repeats any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TicketError {
    /// The text does not begin as tickets do.
    #[error("not a ticket: it must begin with {PREFIX}")]
    Prefix,
    /// The ticket has another version.
    #[error("a ticket of another version: upgrade needed")]
    Version,
    /// The text is longer than any ticket.
    #[error("too long for a ticket: max={TICKET_TEXT_MAX}")]
    TooLong,
    /// The text has characters that no ticket has, or was cut.
    #[error("the ticket has a character that does not belong there, or was cut")]
    Encoding,
    /// The text was changed or cut on its way.
    #[error("the ticket was changed or cut: its checksum does not match")]
    Checksum,
    /// The ticket is whole, but what it holds is not valid.
    #[error("the ticket holds something that is not valid")]
    Malformed(#[from] Malformed),
}

impl Ticket {
    /// The ticket as text. It is a secret: who reads it can join.
    pub fn to_text(&self) -> String {
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        bytes.extend_from_slice(self.key.expose_bytes());
        bytes.extend_from_slice(&self.genesis.encode());
        bytes.put_bytes(clip_name(&self.name).as_bytes());
        bytes.put_u8(self.addresses.len().min(TICKET_ADDRESSES_MAX) as u8);
        for address in self.addresses.iter().take(TICKET_ADDRESSES_MAX) {
            address.encode(&mut bytes);
        }
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        let mut text = data_encoding::BASE32_NOPAD.encode(&bytes);
        text.make_ascii_lowercase();
        format!("{PREFIX}{text}")
    }

    /// Reads a ticket; surrounding space and upper case do no harm.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > TICKET_TEXT_MAX {
            return Err(TicketError::TooLong);
        }
        let upper = Zeroizing::new(text.to_ascii_uppercase());
        let Some(encoded) = upper.strip_prefix(&PREFIX.to_ascii_uppercase()) else {
            let other = upper.strip_prefix("COMBDB").is_some_and(|rest| rest.starts_with(char::is_numeric));
            return Err(if other { TicketError::Version } else { TicketError::Prefix });
        };
        let decoded = data_encoding::BASE32_NOPAD.decode(encoded.as_bytes());
        let bytes = Zeroizing::new(decoded.map_err(|_| TicketError::Encoding)?);
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TicketError::Checksum)?;
        if *sum != checksum(body) {
            return Err(TicketError::Checksum);
        }
        let mut reader = Reader::new(body);
        let key = DatabaseKey::from_bytes(reader.array()?);
        let genesis = Genesis::decode(reader.take(Genesis::BYTES)?)?;
        let name = reader.text(TICKET_NAME_BYTES_MAX)?;
        if name.chars().any(char::is_control) {
            return Err(Malformed("control characters in a name").into());
        }
        let count = usize::from(reader.u8()?);
        if count > TICKET_ADDRESSES_MAX {
            return Err(Malformed("too many addresses").into());
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            addresses.push(PeerAddress::decode(&mut reader)?);
        }
        reader.end()?;
        Ok(Self { key, genesis, name: name.to_owned(), addresses })
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket(name={:?}, addresses={}, secret)", self.name, self.addresses.len())
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::derive_key("combdb ticket v1", body);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hash[..CHECKSUM_BYTES]);
    checksum
}

/// The longest beginning of a name that a ticket may hold, without control characters.
fn clip_name(name: &str) -> String {
    let mut clipped = String::new();
    for character in name.chars().filter(|c| !c.is_control()) {
        if clipped.len() + character.len_utf8() > TICKET_NAME_BYTES_MAX {
            break;
        }
        clipped.push(character);
    }
    clipped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        let key = DatabaseKey::from_bytes([0xA5; 32]);
        let id = "cd".repeat(32);
        Ticket {
            genesis: Genesis::open(&key),
            key,
            name: "films".to_owned(),
            addresses: vec![
                format!("{id}@127.0.0.1:7001").parse().unwrap(),
                format!("{id}@[2001:db8::1]:9,10.0.0.1:1").parse().unwrap(),
            ],
        }
    }

    #[test]
    fn text_reads_back_in_either_case() {
        let text = ticket().to_text();
        assert!(text.starts_with("combdb1") && text.chars().all(|c| c.is_ascii_alphanumeric()));
        assert_eq!(Ticket::parse(&text), Ok(ticket()));
        assert_eq!(Ticket::parse(&format!("  {}\n", text.to_uppercase())), Ok(ticket()));
    }

    #[test]
    fn what_is_no_ticket_says_why() {
        let text = ticket().to_text();
        assert_eq!(Ticket::parse(""), Err(TicketError::Prefix));
        assert_eq!(Ticket::parse("127.0.0.1:7001"), Err(TicketError::Prefix));
        assert_eq!(Ticket::parse(&text.replacen('1', "2", 1)), Err(TicketError::Version));
        assert_eq!(Ticket::parse(&"a".repeat(5_000)), Err(TicketError::TooLong));
        assert_eq!(Ticket::parse(&text.replace('a', "!")), Err(TicketError::Encoding));
        assert_eq!(Ticket::parse("combdb1"), Err(TicketError::Checksum));
        for cut in PREFIX.len()..text.len() {
            assert!(Ticket::parse(&text[..cut]).is_err());
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = ticket().to_text();
        for place in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'b' { b'c' } else { b'b' };
            assert!(Ticket::parse(std::str::from_utf8(&changed).unwrap()).is_err(), "{place}");
        }
    }

    #[test]
    fn debug_tells_no_secret() {
        let debug = format!("{:?}", ticket());
        assert_eq!(debug, "Ticket(name=\"films\", addresses=2, secret)");
    }

    #[test]
    fn the_largest_ticket_can_be_read() {
        let id = "cd".repeat(32);
        let sockets = ["[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"; 8].join(",");
        let address: PeerAddress = format!("{id}@{sockets}").parse().unwrap();
        let large = Ticket { name: "é".repeat(200), addresses: vec![address; 20], ..ticket() };
        let read = Ticket::parse(&large.to_text()).unwrap();
        assert_eq!((read.name.len(), read.addresses.len()), (TICKET_NAME_BYTES_MAX, TICKET_ADDRESSES_MAX));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}", body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Ticket::parse(&text);
            let mut bytes = body.clone();
            bytes.extend_from_slice(&checksum(&body));
            let encoded = format!("{PREFIX}{}", data_encoding::BASE32_NOPAD.encode(&bytes));
            let _ = Ticket::parse(&encoded);
        }
    }
}
