//! Who may write, who votes and who administers: a part of the view, so that it is the same everywhere at one place of
//! the order.

use super::journal::ViewWriter;
use super::{ReadView, Stored, identities, keyspace};
use crate::entry::{Admission, Genesis, verifying_key};
use crate::error::Result;
use crate::ids::WriterKey;
use crate::limits;
use crate::operation::Roles;

/// Why a change of members does not hold. The text is part of the view, so it never changes.
pub(crate) type Refusal = &'static str;

/// Why a writer with a forked log gets no roles.
const FORKED: Refusal = "the writer has forked its log: it can only go on with another key";

/// Writes what the genesis says of members.
pub(crate) fn found(view: &mut ViewWriter<'_, '_>, genesis: &Genesis) -> Result<()> {
    if genesis.admission == Admission::Closed {
        let roles = Roles::ADMIN.with(Roles::INDEXER);
        view.put(&keyspace::roles(&genesis.founder), &[roles.bits()])?;
        view.put(keyspace::FOUNDED, &[])?;
    }
    view.put(keyspace::INDEXERS, genesis.founder.as_bytes())
}

/// Whether the first indexers have been appointed.
pub(crate) fn is_founded(view: &impl ReadView) -> Result<bool> {
    Ok(view.get(keyspace::FOUNDED)?.is_some())
}

/// What `writer` may do here.
pub(crate) fn roles(view: &impl ReadView, genesis: &Genesis, writer: &WriterKey) -> Result<Roles> {
    Ok(match (stored_roles(view, writer)?, genesis.admission) {
        (Some(roles), _) => roles,
        (None, Admission::Open) if *writer != genesis.founder => Roles::WRITER,
        (None, _) => Roles::NONE,
    })
}

/// What was decided that `writer` may do.
fn stored_roles(view: &impl ReadView, writer: &WriterKey) -> Result<Option<Roles>> {
    let stored = view.get(&keyspace::roles(writer))?;
    Ok(stored.and_then(|roles| roles.value().first().copied()).and_then(Roles::from_bits))
}

/// Whether `writer` is the founder of an open database: a key that everybody can derive, for one entry.
pub(crate) fn is_founder_of_open(genesis: &Genesis, writer: &WriterKey) -> bool {
    genesis.admission == Admission::Open && *writer == genesis.founder
}

/// Whether anything was ever decided about `writer`.
pub(crate) fn is_known(view: &impl ReadView, writer: &WriterKey) -> Result<bool> {
    Ok(view.get(&keyspace::roles(writer))?.is_some())
}

/// All writers about whom something was decided, with their roles, ascending.
pub(crate) fn all(view: &impl ReadView) -> Result<Vec<(WriterKey, Roles)>> {
    let mut members = Vec::new();
    for item in view.range(keyspace::prefix_bounds(keyspace::ROLES))? {
        let (key, value) = item?;
        let writer = key.value().get(keyspace::ROLES.len()..).and_then(|bytes| bytes.try_into().ok());
        let roles = value.value().first().copied().and_then(Roles::from_bits);
        if let (Some(writer), Some(roles)) = (writer, roles) {
            members.push((WriterKey::from_bytes(writer), roles));
        }
    }
    Ok(members)
}

/// The indexers, ascending; never empty.
pub(crate) fn indexers(view: &impl ReadView) -> Result<Vec<WriterKey>> {
    let stored = view.get(keyspace::INDEXERS)?;
    let bytes = stored.as_ref().map(Stored::value).unwrap_or_default();
    Ok(bytes.as_chunks::<32>().0.iter().map(|key| WriterKey::from_bytes(*key)).collect())
}

/// Gives `writer` these roles.
pub(crate) fn set_roles(
    view: &mut ViewWriter<'_, '_>,
    writer: &WriterKey,
    roles: Roles,
) -> Result<Result<(), Refusal>> {
    if verifying_key(writer).is_none() {
        return Ok(Err("weak or malformed writer key"));
    }
    if identities::is_forked(view, writer)? && !stored_roles(view, writer)?.unwrap_or_default().has(roles) {
        return Ok(Err(FORKED));
    }
    let mut indexers = indexers(view)?;
    indexers.retain(|indexer| indexer != writer);
    if roles.has(Roles::INDEXER) {
        indexers.push(*writer);
        indexers.sort_unstable();
    }
    if indexers.is_empty() {
        return Ok(Err("the last indexer cannot be removed"));
    }
    if indexers.len() > limits::INDEXERS_MAX {
        return Ok(Err("too many indexers"));
    }
    if !roles.has(Roles::ADMIN) && is_only_admin(view, writer)? {
        return Ok(Err("the last admin cannot be removed"));
    }
    view.put(&keyspace::roles(writer), &[roles.bits()])?;
    store_indexers(view, &indexers)?;
    Ok(Ok(()))
}

/// Makes exactly `writers` the indexers; with `as_admins` they become admins too.
pub(crate) fn set_indexers(
    view: &mut ViewWriter<'_, '_>,
    genesis: &Genesis,
    writers: &[WriterKey],
    as_admins: bool,
) -> Result<Result<(), Refusal>> {
    let mut chosen = writers.to_vec();
    chosen.sort_unstable();
    chosen.dedup();
    if chosen.is_empty() {
        return Ok(Err("the last indexer cannot be removed"));
    }
    if chosen.len() > limits::INDEXERS_MAX {
        return Ok(Err("too many indexers"));
    }
    if chosen.iter().any(|writer| verifying_key(writer).is_none()) {
        return Ok(Err("weak or malformed writer key"));
    }
    let before = indexers(view)?;
    for writer in chosen.iter().filter(|writer| !before.contains(writer)) {
        if identities::is_forked(view, writer)? {
            return Ok(Err(FORKED));
        }
    }
    for writer in before {
        if !chosen.contains(&writer) && is_known(view, &writer)? {
            let roles = roles(view, genesis, &writer)?.without_vote();
            view.put(&keyspace::roles(&writer), &[roles.bits()])?;
        }
    }
    for writer in &chosen {
        let mut new = roles(view, genesis, writer)?.with(Roles::INDEXER);
        if as_admins {
            new = new.with(Roles::ADMIN);
        }
        view.put(&keyspace::roles(writer), &[new.bits()])?;
    }
    store_indexers(view, &chosen)?;
    view.put(keyspace::FOUNDED, &[])?;
    Ok(Ok(()))
}

pub(super) fn is_only_admin(view: &impl ReadView, writer: &WriterKey) -> Result<bool> {
    if !stored_roles(view, writer)?.unwrap_or_default().has(Roles::ADMIN) {
        return Ok(false); // whatever the number of members
    }
    let admins: Vec<_> = all(view)?.into_iter().filter(|(_, roles)| roles.has(Roles::ADMIN)).collect();
    Ok(matches!(&admins[..], [(only, _)] if only == writer))
}

pub(super) fn store_indexers(view: &mut ViewWriter<'_, '_>, indexers: &[WriterKey]) -> Result<()> {
    let bytes: Vec<u8> = indexers.iter().flat_map(|key| *key.as_bytes()).collect();
    view.put(keyspace::INDEXERS, &bytes)
}
