//! Proving forks: whoever notices that a writer has signed two entries with one `seq`, and may write, logs the proof, which
//! revokes that writer at its place in the order. A peer looks first whether that is done, so that mostly one proof is logged.

use redb::ReadableDatabase;

use super::{Batch, Engine};
use crate::entry::{Branch, ForkProof};
use crate::error::{Error, Result};
use crate::ids::WriterKey;
use crate::limits;
use crate::operation::Roles;
use crate::storage::view_snapshot;
use crate::view::{identities, members};

impl Engine {
    /// Whether a writer has forked its log, nobody's proof of that is in force, and this device may log one: it may write, and has
    /// its own log as far as anybody has shown it.
    pub(crate) fn wants_fork_proof(&self) -> Result<bool> {
        let Some(state) = self.state.as_ref().filter(|state| !state.forked.is_empty()) else {
            return Ok(false);
        };
        if state.has_unordered() {
            return Ok(false); // the proof may be in what waits
        }
        if state.missing_ends.of(&self.writer).is_some() {
            return Ok(false);
        }
        let Some(view) = view_snapshot(&self.database.begin_read()?)? else { return Ok(false) };
        let genesis = &self.identity.genesis;
        if !members::roles(&view, genesis, &self.writer)?.has(Roles::WRITER) {
            return Ok(false);
        }
        for writer in state.forked.iter().filter(|writer| !self.is_own(writer)) {
            if !members::is_founder_of_open(genesis, writer) && !identities::is_forked(&view, writer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Batch<'_, '_> {
    /// Proofs of the forks that are known here and that none in force proves yet, as many as one entry may hold. Nobody
    /// proves a fork of its own log: it still may pass its roles on to another key.
    pub(super) fn fork_proofs(&mut self) -> Result<Vec<ForkProof>> {
        self.sign_run()?;
        let forked: Vec<WriterKey> = self.state.forked.iter().copied().collect();
        let nobody = self.nobody();
        let genesis = self.engine.identity.genesis.clone();
        let unproven = self.with_view(super::order::NO_ENTRY, &nobody, |view, _| {
            let mut unproven = Vec::new();
            for writer in forked {
                if !members::is_founder_of_open(&genesis, &writer) && !identities::is_forked(view, &writer)? {
                    unproven.push(writer);
                }
            }
            Ok(unproven)
        })?;
        let (mut proofs, mut bytes) = (Vec::new(), 0);
        for writer in unproven {
            if self.state.keys.secret_of(&writer).is_some() {
                continue;
            }
            let Some(proof) = self.fork_proof(&writer)? else { continue };
            bytes += proof.bytes();
            if !proofs.is_empty() && bytes > limits::RUN_HEADERS_BYTES_MAX {
                break;
            }
            proofs.push(proof);
            if proofs.len() == limits::FORK_PROOFS_MAX {
                break;
            }
        }
        Ok(proofs)
    }

    /// The proof that a writer's log is forked: at the place where its shorter end stands, the longer branch has another entry.
    fn fork_proof(&self, writer: &WriterKey) -> Result<Option<ForkProof>> {
        let mut tips = self.tables.tips_of(writer)?;
        tips.sort_unstable_by_key(|(_, length)| *length);
        let Some((shorter, length)) = tips.first().copied() else { return Ok(None) };
        let place = length.saturating_sub(1);
        let others = self.tables.numbers_at(writer, place)?;
        let Some(other) = others.into_iter().find(|number| *number != shorter) else { return Ok(None) };
        Ok(Some(ForkProof::new([self.branch(shorter)?, self.branch(other)?])))
    }

    /// The headers from an entry to the end of its run, where the signature is.
    fn branch(&self, first: u64) -> Result<Branch> {
        let mut headers = Vec::new();
        for number in first..first + limits::RUN_ENTRIES_MAX as u64 {
            let record =
                self.tables.record(number)?.ok_or_else(|| Error::data("a stored entry is missing"))?;
            headers.push(record.header);
            if let Some(signature) = record.signature {
                return Ok(Branch { headers, signature });
            }
        }
        Err(Error::data("a stored run has no end"))
    }
}
