//! Who may do what at an entry's place, and the operations that change that: roles, indexers, keys, names, proofs of forks.

use db_index::{ErrorCode, QueryError};

use super::{Applier, Mode, Outcome};
use crate::entry::{Admission, ForkProof, link_holds};
use crate::error::Result;
use crate::ids::WriterKey;
use crate::operation::{Operation, Roles};
use crate::view::identities;
use crate::view::journal::ViewWriter;
use crate::view::members::{self, Refusal};
use crate::view::{ReadView, members::is_founded};

/// What verifying a signature counts as, in bytes read.
const SIGNATURE_WORK_BYTES: usize = 64 * 1024;

impl Applier<'_> {
    /// Whether `writer` may do this at this place.
    pub(super) fn authorise(
        &self,
        view: &impl ReadView,
        writer: &WriterKey,
        operation: &Operation,
    ) -> Result<Result<(), Refusal>> {
        let founds = matches!(operation, Operation::SetIndexers { .. })
            && self.genesis.admission == Admission::Open
            && *writer == self.genesis.founder
            && !is_founded(view)?;
        if founds {
            return Ok(Ok(()));
        }
        // Who takes the place of another key has that one's rights to do so.
        let actor = match operation {
            Operation::Rotate { from, to, .. } if to == writer => from,
            _ => writer,
        };
        let needed = match operation {
            Operation::SetRoles { .. }
            | Operation::RemoveWriter { .. }
            | Operation::SetIndexers { .. }
            | Operation::Replace { .. } => Roles::ADMIN,
            Operation::NameWriter { writer: named, .. } => {
                let is_own = identities::identity(view, named)? == identities::identity(view, writer)?;
                if is_own { Roles::WRITER } else { Roles::ADMIN }
            }
            _ => Roles::WRITER,
        };
        Ok(if members::roles(view, self.genesis, actor)?.has(needed) {
            Ok(())
        } else if needed == Roles::ADMIN {
            Err("only an admin may change members")
        } else {
            Err("the writer is not admitted")
        })
    }

    /// Runs an operation of `author` that changes members; it holds as a whole or not at all.
    pub(super) fn change_members(
        &self,
        view: &mut ViewWriter<'_, '_>,
        author: &WriterKey,
        operation: &Operation,
        mode: Mode,
    ) -> Result<Outcome> {
        let changed = match operation {
            Operation::SetRoles { writer, roles } => members::set_roles(view, writer, *roles)?,
            Operation::RemoveWriter { writer } => members::set_roles(view, writer, Roles::NONE)?,
            Operation::SetIndexers { writers } => {
                let founding = !is_founded(view)?;
                members::set_indexers(view, self.genesis, writers, founding)?
            }
            Operation::ForkProof(proof) => return self.prove_fork(view, proof, mode),
            Operation::Rotate { from, to, signature } => self.rotate(view, author, from, to, signature)?,
            Operation::Replace { from, to, roles } => self.replace(view, from, to, *roles)?,
            Operation::NameWriter { writer, name } => identities::set_name(view, writer, name)?,
            _ => Ok(()),
        };
        Ok(outcome_of(mode, changed))
    }

    /// Revokes a writer that is proved to have forked its log. A second proof changes nothing.
    fn prove_fork(&self, view: &mut ViewWriter<'_, '_>, proof: &ForkProof, mode: Mode) -> Result<Outcome> {
        let Some(accused) = proof.accused() else {
            return Ok(outcome_of(mode, Err("the proof of a fork does not hold")));
        };
        if identities::is_forked(view, &accused)? {
            return Ok(Outcome::default());
        }
        if let Err(error) = view.work().check() {
            let mut outcome = Outcome::default();
            outcome.reject(mode, 0, error);
            return Ok(outcome);
        }
        view.work().add(proof.bytes() + 2 * SIGNATURE_WORK_BYTES);
        if proof.verify(self.database).is_err() {
            return Ok(outcome_of(mode, Err("the proof of a fork does not hold")));
        }
        Ok(match identities::revoke_forked(view, self.genesis, &accused)? {
            Ok(is_news) => Outcome { modified: u64::from(is_news), ..Outcome::default() },
            Err(refusal) => outcome_of(mode, Err(refusal)),
        })
    }

    /// Passes roles and identity from a key to another of the same owner, who has signed with both: the entry with one of
    /// them, the link with the other.
    fn rotate(
        &self,
        view: &mut ViewWriter<'_, '_>,
        author: &WriterKey,
        from: &WriterKey,
        to: &WriterKey,
        signature: &[u8; 64],
    ) -> Result<Result<(), Refusal>> {
        let signer = if author == from {
            to
        } else if author == to {
            from
        } else {
            return Ok(Err("only the owner of a key can pass it on"));
        };
        if members::is_known(view, to)? {
            return Ok(Err("the new key is or was another writer's"));
        }
        if members::is_founder_of_open(self.genesis, to) {
            return Ok(Err("an open database's founder writes one entry only"));
        }
        view.work().add(SIGNATURE_WORK_BYTES);
        if !link_holds(self.database, from, to, signer, signature) {
            return Ok(Err("the signature of the other key does not hold"));
        }
        let roles = members::roles(view, self.genesis, from)?;
        identities::pass_on(view, from, to, roles)
    }

    /// Passes a lost key's roles and identity to another, on an admin's word.
    fn replace(
        &self,
        view: &mut ViewWriter<'_, '_>,
        from: &WriterKey,
        to: &WriterKey,
        roles: Option<Roles>,
    ) -> Result<Result<(), Refusal>> {
        let is_founders = |key| members::is_founder_of_open(self.genesis, key);
        if is_founders(from) || is_founders(to) {
            return Ok(Err("an open database's founder writes one entry only"));
        }
        let before = members::roles(view, self.genesis, from)?;
        let roles = roles.unwrap_or(if before == Roles::NONE { Roles::WRITER } else { before });
        // A key that is admitted already loses nothing by it.
        let present = members::roles(view, self.genesis, to)?;
        identities::pass_on(view, from, to, roles.joined_with(present))
    }
}

fn outcome_of(mode: Mode, changed: Result<(), Refusal>) -> Outcome {
    let mut outcome = Outcome::default();
    match changed {
        Ok(()) => outcome.modified = 1,
        Err(refusal) => {
            outcome.reject(mode, 0, QueryError::new(ErrorCode::BAD_VALUE, refusal));
        }
    }
    outcome
}
