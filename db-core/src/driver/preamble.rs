//! Which database a stream is for: the first bytes that a dialer sends, so that one address serves many databases.
//!
//! ```text
//! 8    "combdb", 0, 1 (the version of what follows)
//! 32   topic
//! ```

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::connection::{ConnectionError, ConnectionOptions};
use crate::ids::Topic;
use crate::sync::farewell;

/// The length of the preamble, in bytes.
pub const PREAMBLE_BYTES: usize = 40;
const MAGIC: &[u8; 8] = b"combdb\0\x01";

/// Names the database that a dialed stream is for.
///
/// # Errors
/// If the stream fails.
pub async fn write_topic(
    stream: &mut (impl AsyncWrite + Unpin),
    topic: &Topic,
) -> Result<(), ConnectionError> {
    let mut bytes = [0; PREAMBLE_BYTES];
    let (magic, name) = bytes.split_at_mut(MAGIC.len());
    magic.copy_from_slice(MAGIC);
    name.copy_from_slice(topic.as_bytes());
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}

/// Reads which database an accepted stream is for.
///
/// # Errors
/// If the stream fails, speaks something else or takes longer than a handshake may.
pub async fn read_topic(
    stream: &mut (impl AsyncRead + Unpin),
    options: &ConnectionOptions,
) -> Result<Topic, ConnectionError> {
    let mut bytes = [0; PREAMBLE_BYTES];
    timeout(options.handshake_timeout, stream.read_exact(&mut bytes))
        .await
        .map_err(|_| ConnectionError::HandshakeTimeout)??;
    let (magic, name) = bytes.split_first_chunk::<8>().ok_or(ConnectionError::Preamble)?;
    if magic != MAGIC {
        return Err(ConnectionError::Preamble);
    }
    name.try_into().map(Topic::from_bytes).map_err(|_| ConnectionError::Preamble)
}

/// Tells a dialer why its stream goes no further; its session ends with this reason.
///
/// # Errors
/// If the stream fails.
pub async fn refuse(stream: &mut (impl AsyncWrite + Unpin), reason: &str) -> Result<(), ConnectionError> {
    let frame = farewell(reason);
    stream.write_all(&(frame.len() as u32).to_le_bytes()).await?;
    stream.write_all(&frame).await?;
    Ok(stream.shutdown().await?)
}
