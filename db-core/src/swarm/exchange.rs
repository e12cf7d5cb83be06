//! Members tell each other where the other members are, once they have proved themselves.
//!
//! ```text
//! 8    "combadr", 1
//! 32   topic
//! u8   number of addresses, and these
//! ```

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::RecvStream;
use tokio::time::timeout;
use tracing::debug;

use super::peering::Peering;
use super::shared::Shared;
use crate::bytes::{Malformed, Put, Reader};
use crate::ids::Topic;
use crate::peer_address::PeerAddress;

const MAGIC: &[u8; 8] = b"combadr\x01";
/// The most addresses in one message, and its longest form in bytes.
const ADDRESSES_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// How long to wait for the session that proves the teller a member, and for the message itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells a new member of the others, and the others of it.
pub(super) async fn introduce(shared: &Shared, member: &Arc<Peering>, topic: &Topic) {
    let others = shared.roster().members(topic, &member.endpoint);
    let known: Vec<PeerAddress> = others.iter().filter_map(|other| address_for(other, member)).collect();
    for addresses in known.chunks(ADDRESSES_MAX) {
        tell(member, topic, addresses).await;
    }
    for other in &others {
        if let Some(address) = address_for(member, other) {
            tell(other, topic, &[address]).await;
        }
    }
}

/// Where `whom` can be found by `by`: an address on loopback is of use only to who is on the same machine.
fn address_for(whom: &Peering, by: &Peering) -> Option<PeerAddress> {
    let (socket, asker) = (whom.remote_socket()?, by.remote_socket()?);
    let of_use = !socket.ip().is_loopback() || asker.ip().is_loopback();
    of_use.then(|| PeerAddress { endpoint: whom.endpoint, sockets: vec![socket] })
}

async fn tell(peering: &Peering, topic: &Topic, addresses: &[PeerAddress]) {
    let telling = async {
        let mut stream = peering.connection.open_uni().await.ok()?;
        stream.write_all(&encode(topic, addresses)).await.ok()?;
        stream.finish().ok()
    };
    if timeout(PATIENCE, telling).await.ok().flatten().is_none() {
        debug!(peer = %peering.endpoint.short(), "could not tell a member of the others");
    }
}

/// Takes in what a peer tells of others, if it is a member of the topic.
pub(super) async fn hear(shared: Arc<Shared>, peering: Arc<Peering>, mut stream: RecvStream) {
    let Ok(Ok(message)) = timeout(PATIENCE, stream.read_to_end(MESSAGE_BYTES_MAX)).await else { return };
    let (topic, addresses) = match decode(&message) {
        Ok(heard) => heard,
        Err(error) => {
            debug!(peer = %peering.endpoint.short(), %error, "a message about peers makes no sense");
            return;
        }
    };
    // The message may overtake the end of the teller's own handshake.
    let is_member = shared.until(|roster| roster.is_member(&topic, &peering.endpoint));
    if timeout(PATIENCE, is_member).await.is_ok() {
        for address in &addresses {
            shared.add_peer(topic, address, false);
        }
    }
}

fn encode(topic: &Topic, addresses: &[PeerAddress]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(topic.as_bytes());
    bytes.put_u8(addresses.len().min(ADDRESSES_MAX) as u8);
    for address in addresses.iter().take(ADDRESSES_MAX) {
        address.encode(&mut bytes);
    }
    bytes
}

fn decode(bytes: &[u8]) -> Result<(Topic, Vec<PeerAddress>), Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(Malformed("a message of another protocol"));
    }
    let topic = Topic::from_bytes(reader.array()?);
    let count = usize::from(reader.u8()?);
    if count > ADDRESSES_MAX {
        return Err(Malformed("too many addresses"));
    }
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        addresses.push(PeerAddress::decode(&mut reader)?);
    }
    reader.end()?;
    Ok((topic, addresses))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peer_address::EndpointKey;

    #[test]
    fn a_message_reads_back_and_keeps_to_its_limits() {
        let topic = Topic::from_bytes([1; 32]);
        let address = PeerAddress {
            endpoint: EndpointKey::from_bytes([2; 32]),
            sockets: vec!["[2001:db8::1]:7001".parse().unwrap(); 8],
        };
        let message = encode(&topic, &vec![address.clone(); 100]);
        assert!(message.len() <= MESSAGE_BYTES_MAX);
        assert_eq!(decode(&message), Ok((topic, vec![address; ADDRESSES_MAX])));
        assert!(decode(&message[1..]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_messages_never_panic(rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut message = MAGIC.to_vec();
            message.extend(rest);
            let _ = decode(&message);
        }
    }
}
