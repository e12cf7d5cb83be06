//! The document that an upsert inserts.

use bson::raw::{RawDocument, RawDocumentBuf};

use super::operators::{Leaf, Operator, Surroundings};
use super::path::Part;
use super::tree::Builder;
use super::{Kind, Update, UpdateContext, replace, rewrite};
use crate::error::QueryError;
use crate::filter::Filter;
use crate::guard;
use crate::raw::{Element, Elements, Item, Operand, Writer};

/// Makes the document to insert when no document matched `filter`: the filter's equality facts with the update's operators
/// run on them, `$setOnInsert` included; or the replacement with the filter's `_id`.
///
/// `_id` is in front if there is one; if neither filter nor update has one, the caller puts a new one in front.
///
/// # Errors
/// `NotSingleValueField` (54) for facts that disagree, `ImmutableField` (66) if filter and update disagree on `_id`,
/// `InvalidIdField` (53) for an impossible `_id`, and those of [`Update::apply`].
pub fn upsert_document(
    filter: &Filter,
    update: &Update,
    context: &UpdateContext,
) -> Result<RawDocumentBuf, QueryError> {
    let mut facts = filter.equality_facts()?;
    if matches!(update.kind, Kind::Replacement) {
        facts.retain(|(path, _)| path == "_id");
    }
    facts.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut leaves = Vec::with_capacity(facts.len());
    let mut builder = Builder::default();
    for (number, (path, value)) in facts.iter().enumerate() {
        let parts: Vec<Part<'_>> = path.split('.').map(Part::Field).collect();
        builder.insert(path, &parts, number, &|_| Ok(0))?;
        let operator = Operator::Set(operand_of(*value)?);
        leaves.push(Leaf { path: path.as_str().into(), operator, insert_only: false });
    }
    let pass = rewrite::Pass {
        leaves: &leaves,
        filters: &super::ArrayFilters::default(),
        surroundings: Surroundings { now_ms: context.now_ms, renamed: Vec::new(), collation: None },
        positional: None,
        dollar_fields: true,
        writer: Writer::with_capacity(256),
        changed: false,
        arrays: 0,
    };
    let (base, _) = pass.run(&builder.finish(), &RawDocumentBuf::new())?;
    guard::check_document(base.as_bytes())?;
    let context = UpdateContext { is_insert: true, positional: None, ..*context };
    let document = id_first(update.apply(&base, &context)?.document)?;
    guard::check_storable(&document)?;
    Ok(document)
}

fn operand_of(value: bson::RawBsonRef<'_>) -> Result<Operand, QueryError> {
    let mut wrapped = RawDocumentBuf::new();
    wrapped.append(bson::raw::cstr!(""), value);
    let element = Elements::of_document(&wrapped).next().transpose()?;
    Ok(Operand::of(
        element.as_ref().map_or(Item { kind: bson::spec::ElementType::Null, bytes: &[] }, Element::item),
    ))
}

fn id_first(document: RawDocumentBuf) -> Result<RawDocumentBuf, QueryError> {
    let is_first = |document: &RawDocument| -> Result<bool, QueryError> {
        Ok(Elements::of_document(document).next().transpose()?.is_some_and(|first| first.key == "_id"))
    };
    if is_first(&document)? {
        return Ok(document);
    }
    let Some(id) = replace::find_id(&document)? else { return Ok(document) };
    let mut writer = Writer::with_capacity(document.as_bytes().len());
    let root = writer.open_root();
    writer.copy(id.bytes);
    for element in Elements::of_document(&document) {
        let element = element?;
        if element.key != "_id" {
            writer.copy(element.bytes);
        }
    }
    writer.close(root);
    Ok(writer.into_document())
}
