//! What a restart needs of the entries that are confirmed: the epochs, their last anchors, and the votes that certify their ends.
//!
//! All numbers are LEB128 varints except the 32-byte keys and hashes; `option` is 0, or 1 and the value.
//!
//! ```text
//! version (1 byte) | count × forked writer | count × epoch
//! epoch:    count × indexer | placed: count × (next, wave) | option (anchor wave, hash) | count × proposal
//! proposal: wave | hash | number | seq | option (previous wave, hash) | count × (indexer, number, seq)
//! ```
//!
//! The entries of the tail, given in their order of arrival, bring the rest: they are counted again.

use std::collections::BTreeMap;

use crate::bytes::{Malformed, Reader};
use crate::ids::{EntryHash, WriterKey};

use super::epoch::{Epoch, ProposalKey};
use super::standing::{put_seen, put_varint, take_count, take_seen, take_varint};
use super::votes::{Proposal, Votes};
use super::{ConfirmationBroken, EntryNumber, Linearizer, Node, Past, Standing};

const VERSION: u8 = 1;

/// Why a linearizer could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The snapshot is damaged or of another version.
    #[error("snapshot of the linearizer is not readable")]
    Malformed(#[from] Malformed),
    /// The tail contradicts what was confirmed, which only an indexer's fork can do.
    #[error(transparent)]
    Broken(#[from] ConfirmationBroken),
}

impl Linearizer {
    /// What has to be stored of the linearizer besides the entries and their standings. It changes with each finished part and with
    /// nothing else; to be taken when no part is in hand.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, self.forked.len() as u64);
        for writer in &self.forked {
            bytes.extend_from_slice(writer.as_bytes());
        }
        put_varint(&mut bytes, self.epochs.len() as u64);
        for epoch in &self.epochs {
            self.put_epoch(&mut bytes, epoch);
        }
        bytes
    }

    /// The linearizer again: `snapshot` as after the last finished part, `tail` the entries not confirmed, in order of arrival, with
    /// their standings, and `applied` the order in which the caller has applied them.
    ///
    /// # Errors
    /// If the snapshot cannot be read, or the tail contradicts it.
    pub fn restore(
        snapshot: &[u8],
        tail: impl IntoIterator<Item = (Node, Standing)>,
        applied: &[EntryNumber],
        past: &dyn Past,
    ) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(snapshot);
        if reader.u8()? != VERSION {
            return Err(Malformed("snapshot of another version").into());
        }
        let mut linearizer = Self::new(Vec::new());
        for _ in 0..take_count(&mut reader, 32)? {
            linearizer.forked.insert(WriterKey::from_bytes(reader.array()?));
        }
        let epochs = take_count(&mut reader, 4)?;
        linearizer.epochs = (0..epochs).map(|_| take_epoch(&mut reader)).collect::<Result<_, _>>()?;
        reader.end()?;
        if linearizer.epochs.is_empty() {
            return Err(Malformed("snapshot without an epoch").into());
        }
        if let Some((_, ended)) = linearizer.epochs.split_last_mut() {
            ended.iter_mut().for_each(Epoch::end);
        }
        for (node, standing) in tail {
            linearizer.add(&node, &standing, past)?;
            linearizer.tail.settle_many(past);
        }
        linearizer.tail.assume_applied(applied, past);
        Ok(linearizer)
    }

    fn put_epoch(&self, bytes: &mut Vec<u8>, epoch: &Epoch) {
        put_varint(bytes, epoch.indexers.len() as u64);
        for indexer in &epoch.indexers {
            bytes.extend_from_slice(indexer.as_bytes());
        }
        put_seen(bytes, &epoch.placed);
        put_key(bytes, epoch.anchor);
        let is_placed = |number: EntryNumber| !self.tail.contains(number);
        let proposals: Vec<_> =
            epoch.proposals.iter().filter(|(_, proposal)| is_placed(proposal.number)).collect();
        put_varint(bytes, proposals.len() as u64);
        for ((wave, hash), proposal) in proposals {
            put_varint(bytes, *wave);
            bytes.extend_from_slice(hash.as_bytes());
            put_varint(bytes, proposal.number.0);
            put_varint(bytes, proposal.seq);
            put_key(bytes, proposal.previous);
            let votes = proposal
                .supporters
                .iter()
                .flat_map(|(voter, votes)| votes.iter().map(move |vote| (voter, vote)));
            let votes: Vec<_> = votes.filter(|(_, (number, _))| is_placed(**number)).collect();
            put_varint(bytes, votes.len() as u64);
            for (voter, (number, seq)) in votes {
                put_varint(bytes, *voter as u64);
                put_varint(bytes, number.0);
                put_varint(bytes, *seq);
            }
        }
    }
}

fn take_epoch(reader: &mut Reader<'_>) -> Result<Epoch, Malformed> {
    let indexers = take_count(reader, 32)?;
    let indexers =
        (0..indexers).map(|_| Ok(WriterKey::from_bytes(reader.array()?))).collect::<Result<Vec<_>, _>>()?;
    if !indexers.is_sorted_by(|a, b| a < b) {
        return Err(Malformed("indexers are not in order"));
    }
    let mut epoch = Epoch::new(indexers);
    epoch.placed = take_seen(reader)?;
    if epoch.placed.len() != epoch.indexers.len() {
        return Err(Malformed("another number of logs than of indexers"));
    }
    epoch.held.clone_from(&epoch.placed);
    epoch.anchor = take_key(reader)?;
    epoch.top = epoch.anchor;
    for _ in 0..take_count(reader, 37)? {
        let key = (take_varint(reader)?, EntryHash::from_bytes(reader.array()?));
        let number = EntryNumber(take_varint(reader)?);
        let (seq, previous) = (take_varint(reader)?, take_key(reader)?.filter(|previous| *previous < key));
        let mut supporters: BTreeMap<usize, Votes> = BTreeMap::new();
        for _ in 0..take_count(reader, 3)? {
            let voter =
                usize::try_from(take_varint(reader)?).map_err(|_| Malformed("indexer out of range"))?;
            let votes = supporters.entry(voter).or_default();
            votes.insert(EntryNumber(take_varint(reader)?), take_varint(reader)?);
        }
        let proposal = Proposal { number, seq, previous, supporters };
        if proposal.is_confirmed(epoch.majority()) {
            epoch.top = epoch.top.max(Some(key));
        }
        epoch.proposals.insert(key, proposal);
    }
    Ok(epoch)
}

fn put_key(bytes: &mut Vec<u8>, key: Option<ProposalKey>) {
    bytes.push(u8::from(key.is_some()));
    if let Some((wave, hash)) = key {
        put_varint(bytes, wave);
        bytes.extend_from_slice(hash.as_bytes());
    }
}

fn take_key(reader: &mut Reader<'_>) -> Result<Option<ProposalKey>, Malformed> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some((take_varint(reader)?, EntryHash::from_bytes(reader.array()?)))),
        _ => Err(Malformed("neither present nor absent")),
    }
}
