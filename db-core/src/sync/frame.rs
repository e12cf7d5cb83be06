//! Frames: what peers say to each other, byte by byte. The kind comes first, integers are little-endian.
//!
//! ```text
//! 1 Hello     "combsync", version u16, nonce 32
//! 2 Proof     32
//! 3 Frontier  writer 32, fingerprint 32, number of tips u32, count u8, then: a key that the writer has replaced 32
//! 4 Tips      last u8 (0 or 1), count u16, then: writer 32, length u64, head 32
//! 5 Whole     last u8 (0 or 1), count u16, then: writer 32
//! 6 Runs      count u16, then: length u32, run
//! 7 Credit    bytes u64
//! 8 CaughtUp
//! 9 Bye       length u32, reason (UTF-8)
//! 10 Head     length u32, header, signature 64
//! 11 Groups   count u16, then: fingerprint 16
//! ```

use super::close::{CloseReason, REASON_BYTES_MAX};
use super::groups::{GROUPS_MAX, GroupPrint};
use crate::bytes::{Malformed, Put, Reader};
use crate::ids::{EntryHash, WriterKey};
use crate::limits;
use crate::log_reader::Tip;

/// The version of the protocol that this program speaks.
pub(super) const VERSION: u16 = 4;
/// The most keys that a peer has replaced, of those that it names.
pub(super) const REPLACED_KEYS_MAX: usize = 16;
/// The most tips or writers in one frame.
pub(super) const LIST_FRAME_MAX: usize = 1_024;
/// The most runs in one frame.
pub(super) const RUNS_FRAME_MAX: usize = 4_096;
/// The longest frame of more than one run, in bytes.
pub(super) const RUNS_FRAME_BYTES_MAX: usize = 1024 * 1024;
/// The longest frame of any kind, in bytes: one run of the largest size.
pub const FRAME_BYTES_MAX: usize = RUNS_HEADER_BYTES + 4 + limits::RUN_BYTES_MAX;

/// The bytes of a frame of runs before its first run.
pub(super) const RUNS_HEADER_BYTES: usize = 3;
/// The longest frame of a kind that has no other limit, in bytes.
const SMALL_FRAME_BYTES_MAX: usize = 256;
const MAGIC: &[u8; 8] = b"combsync";
const TIP_BYTES: usize = 72;
/// The longest frame of a signed head: a header with as many parents as there may be.
const HEAD_FRAME_BYTES_MAX: usize = limits::PARENTS_MAX * 32 + 1_024;
const FRONTIER_FRAME_BYTES_MAX: usize = 70 + REPLACED_KEYS_MAX * 32;

const HELLO: u8 = 1;
const PROOF: u8 = 2;
const FRONTIER: u8 = 3;
const TIPS: u8 = 4;
const WHOLE: u8 = 5;
const RUNS: u8 = 6;
const CREDIT: u8 = 7;
const CAUGHT_UP: u8 = 8;
const BYE: u8 = 9;
const HEAD: u8 = 10;
const GROUPS: u8 = 11;

const _: () = {
    assert!(GROUPS_MAX <= u16::MAX as usize);
    assert!(LIST_FRAME_MAX < RUNS_FRAME_MAX && RUNS_FRAME_MAX < u16::MAX as usize);
    assert!(REASON_BYTES_MAX + 5 <= SMALL_FRAME_BYTES_MAX);
    assert!(RUNS_FRAME_BYTES_MAX < FRAME_BYTES_MAX && FRAME_BYTES_MAX <= u32::MAX as usize);
};

/// One frame as it was read; runs are still unread bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Hello { version: u16, nonce: [u8; 32] },
    Proof([u8; 32]),
    Frontier { writer: WriterKey, fingerprint: [u8; 32], tips: u32, replaced: Vec<WriterKey> },
    Groups(Vec<GroupPrint>),
    Tips { last: bool, tips: Vec<Tip> },
    Whole { last: bool, writers: Vec<WriterKey> },
    Runs(Vec<&'a [u8]>),
    Credit(u64),
    CaughtUp,
    Bye(&'a str),
    Head { header: &'a [u8], signature: [u8; 64] },
}

/// The longest a peer's frame may be, in bytes, by its first byte and its place in the stream (from 0). A driver checks it
/// before it reads the rest; the first two frames are the handshake's, which a stranger may send.
pub fn frame_bytes_max(kind: u8, place: u64) -> usize {
    match kind {
        _ if place < 2 => SMALL_FRAME_BYTES_MAX,
        TIPS => 4 + LIST_FRAME_MAX * TIP_BYTES,
        WHOLE => 4 + LIST_FRAME_MAX * 32,
        GROUPS => 3 + GROUPS_MAX * size_of::<GroupPrint>(),
        RUNS => FRAME_BYTES_MAX,
        HEAD => HEAD_FRAME_BYTES_MAX,
        FRONTIER => FRONTIER_FRAME_BYTES_MAX,
        _ => SMALL_FRAME_BYTES_MAX,
    }
}

impl<'a> Frame<'a> {
    /// What the frame is called in a [`CloseReason`].
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Proof(_) => "proof",
            Self::Frontier { .. } => "frontier",
            Self::Groups(_) => "groups",
            Self::Tips { .. } => "tips",
            Self::Whole { .. } => "whole",
            Self::Runs(_) => "runs",
            Self::Credit(_) => "credit",
            Self::CaughtUp => "caught up",
            Self::Bye(_) => "bye",
            Self::Head { .. } => "head",
        }
    }

    /// Reads a frame that follows its layout and keeps to the limits of its kind.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, CloseReason> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let max = frame_bytes_max(kind, u64::MAX);
        if bytes.len() > max {
            return Err(CloseReason::FrameTooLarge { bytes: bytes.len(), max });
        }
        let frame = match kind {
            HELLO => {
                if reader.take(MAGIC.len())? != MAGIC {
                    return Err(Malformed("a greeting of another protocol").into());
                }
                let version = reader.u16()?;
                if version != VERSION {
                    return Err(CloseReason::ProtocolVersion { peer: version });
                }
                Self::Hello { version, nonce: reader.array()? }
            }
            PROOF => Self::Proof(reader.array()?),
            FRONTIER => Self::Frontier {
                writer: WriterKey::from_bytes(reader.array()?),
                fingerprint: reader.array()?,
                tips: reader.u32()?,
                replaced: {
                    let count = usize::from(reader.u8()?);
                    if count > REPLACED_KEYS_MAX || count * 32 != reader.remaining() {
                        return Err(Malformed("another number of keys than it claims").into());
                    }
                    (0..count).map(|_| reader.array().map(WriterKey::from_bytes)).collect::<Result<_, _>>()?
                },
            },
            GROUPS => {
                let count = usize::from(reader.u16()?);
                if count > GROUPS_MAX || count * size_of::<GroupPrint>() != reader.remaining() {
                    return Err(Malformed("another number of groups than it claims").into());
                }
                Self::Groups((0..count).map(|_| reader.array()).collect::<Result<_, _>>()?)
            }
            TIPS => {
                let (last, count) = list_header(&mut reader, TIP_BYTES)?;
                let mut tips = Vec::with_capacity(count);
                for _ in 0..count {
                    tips.push(Tip {
                        writer: WriterKey::from_bytes(reader.array()?),
                        length: reader.u64()?,
                        head: EntryHash::from_bytes(reader.array()?),
                    });
                }
                Self::Tips { last, tips }
            }
            WHOLE => {
                let (last, count) = list_header(&mut reader, 32)?;
                let mut writers = Vec::with_capacity(count);
                for _ in 0..count {
                    writers.push(WriterKey::from_bytes(reader.array()?));
                }
                Self::Whole { last, writers }
            }
            RUNS => Self::Runs(decode_runs(bytes.len(), &mut reader)?),
            CREDIT => Self::Credit(reader.u64()?),
            CAUGHT_UP => Self::CaughtUp,
            BYE => Self::Bye(reader.text(REASON_BYTES_MAX)?),
            HEAD => Self::Head { header: reader.bytes(HEAD_FRAME_BYTES_MAX)?, signature: reader.array()? },
            _ => return Err(Malformed("unknown kind of frame").into()),
        };
        reader.end()?;
        Ok(frame)
    }
}

/// Whether this is the last frame of a list, and how many items it holds, all of which have arrived.
fn list_header(reader: &mut Reader<'_>, item_bytes: usize) -> Result<(bool, usize), CloseReason> {
    let last = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed("a flag is neither 0 nor 1").into()),
    };
    let count = usize::from(reader.u16()?);
    if count > LIST_FRAME_MAX || count * item_bytes != reader.remaining() {
        return Err(Malformed("a list of another length than it claims").into());
    }
    if count == 0 && !last {
        return Err(Malformed("an empty list that goes on").into());
    }
    Ok((last, count))
}

fn decode_runs<'a>(frame_bytes: usize, reader: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, CloseReason> {
    let count = usize::from(reader.u16()?);
    // Each run has a length of four bytes at the least, so a count cannot ask for more than has arrived.
    if count == 0 || count > RUNS_FRAME_MAX || count * 4 > reader.remaining() {
        return Err(Malformed("a wrong number of runs").into());
    }
    if count > 1 && frame_bytes > RUNS_FRAME_BYTES_MAX {
        return Err(CloseReason::FrameTooLarge { bytes: frame_bytes, max: RUNS_FRAME_BYTES_MAX });
    }
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        runs.push(reader.bytes(limits::RUN_BYTES_MAX)?);
    }
    Ok(runs)
}

pub(super) fn encode_hello(nonce: &[u8; 32]) -> Vec<u8> {
    let mut bytes = vec![HELLO];
    bytes.extend_from_slice(MAGIC);
    bytes.put_u16(VERSION);
    bytes.extend_from_slice(nonce);
    bytes
}

pub(super) fn encode_proof(proof: &[u8; 32]) -> Vec<u8> {
    let mut bytes = vec![PROOF];
    bytes.extend_from_slice(proof);
    bytes
}

/// Of the keys that were replaced the first [`REPLACED_KEYS_MAX`].
pub(super) fn encode_frontier(
    writer: &WriterKey,
    fingerprint: &[u8; 32],
    tips: usize,
    replaced: &[WriterKey],
) -> Vec<u8> {
    let mut bytes = vec![FRONTIER];
    bytes.extend_from_slice(writer.as_bytes());
    bytes.extend_from_slice(fingerprint);
    bytes.put_u32(u32::try_from(tips).unwrap_or(u32::MAX));
    let replaced = replaced.get(..REPLACED_KEYS_MAX).unwrap_or(replaced);
    bytes.put_u8(replaced.len() as u8);
    for key in replaced {
        bytes.extend_from_slice(key.as_bytes());
    }
    bytes
}

/// The fingerprints of all groups, at most [`GROUPS_MAX`].
pub(super) fn encode_groups(prints: &[GroupPrint]) -> Vec<u8> {
    let mut bytes = vec![GROUPS];
    bytes.put_u16(prints.len() as u16);
    bytes.extend_from_slice(prints.as_flattened());
    bytes
}

/// The frames of a whole list of tips: at least one, since the last says that it is the last.
pub(super) fn encode_tips(tips: &[Tip]) -> Vec<Vec<u8>> {
    encode_list(TIPS, tips, |bytes, tip| {
        bytes.extend_from_slice(tip.writer.as_bytes());
        bytes.put_u64(tip.length);
        bytes.extend_from_slice(tip.head.as_bytes());
    })
}

/// The frames of a whole list of writers, at least one.
pub(super) fn encode_whole(writers: &[WriterKey]) -> Vec<Vec<u8>> {
    encode_list(WHOLE, writers, |bytes, writer| bytes.extend_from_slice(writer.as_bytes()))
}

fn encode_list<T>(kind: u8, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = items;
    loop {
        let (chunk, after) = rest.split_at(rest.len().min(LIST_FRAME_MAX));
        rest = after;
        let mut bytes = vec![kind, u8::from(rest.is_empty())];
        bytes.put_u16(chunk.len() as u16);
        for item in chunk {
            put(&mut bytes, item);
        }
        frames.push(bytes);
        if rest.is_empty() {
            return frames;
        }
    }
}

/// A frame of runs that are encoded already; the caller keeps to the limits.
pub(super) fn encode_runs(runs: &[Vec<u8>]) -> Vec<u8> {
    let length = runs.iter().map(|run| 4 + run.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(RUNS_HEADER_BYTES + length);
    bytes.put_u8(RUNS);
    bytes.put_u16(runs.len() as u16);
    for run in runs {
        bytes.put_bytes(run);
    }
    bytes
}

pub(super) fn encode_credit(returned: u64) -> Vec<u8> {
    let mut bytes = vec![CREDIT];
    bytes.put_u64(returned);
    bytes
}

pub(super) fn encode_caught_up() -> Vec<u8> {
    vec![CAUGHT_UP]
}

/// The last entry of a log as its author signed it, without its payload.
pub(super) fn encode_head(header: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut bytes = vec![HEAD];
    bytes.put_bytes(header);
    bytes.extend_from_slice(signature);
    bytes
}

/// A farewell; the reason is at most [`REASON_BYTES_MAX`] bytes.
pub(super) fn encode_bye(reason: &str) -> Vec<u8> {
    let mut bytes = vec![BYE];
    bytes.put_bytes(reason.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tip(number: u32) -> Tip {
        let mut writer = [0; 32];
        writer[..4].copy_from_slice(&number.to_be_bytes());
        Tip {
            writer: WriterKey::from_bytes(writer),
            length: u64::from(number) + 1,
            head: EntryHash::from_bytes([7; 32]),
        }
    }

    #[test]
    fn a_list_of_any_length_comes_back_from_its_frames() {
        for length in [0, 1, LIST_FRAME_MAX, LIST_FRAME_MAX + 1, 10_000] {
            let tips: Vec<Tip> = (0..length as u32).map(tip).collect();
            let mut read = Vec::new();
            let frames = encode_tips(&tips);
            for (place, bytes) in frames.iter().enumerate() {
                let Ok(Frame::Tips { last, tips }) = Frame::decode(bytes) else { panic!("no list of tips") };
                assert_eq!(last, place + 1 == frames.len());
                read.extend(tips);
            }
            assert_eq!(read, tips);
        }
    }

    #[test]
    fn small_frames_come_back() {
        let writer = WriterKey::from_bytes([1; 32]);
        let hello = encode_hello(&[2; 32]);
        assert_eq!(Frame::decode(&hello), Ok(Frame::Hello { version: VERSION, nonce: [2; 32] }));
        assert_eq!(Frame::decode(&encode_proof(&[3; 32])), Ok(Frame::Proof([3; 32])));
        for count in [0, 1, REPLACED_KEYS_MAX, REPLACED_KEYS_MAX + 1] {
            let mut replaced: Vec<_> = (0..count).map(|at| WriterKey::from_bytes([at as u8; 32])).collect();
            let mut frontier = encode_frontier(&writer, &[4; 32], 7, &replaced);
            assert!(frontier.len() <= frame_bytes_max(FRONTIER, 2));
            replaced.truncate(REPLACED_KEYS_MAX);
            let read = Frame::Frontier { writer, fingerprint: [4; 32], tips: 7, replaced };
            assert_eq!(Frame::decode(&frontier), Ok(read));
            frontier.push(0);
            assert!(Frame::decode(&frontier).is_err());
        }
        for groups in [vec![], vec![[6; 16]; 4], vec![[1; 16]; GROUPS_MAX]] {
            assert_eq!(Frame::decode(&encode_groups(&groups)), Ok(Frame::Groups(groups)));
        }
        assert!(Frame::decode(&encode_groups(&vec![[1; 16]; GROUPS_MAX + 1])).is_err());
        assert_eq!(Frame::decode(&encode_credit(5)), Ok(Frame::Credit(5)));
        assert_eq!(Frame::decode(&encode_caught_up()), Ok(Frame::CaughtUp));
        assert_eq!(Frame::decode(&encode_bye("why")), Ok(Frame::Bye("why")));
        let head = encode_head(b"header", &[5; 64]);
        assert_eq!(Frame::decode(&head), Ok(Frame::Head { header: b"header", signature: [5; 64] }));
        let runs = encode_runs(&[b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(Frame::decode(&runs), Ok(Frame::Runs(vec![b"one", b"two"])));
    }

    #[test]
    fn another_version_and_another_protocol_are_told_apart() {
        let mut hello = encode_hello(&[0; 32]);
        hello[9] = 9;
        assert_eq!(Frame::decode(&hello), Err(CloseReason::ProtocolVersion { peer: 9 }));
        hello[1] = b'x';
        assert!(matches!(Frame::decode(&hello), Err(CloseReason::Malformed(_))));
    }

    #[test]
    fn frames_beyond_their_limit_are_refused() {
        let mut credit = encode_credit(1);
        credit.resize(SMALL_FRAME_BYTES_MAX + 1, 0);
        assert!(matches!(Frame::decode(&credit), Err(CloseReason::FrameTooLarge { .. })));
        let runs = encode_runs(&[vec![0; RUNS_FRAME_BYTES_MAX], vec![0]]);
        assert!(matches!(Frame::decode(&runs), Err(CloseReason::FrameTooLarge { .. })));
        assert!(Frame::decode(&encode_runs(&[vec![0; RUNS_FRAME_BYTES_MAX]])).is_ok());
        assert_eq!(frame_bytes_max(RUNS, 1), SMALL_FRAME_BYTES_MAX);
        assert_eq!(frame_bytes_max(RUNS, 2), FRAME_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(kind in 0u8..13, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut frame = vec![kind];
            frame.extend(bytes);
            let _ = Frame::decode(&frame);
        }
    }
}
