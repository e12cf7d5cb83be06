//! Carries one session's frames over a byte stream.
//!
//! A frame travels behind its length (u32, little-endian). The length is checked against the limit of the frame's kind
//! before the rest is read, and memory grows with what has arrived, not with what was announced. A length of 0 is a sign of
//! life between frames and goes no further.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::link::{PeerInput, PeerLink, PeerOutput};
use super::monitor::ConnectionMonitor;
use super::room::{PeerFrame, Room};
use crate::sync::frame_bytes_max;

/// How much is read or written at a time, in bytes: what must move within one frame timeout.
const CHUNK_BYTES: usize = 64 * 1024;
/// The frames that belong to the handshake: greeting, proof, frontier.
const HANDSHAKE_FRAMES: u64 = 3;
/// How long a peer that is told to go has to take the farewell.
const LINGER: Duration = Duration::from_secs(1);

/// How patient a connection is.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// How long the peer may take to prove itself.
    pub handshake_timeout: Duration,
    /// How long any 64 KiB of a frame may take, once the frame has begun.
    pub frame_timeout: Duration,
    /// How often to give a sign of life when there is nothing to send.
    pub keep_alive: Duration,
    /// How long to go without hearing anything; well above the peer's `keep_alive`.
    pub idle_timeout: Duration,
}

/// Why a connection ended before both ends were done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The stream failed, or ended within a frame.
    #[error("the stream failed")]
    Io(#[from] io::Error),
    /// The stream did not begin as ours do.
    #[error("the peer speaks another protocol")]
    Preamble,
    /// The peer announced a frame beyond the limit of its kind.
    #[error("frame too large: bytes={bytes}, max={max}")]
    FrameTooLarge {
        /// The announced length.
        bytes: usize,
        /// The most that it may be.
        max: usize,
    },
    /// The peer did not prove itself in time.
    #[error("the handshake took too long")]
    HandshakeTimeout,
    /// A frame that had begun did not go on.
    #[error("a frame took too long")]
    FrameTimeout,
    /// The peer gave no sign of life.
    #[error("nothing was heard from the peer for too long")]
    IdleTimeout,
    /// The engine closed the session for this reason.
    #[error("{0}")]
    Closed(String),
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            idle_timeout: Duration::from_mins(1),
        }
    }
}

/// Carries frames between a peer and the engine until either is done. Ends well if the peer closes the stream between two
/// frames or the engine drops its end of the link.
///
/// # Errors
/// Why it ended otherwise: see [`ConnectionError`].
pub async fn run_connection(
    stream: impl AsyncRead + AsyncWrite,
    link: PeerLink,
    options: ConnectionOptions,
    monitor: ConnectionMonitor,
) -> Result<(), ConnectionError> {
    let (reader, writer) = tokio::io::split(stream);
    let (mut reader, mut writer) = (std::pin::pin!(reader), std::pin::pin!(writer));
    let PeerLink { to_engine, mut from_engine, room } = link;
    let mut told = false;
    let ended = {
        let reading = read_frames(&mut reader, &to_engine, &room, &options, &monitor);
        let writing = write_frames(&mut writer, &mut from_engine, &options, &monitor);
        let (mut reading, mut writing) = (std::pin::pin!(reading), std::pin::pin!(writing));
        tokio::select! {
            ended = &mut writing => ended,
            ended = &mut reading => {
                // The engine may have something to say to the peer's last frame; a reason of its own counts for more.
                told = true;
                let told_and_written = async { tokio::join!(to_engine.send(PeerInput::Closed), &mut writing).1 };
                match timeout(LINGER, told_and_written).await {
                    Ok(Err(ConnectionError::Closed(reason))) => Err(ConnectionError::Closed(reason)),
                    _ => ended,
                }
            }
        }
    };
    let _ = timeout(LINGER, writer.shutdown()).await;
    if !told {
        let _ = timeout(LINGER, to_engine.send(PeerInput::Closed)).await;
    }
    if matches!(ended, Err(ConnectionError::Closed(_))) {
        // Unread bytes would turn the close into a reset, and the farewell would be lost with it.
        let _ = timeout(LINGER, tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
    }
    ended
}

async fn read_frames(
    reader: &mut (impl AsyncRead + Unpin),
    to_engine: &mpsc::Sender<PeerInput>,
    room: &Room,
    options: &ConnectionOptions,
    monitor: &ConnectionMonitor,
) -> Result<(), ConnectionError> {
    let handshake_end = Instant::now() + options.handshake_timeout;
    let mut place = 0;
    loop {
        let waiting = read_length(reader);
        let length = if place < HANDSHAKE_FRAMES {
            timeout_at(handshake_end, waiting).await.map_err(|_| ConnectionError::HandshakeTimeout)??
        } else {
            timeout(options.idle_timeout, waiting).await.map_err(|_| ConnectionError::IdleTimeout)??
        };
        let Some(length) = length else { return Ok(()) };
        monitor.count_received(4 + length);
        if length == 0 {
            continue;
        }
        let reading = read_body(reader, length, place, room, options);
        let frame = if place < HANDSHAKE_FRAMES {
            timeout_at(handshake_end, reading).await.map_err(|_| ConnectionError::HandshakeTimeout)??
        } else {
            reading.await?
        };
        place += 1;
        let Some(frame) = frame else { return Ok(()) };
        if to_engine.send(PeerInput::Frame(frame)).await.is_err() {
            return Ok(());
        }
    }
}

/// The next frame's length; none where the stream ends instead.
async fn read_length(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<usize>, ConnectionError> {
    let mut bytes = [0; 4];
    if reader.read(&mut bytes[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut bytes[1..]).await?;
    Ok(Some(u32::from_le_bytes(bytes) as usize))
}

/// The body of a frame; none if the engine is gone.
async fn read_body(
    reader: &mut (impl AsyncRead + Unpin),
    length: usize,
    place: u64,
    room: &Room,
    options: &ConnectionOptions,
) -> Result<Option<PeerFrame>, ConnectionError> {
    let too_late = |_| ConnectionError::FrameTimeout;
    let kind = timeout(options.frame_timeout, reader.read_u8()).await.map_err(too_late)??;
    let max = frame_bytes_max(kind, place);
    if length > max {
        return Err(ConnectionError::FrameTooLarge { bytes: length, max });
    }
    let Some(taken) = room.take(length).await else { return Ok(None) };
    // Room is dear: a frame must move on the whole, too.
    let mebibytes = u32::try_from(length / (1024 * 1024)).unwrap_or(u32::MAX);
    let end = Instant::now() + options.frame_timeout.saturating_mul(mebibytes.saturating_add(1));
    let mut frame = vec![kind];
    while frame.len() < length {
        let start = frame.len();
        frame.resize(length.min(start + CHUNK_BYTES), 0);
        let until = end.min(Instant::now() + options.frame_timeout);
        timeout_at(until, reader.read_exact(&mut frame[start..])).await.map_err(too_late)??;
    }
    Ok(Some(PeerFrame::in_room(frame, taken)))
}

async fn write_frames(
    writer: &mut (impl AsyncWrite + Unpin),
    from_engine: &mut mpsc::Receiver<PeerOutput>,
    options: &ConnectionOptions,
    monitor: &ConnectionMonitor,
) -> Result<(), ConnectionError> {
    loop {
        let output = if let Ok(output) = from_engine.try_recv() {
            Ok(Some(output))
        } else {
            flush(writer, options).await?;
            timeout(options.keep_alive, from_engine.recv()).await
        };
        match output {
            Ok(Some(PeerOutput::Frame(frame))) => write_frame(writer, &frame, options, monitor).await?,
            Ok(Some(PeerOutput::Authenticated(writer))) => monitor.set_authenticated(writer),
            Ok(Some(PeerOutput::CaughtUp)) => monitor.set_caught_up(),
            Ok(Some(PeerOutput::Close(reason))) => {
                flush(writer, options).await?;
                return Err(ConnectionError::Closed(reason));
            }
            Ok(None) => return flush(writer, options).await,
            Err(_quiet) => write_frame(writer, &[], options, monitor).await?,
        }
    }
}

async fn write_frame(
    writer: &mut (impl AsyncWrite + Unpin),
    frame: &[u8],
    options: &ConnectionOptions,
    monitor: &ConnectionMonitor,
) -> Result<(), ConnectionError> {
    let length = (frame.len() as u32).to_le_bytes();
    for chunk in std::iter::once(&length[..]).chain(frame.chunks(CHUNK_BYTES)) {
        timeout(options.idle_timeout, writer.write_all(chunk))
            .await
            .map_err(|_| ConnectionError::FrameTimeout)??;
        monitor.count_sent(chunk.len());
    }
    Ok(())
}

async fn flush(
    writer: &mut (impl AsyncWrite + Unpin),
    options: &ConnectionOptions,
) -> Result<(), ConnectionError> {
    Ok(timeout(options.idle_timeout, writer.flush()).await.map_err(|_| ConnectionError::FrameTimeout)??)
}

#[cfg(test)]
mod tests;
