//! Why a session ends.

use thiserror::Error;

use crate::bytes::Malformed;
use crate::entry::InvalidRun;
use crate::error_line::error_line;

/// The longest reason that is told to or taken from a peer, in bytes.
pub(super) const REASON_BYTES_MAX: usize = 200;

/// Why a session was closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer speaks another version of the protocol.
    #[error("the peer speaks another version of the protocol: version={peer}")]
    ProtocolVersion {
        /// The peer's version.
        peer: u16,
    },
    /// The peer could not prove that it knows the database's key.
    #[error("the peer does not know the database's key")]
    WrongDatabaseKey,
    /// The peer plays back what it was sent.
    #[error("the peer sent our own nonce back")]
    Reflected,
    /// A frame does not follow its layout.
    #[error("malformed frame")]
    Malformed(#[from] Malformed),
    /// A frame is longer than its kind may be.
    #[error("frame too large: bytes={bytes}, max={max}")]
    FrameTooLarge {
        /// The frame's length.
        bytes: usize,
        /// The most that it may be.
        max: usize,
    },
    /// A frame came that has no place at this point of the conversation.
    #[error("unexpected frame: kind={kind}, phase={phase}")]
    UnexpectedFrame {
        /// What came.
        kind: &'static str,
        /// Where the conversation stood.
        phase: &'static str,
    },
    /// The lists in which peers compare their logs contradict themselves.
    #[error("invalid list of logs: {0}")]
    InvalidFrontier(&'static str),
    /// A run does not hold what it claims.
    #[error("invalid run")]
    InvalidRun(#[from] InvalidRun),
    /// More bytes were sent than the receiver had room for, or more room was given back than had been used.
    #[error("credit exceeded: bytes={bytes}, in_flight={in_flight}")]
    CreditExceeded {
        /// The bytes that were sent or given back.
        bytes: u64,
        /// The bytes in flight before that.
        in_flight: u64,
    },
    /// The log refused what the peer sent: absent parents, another `prev`, an illegal wave.
    #[error("entries refused: {0}")]
    Refused(String),
    /// The peer ended the session, and why in its words.
    #[error("closed by the peer: {0}")]
    ClosedByPeer(String),
}

impl CloseReason {
    /// The reason and what lies beneath it as one line of bounded length.
    pub fn to_line(&self) -> String {
        clip(&error_line(self))
    }
}

/// Printable text of at most [`REASON_BYTES_MAX`] bytes: a peer's words end up in our log.
pub(super) fn clip(text: &str) -> String {
    let mut clipped = String::new();
    for character in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if clipped.len() + character.len_utf8() > REASON_BYTES_MAX {
            break;
        }
        clipped.push(character);
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_cause_and_stays_short_and_printable() {
        let reason = CloseReason::Malformed(Malformed("ends early"));
        assert_eq!(reason.to_line(), "malformed frame: malformed bytes: ends early");
        let long = CloseReason::Refused("é\n".repeat(1_000)).to_line();
        assert!(long.len() <= REASON_BYTES_MAX && !long.contains('\n'));
    }
}
