//! Trying a local call: choosing the documents it names, running it on the present view, and logging what held.

mod bulk;
mod chosen;
mod documents;
mod expiry;
mod indexes;
mod leftovers;
mod merge;
mod rejected;
mod resolve;
mod transaction;
mod update;

pub(crate) use documents::with_id_in_front;
pub(crate) use leftovers::unfinished_out;
pub(crate) use transaction::{Draft, at_hand, write_conflict};

use db_index::ErrorCode;

use self::transaction::Recorder;
use super::append::{Moment, payload_of};
use super::own_log::own_log_goes_further;
use super::request::{Reply, Request};
use super::{Batch, By};
use crate::apply::{Applier, Mode, Outcome};
use crate::entry::{Admission, ForkProof};
use crate::error::{Error, ErrorKind, Result, WriteFailure};
use crate::ids::WriterKey;
use crate::operation::Operation;
use crate::view::catalog::check_collection_name;
use crate::view::journal::ViewWriter;
use crate::view::members;

/// What is to be logged, and what the caller is told.
pub(super) struct Tried {
    pub(super) author: WriterKey,
    pub(super) operations: Vec<Operation>,
    pub(super) reply: Reply,
}

impl Batch<'_, '_> {
    /// Runs a call: the outer error is the storage's, the inner one the call's. A call that fails changes nothing but what
    /// [`Outcome`] counts (an ordered bulk keeps what came before the failure).
    pub(crate) fn execute(&mut self, request: Request, moment: &Moment) -> Result<Result<Reply>> {
        if matches!(request, Request::GiveUpOwnEntries) {
            for own in self.state.keys.writers().collect::<Vec<_>>() {
                self.give_up(&own)?;
            }
            return Ok(Ok(Reply::default()));
        }
        if let Request::RotateKey { seed } = request {
            return self.rotate_key(seed, moment);
        }
        let me = self.writer();
        if !self.own_log_is_whole(&me)? {
            return Ok(Err(own_log_goes_further()));
        }
        let request = match request {
            Request::ProveForks => {
                self.settle()?;
                Request::ForkProofs { proofs: self.fork_proofs()? }
            }
            request => request,
        };
        self.try_and_log(me, request, moment)
    }

    /// Tries a call of `me`, which is this device under one of its keys, and logs it if it holds.
    pub(super) fn try_and_log(
        &mut self,
        me: WriterKey,
        request: Request,
        moment: &Moment,
    ) -> Result<Result<Reply>> {
        if !self.may_append_to_applied(&me)? {
            self.settle()?;
        }
        let founder_has_written = !self.tables.tips_of(&self.engine.identity.genesis.founder)?.is_empty();
        let number = self.state.next_number();
        let (_, stamp) = self.next_of_log(&me, moment)?;
        let tried = self.with_view(number, &By::Origin(stamp), |view, applier| {
            let mark = view.mark();
            let tried = Trial { applier, me, moment, founder_has_written, recorder: None }
                .run(view, request)
                .and_then(|tried| {
                    let payload = payload_of(&tried.operations)?;
                    Ok((tried, payload))
                });
            match tried {
                Ok((tried, payload)) => {
                    let undo = view.take_undo()?;
                    Ok(Ok((tried, payload, undo)))
                }
                Err(error) if is_fatal(&error) => Err(error),
                Err(error) => {
                    view.revert_to(mark)?;
                    applier.catalog.clear();
                    Ok(Err(error))
                }
            }
        })?;
        let (mut tried, payload, undo) = match tried {
            Ok(tried) => tried,
            Err(error) => return Ok(Err(error)),
        };
        if !tried.operations.is_empty() {
            tried.reply.entry = Some(self.append(tried.author, &payload, undo, moment)?);
        }
        Ok(Ok(tried.reply))
    }
}

/// Errors after which the storage cannot be trusted to be in step.
pub(super) fn is_fatal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Data | ErrorKind::Internal)
}

/// One call being tried on the view.
pub(super) struct Trial<'a, 'b> {
    applier: &'a mut Applier<'b>,
    me: WriterKey,
    moment: &'a Moment,
    founder_has_written: bool,
    /// Notes what is read and written inside of a transaction.
    recorder: Option<Recorder>,
}

impl<'a, 'b> Trial<'a, 'b> {
    /// Of a call of documents, collections or indexes.
    pub(super) fn of_documents(applier: &'a mut Applier<'b>, me: WriterKey, moment: &'a Moment) -> Self {
        Self { applier, me, moment, founder_has_written: true, recorder: None }
    }

    pub(super) fn run(&mut self, view: &mut ViewWriter<'_, '_>, request: Request) -> Result<Tried> {
        match request {
            Request::Insert { collection, documents, ordered } => {
                self.insert(view, collection, documents, ordered)
            }
            Request::Update(update) => self.update(view, update),
            Request::Delete(delete) => self.delete(view, delete),
            Request::Bulk { parts, ordered } => self.bulk(view, parts, ordered),
            Request::Merge(merge) => self.merge(view, merge),
            Request::Transaction { steps, .. } => self.transaction(view, steps),
            Request::CreateCollection { collection, options } => {
                check_collection_name(&collection)?;
                if self.applier.catalog.collection(view, &collection)?.is_some() {
                    let message = format!("collection exists: name={collection}");
                    return Err(Error::new(ErrorKind::Conflict, message).with_code(48));
                }
                let options = options.to_document();
                self.whole(view, Operation::CreateCollection { collection, options })
            }
            Request::RenameCollection { collection, to, drop_target } => {
                self.whole(view, Operation::RenameCollection { collection, to, drop_target })
            }
            Request::ChangeIndex { collection, name, change } => {
                let operation = Operation::ChangeIndex { collection, name, change };
                let mut tried = self.whole(view, operation)?;
                if tried.reply.outcome.modified == 0 {
                    tried.operations.clear(); // it is like that already
                }
                Ok(tried)
            }
            Request::Expire => self.expire(view),
            Request::DropLeftovers { of } => self.drop_leftovers(view, &of),
            Request::ChangeCollection { collection, change } => {
                let mut tried = self.whole(view, Operation::ChangeCollection { collection, change })?;
                if tried.reply.outcome.modified == 0 {
                    tried.operations.clear(); // it is like that already
                }
                Ok(tried)
            }
            Request::Resolve { id, resolution } => self.resolve(view, id, resolution),
            Request::Resubmit { id, operation } => self.resubmit(view, id, operation),
            Request::Discard { id } => self.discard(view, id),
            Request::DropCollection { collection } => {
                self.whole(view, Operation::DropCollection { collection })
            }
            Request::CreateIndexes { collection, definitions } => {
                check_collection_name(&collection)?;
                self.create_indexes(view, collection, definitions)
            }
            Request::DropIndex { collection, name } => {
                self.whole(view, Operation::DropIndex { collection, name })
            }
            Request::DropIndexes { collection } => self.drop_indexes(view, &collection),
            Request::SetRoles { writer, roles } => self.whole(view, Operation::SetRoles { writer, roles }),
            Request::RemoveWriter { writer } => self.whole(view, Operation::RemoveWriter { writer }),
            Request::SetIndexers { writers } => {
                let is_founding =
                    self.applier.genesis.admission == Admission::Open && !members::is_founded(view)?;
                if is_founding {
                    if self.founder_has_written {
                        // A second entry of the founder's would be refused by all, and whatever follows it with it.
                        return Err(Error::denied(
                            "the founding entry of this open database appoints nobody: start another topic",
                        ));
                    }
                    self.me = self.applier.genesis.founder;
                }
                self.whole(view, Operation::SetIndexers { writers })
            }
            Request::ForkProofs { proofs } => self.prove_forks(view, proofs),
            Request::Rotate { from, to, signature } => {
                self.whole(view, Operation::Rotate { from, to, signature })
            }
            Request::Replace { from, to, roles } => self.whole(view, Operation::Replace { from, to, roles }),
            Request::NameWriter { writer, name } => {
                let writer = writer.unwrap_or(self.me);
                self.whole(view, Operation::NameWriter { writer, name })
            }
            // These are done before anything is tried.
            Request::GiveUpOwnEntries | Request::ProveForks | Request::RotateKey { .. } => Ok(self.nothing()),
        }
    }

    /// Logs those of the proofs that are still news.
    fn prove_forks(&mut self, view: &mut ViewWriter<'_, '_>, proofs: Vec<ForkProof>) -> Result<Tried> {
        let mut operations = Vec::new();
        for proof in proofs {
            let operation = Operation::ForkProof(Box::new(proof));
            if self.apply(view, &operation, Mode::OriginOrdered)?.modified > 0 {
                operations.push(operation);
            }
        }
        Ok(self.logged(operations, Outcome::default()))
    }

    /// Runs an operation that holds as a whole or not at all.
    fn whole(&mut self, view: &mut ViewWriter<'_, '_>, operation: Operation) -> Result<Tried> {
        let outcome = self.apply(view, &operation, Mode::OriginOrdered)?;
        if !outcome.rejected.is_empty() {
            return Err(first_error(outcome));
        }
        Ok(self.logged(vec![operation], outcome))
    }

    fn apply(&mut self, view: &mut ViewWriter<'_, '_>, operation: &Operation, mode: Mode) -> Result<Outcome> {
        let outcome = self.applier.apply(view, &self.me, operation, mode)?;
        if let Some(recorder) = &mut self.recorder {
            recorder.wrote(&outcome);
        }
        Ok(outcome)
    }

    fn logged(&self, operations: Vec<Operation>, outcome: Outcome) -> Tried {
        Tried { author: self.me, operations, reply: Reply { outcome, ..Reply::default() } }
    }

    fn nothing(&self) -> Tried {
        self.logged(Vec::new(), Outcome::default())
    }
}

/// Leaves of an operation's parts those that held at the origin.
fn keep_what_held<T>(parts: &mut Vec<T>, outcome: &Outcome) {
    let mut position = 0;
    parts.retain(|_| {
        let held =
            !outcome.rejected.contains_key(&position) && outcome.ended_at.is_none_or(|end| position < end);
        position += 1;
        held
    });
}

fn first_error(outcome: Outcome) -> Error {
    let failures = WriteFailure::of(&outcome.rejected);
    let error = match outcome.rejected.into_values().next() {
        Some(error) if error.code == ErrorCode::UNAUTHORIZED => Error::denied(format!(
            "{}: ask an admin of the database to admit this device (`combdb writers add`); where its log is forked, it has to go on \
             with another key first (`combdb writers rotate` here, `combdb writers replace` by the admin)",
            error.message
        )),
        Some(error) => error.into(),
        None => Error::invalid("there was nothing to do"),
    };
    error.with_write_failures(failures)
}
