//! Who is who: the names of writers, the keys that a writer has had one after the other, and whose logs are forked. A part
//! of the view, like what writers may do ([`super::members`]).
//!
//! A writer's *identity* is its first key. A key that goes on for another has that one's identity; keys form chains, since a
//! key that goes on for another has not been anybody's before, and one that was replaced is not replaced again.

use super::journal::ViewWriter;
use super::members::{self, Refusal};
use super::{ReadView, keyspace};
use crate::entry::{Genesis, verifying_key};
use crate::error::Result;
use crate::ids::WriterKey;
use crate::limits;
use crate::operation::Roles;

/// Set in the mark of a forked log if its writer was an indexer.
const WAS_INDEXER: u8 = 1;

/// The first key of the writer that has this one.
pub(crate) fn identity(view: &impl ReadView, writer: &WriterKey) -> Result<WriterKey> {
    Ok(key_at(view, &keyspace::identity(writer))?.unwrap_or(*writer))
}

/// The key that has gone on for this one, if there is one.
pub(crate) fn replaced_by(view: &impl ReadView, writer: &WriterKey) -> Result<Option<WriterKey>> {
    key_at(view, &keyspace::replaced(writer))
}

/// What the writer that has this key is called.
pub(crate) fn name(view: &impl ReadView, writer: &WriterKey) -> Result<Option<String>> {
    let stored = view.get(&keyspace::writer_name(&identity(view, writer)?))?;
    Ok(stored.map(|name| String::from_utf8_lossy(name.value()).into_owned()))
}

/// Names the writer that has this key; an empty name takes its name away.
pub(crate) fn set_name(
    view: &mut ViewWriter<'_, '_>,
    writer: &WriterKey,
    name: &str,
) -> Result<Result<(), Refusal>> {
    if let Err(refusal) = check_name(name) {
        return Ok(Err(refusal));
    }
    let key = keyspace::writer_name(&identity(view, writer)?);
    if name.is_empty() {
        view.delete(&key)?;
    } else {
        view.put(&key, name.as_bytes())?;
    }
    Ok(Ok(()))
}

/// Whether text may be a writer's name: nothing that a terminal obeys or that looks like nothing or runs backwards. The
/// characters are listed, so that no table of Unicode's decides.
fn check_name(name: &str) -> Result<(), Refusal> {
    let is_odd = |c: char| {
        matches!(c,
            '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}')
    };
    if name.len() > limits::WRITER_NAME_BYTES_MAX {
        Err("the name is longer than 128 bytes")
    } else if name.chars().any(is_odd) {
        Err("the name holds characters that control or hide text")
    } else if name.starts_with(' ') || name.ends_with(' ') {
        Err("the name begins or ends with a space")
    } else {
        Ok(())
    }
}

/// Whether this writer's log is proved to be forked.
pub(crate) fn is_forked(view: &impl ReadView, writer: &WriterKey) -> Result<bool> {
    Ok(view.get(&keyspace::forked(writer))?.is_some())
}

/// Whether this writer's log is proved to be forked, and it was an indexer when that was proved.
pub(crate) fn is_forked_indexer(view: &impl ReadView, writer: &WriterKey) -> Result<bool> {
    let mark = view.get(&keyspace::forked(writer))?;
    Ok(mark.is_some_and(|mark| mark.value().first().is_some_and(|flags| flags & WAS_INDEXER != 0)))
}

/// Revokes a writer whose log is proved to be forked; whether that is news. The last indexer goes on confirming and the last
/// admin administering, since nobody could take their places any more.
pub(crate) fn revoke_forked(
    view: &mut ViewWriter<'_, '_>,
    genesis: &Genesis,
    writer: &WriterKey,
) -> Result<Result<bool, Refusal>> {
    if members::is_founder_of_open(genesis, writer) {
        return Ok(Err("the log of an open database's founder is settled by its highest hash"));
    }
    if is_forked(view, writer)? {
        return Ok(Ok(false));
    }
    let roles = members::roles(view, genesis, writer)?;
    let mut indexers = members::indexers(view)?;
    let was_indexer = indexers.contains(writer);
    let mut kept = Roles::NONE;
    if was_indexer && indexers.len() == 1 {
        kept = kept.with(Roles::INDEXER);
    }
    if roles.has(Roles::ADMIN) && members::is_only_admin(view, writer)? {
        kept = kept.with(Roles::ADMIN);
    }
    if was_indexer && !kept.has(Roles::INDEXER) {
        indexers.retain(|indexer| indexer != writer);
        members::store_indexers(view, &indexers)?;
    }
    view.put(&keyspace::roles(writer), &[kept.bits()])?;
    view.put(&keyspace::forked(writer), &[if was_indexer { WAS_INDEXER } else { 0 }])?;
    Ok(Ok(true))
}

/// Lets `to` go on for `from` with these roles, `from` having none any more.
pub(crate) fn pass_on(
    view: &mut ViewWriter<'_, '_>,
    from: &WriterKey,
    to: &WriterKey,
    roles: Roles,
) -> Result<Result<(), Refusal>> {
    if verifying_key(to).is_none() {
        return Ok(Err("weak or malformed writer key"));
    }
    if from == to || is_linked(view, to)? {
        return Ok(Err("the new key is or was another writer's"));
    }
    if replaced_by(view, from)?.is_some() {
        return Ok(Err("the key has been replaced already: replace the one that goes on for it"));
    }
    let mut indexers = members::indexers(view)?;
    indexers.retain(|indexer| indexer != from && indexer != to);
    if roles.has(Roles::INDEXER) {
        indexers.push(*to);
        indexers.sort_unstable();
    }
    if indexers.is_empty() {
        return Ok(Err("the last indexer cannot be removed"));
    }
    if indexers.len() > limits::INDEXERS_MAX {
        return Ok(Err("too many indexers"));
    }
    if !roles.has(Roles::ADMIN) && members::is_only_admin(view, from)? {
        return Ok(Err("the last admin cannot be removed"));
    }
    let identity = identity(view, from)?;
    view.put(&keyspace::roles(to), &[roles.bits()])?;
    view.put(&keyspace::roles(from), &[Roles::NONE.bits()])?;
    view.put(&keyspace::identity(to), identity.as_bytes())?;
    view.put(&keyspace::replaced(from), to.as_bytes())?;
    members::store_indexers(view, &indexers)?;
    Ok(Ok(()))
}

/// Whether a key goes on for another, was replaced, or has forked its log: it can go on for nobody.
fn is_linked(view: &impl ReadView, writer: &WriterKey) -> Result<bool> {
    Ok(view.get(&keyspace::identity(writer))?.is_some()
        || view.get(&keyspace::replaced(writer))?.is_some()
        || is_forked(view, writer)?)
}

fn key_at(view: &impl ReadView, key: &[u8]) -> Result<Option<WriterKey>> {
    let stored = view.get(key)?;
    Ok(stored.and_then(|key| key.value().try_into().ok()).map(WriterKey::from_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_holds_nothing_that_controls_or_hides() {
        for good in ["", "Ada", "Ada Lovelace", "Ада 🦀", "名前", &"x".repeat(limits::WRITER_NAME_BYTES_MAX)]
        {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
        let long = "x".repeat(limits::WRITER_NAME_BYTES_MAX + 1);
        let bad = [
            "a\nb",
            "a\u{1b}[2Jb",
            "\u{85}",
            "a\u{202E}b",
            "a\u{200B}b",
            " a",
            "a ",
            "\u{2066}",
            "\0",
            &long,
        ];
        for bad in bad {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
