//! Who listens at an address: over TCP, whoever proves that they know a database's key is told the endpoint's, and can
//! trust the answer, since only a member could have given it. Nobody else learns anything but that a topic is served here,
//! and to ask for it they must know the topic.
//!
//! ```text
//! asker       "combwho", 1; topic 32; nonce 32
//! listener    nonce 32                                      or the end of the stream: no such topic
//! asker       keyed hash of (1, both nonces)
//! listener    endpoint 32, keyed hash of (2, both nonces, endpoint)
//! ```

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroize;

use crate::ids::{DatabaseKey, Topic};
use crate::peer_address::EndpointKey;

const MAGIC: &[u8; 8] = b"combwho\x01";
/// How long question and answer may take together.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks who listens at an address, as a member of this database.
pub(super) async fn ask(socket: SocketAddr, key: &DatabaseKey) -> io::Result<EndpointKey> {
    let asking = async {
        let mut stream = TcpStream::connect(socket).await?;
        let asker = nonce()?;
        let mut question = Vec::with_capacity(72);
        question.extend_from_slice(MAGIC);
        question.extend_from_slice(key.topic().as_bytes());
        question.extend_from_slice(&asker);
        stream.write_all(&question).await?;
        let mut listener = [0; 32];
        stream.read_exact(&mut listener).await.map_err(|error| {
            let unknown = "nobody there serves this topic";
            if error.kind() == io::ErrorKind::UnexpectedEof { io::Error::other(unknown) } else { error }
        })?;
        stream.write_all(&prove(key, &[&[1], &asker, &listener])).await?;
        let (mut endpoint, mut proof) = ([0; 32], [0; 32]);
        stream.read_exact(&mut endpoint).await?;
        stream.read_exact(&mut proof).await?;
        let holds: bool = prove(key, &[&[2], &asker, &listener, &endpoint]).ct_eq(&proof).into();
        if holds {
            Ok(EndpointKey::from_bytes(endpoint))
        } else {
            Err(io::Error::other("who answers there is no member of the database"))
        }
    };
    timeout(PATIENCE, asking).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Answers one who asks; `key_of` gives the key of a database that is served here.
pub(super) async fn answer(
    mut stream: TcpStream,
    endpoint: EndpointKey,
    key_of: impl Fn(&Topic) -> Option<DatabaseKey>,
) -> io::Result<()> {
    let answering = async {
        let (mut magic, mut topic, mut asker) = ([0; 8], [0; 32], [0; 32]);
        stream.read_exact(&mut magic).await?;
        stream.read_exact(&mut topic).await?;
        stream.read_exact(&mut asker).await?;
        let Some(key) = key_of(&Topic::from_bytes(topic)).filter(|_| magic == *MAGIC) else {
            return Ok(());
        };
        let listener = nonce()?;
        stream.write_all(&listener).await?;
        let mut proof = [0; 32];
        stream.read_exact(&mut proof).await?;
        let holds: bool = prove(&key, &[&[1], &asker, &listener]).ct_eq(&proof).into();
        if holds {
            let proof = prove(&key, &[&[2], &asker, &listener, endpoint.as_bytes()]);
            stream.write_all(&[*endpoint.as_bytes(), proof].concat()).await?;
        }
        Ok(())
    };
    timeout(PATIENCE, answering).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn prove(key: &DatabaseKey, parts: &[&[u8]]) -> [u8; 32] {
    let mut secret = blake3::derive_key("combdb identify proof v1", key.expose_bytes());
    let mut hasher = blake3::Hasher::new_keyed(&secret);
    secret.zeroize();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn nonce() -> io::Result<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const ENDPOINT: EndpointKey = EndpointKey::from_bytes([9; 32]);

    async fn asked_by(asker: DatabaseKey, served: DatabaseKey, topic: Topic) -> io::Result<EndpointKey> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = listener.local_addr().unwrap();
        let answering = async {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream, ENDPOINT, |asked| (*asked == topic).then(|| served.clone())).await
        };
        tokio::join!(ask(socket, &asker), answering).0
    }

    #[tokio::test]
    async fn a_member_is_told_and_nobody_else() {
        let key = DatabaseKey::from_bytes([1; 32]);
        let other = DatabaseKey::from_bytes([2; 32]);
        assert_eq!(asked_by(key.clone(), key.clone(), key.topic()).await.unwrap(), ENDPOINT);
        let unknown = asked_by(other.clone(), key.clone(), key.topic()).await.unwrap_err();
        assert_eq!(unknown.to_string(), "nobody there serves this topic");
        // Somebody who knows the topic without the key, on either side.
        assert!(asked_by(key.clone(), other.clone(), key.topic()).await.is_err());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = listener.local_addr().unwrap();
        let impostor = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 72]).await.unwrap();
            stream.write_all(&[7; 32]).await.unwrap();
            stream.read_exact(&mut [0; 32]).await.unwrap();
            stream.write_all(&[7; 64]).await.unwrap();
        };
        let (asked, ()) = tokio::join!(ask(socket, &key), impostor);
        assert_eq!(asked.unwrap_err().to_string(), "who answers there is no member of the database");
    }
}
