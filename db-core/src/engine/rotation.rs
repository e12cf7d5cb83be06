//! Going on with another key: a new log, linked to the old one.
//!
//! The link is an entry of the old log, signed with both keys, so that it ends that log for everybody. Where the old log
//! goes further than what is here (a restored backup), an entry there would be a fork: then the link is the first entry of
//! the new log. Either way roles and name pass on at its place. Where the old key has no rights there is nothing to pass on:
//! the device only takes another key, which an admin may link.

use super::Batch;
use super::append::Moment;
use super::request::{Reply, Request};
use crate::entry::sign_link;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Roles;
use crate::view::members;

/// How many keys a device may have had in one database.
const OWN_KEYS_MAX: usize = 1_000;

impl Batch<'_, '_> {
    /// Takes the key that follows from `seed`, and links it to the one that this device has had. Key and link are durable
    /// together, or neither is.
    pub(super) fn rotate_key(&mut self, seed: [u8; 32], moment: &Moment) -> Result<Result<Reply>> {
        if self.state.keys.seeds().len() >= OWN_KEYS_MAX {
            return Ok(Err(Error::invalid("this device has had too many keys in this database")));
        }
        let from = self.writer();
        let is_whole = self.own_log_is_whole(&from)?;
        self.settle()?;
        let nobody = self.nobody();
        let roles = self.with_view(super::order::NO_ENTRY, &nobody, |view, applier| {
            members::roles(view, applier.genesis, &from)
        })?;
        let to = self.state.keys.take(seed);
        let mut reply = Reply::default();
        if roles.has(Roles::WRITER) {
            let (author, signer) = if is_whole { (from, to) } else { (to, from) };
            let signer = self.secret_of(&signer);
            let signer = signer.ok_or_else(|| Error::new(ErrorKind::Internal, "no key to sign with"))?;
            let signature = sign_link(&self.engine.id, &from, &to, &signer);
            match self.try_and_log(author, Request::Rotate { from, to, signature }, moment)? {
                Ok(done) => reply = done,
                Err(error) => {
                    self.state.keys.forget_last();
                    return Ok(Err(error));
                }
            }
        }
        self.tables.put_own_key_seeds(self.state.keys.seeds())?;
        tracing::info!(from = %from.short(), to = %to.short(), "this device goes on with another key");
        Ok(Ok(reply))
    }
}
