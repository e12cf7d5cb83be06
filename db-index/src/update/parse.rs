//! From an update document to its operators and the tree of their paths.

use bson::RawBsonRef;
use bson::raw::RawDocument;

use super::array_filters::{ArrayFilters, Usage};
use super::operators::{Leaf, Operator, arithmetic, field, pull, push, set};
use super::path::{self, Part};
use super::tree::{Builder, Fields};
use crate::context::QueryContext;
use crate::error::{ErrorCode, QueryError};
use crate::limits::DEPTH_MAX;
use crate::raw::{Element, Elements, type_name};

/// A compiled operator update.
#[derive(Debug, Clone)]
pub(super) struct Operators {
    pub(super) leaves: Vec<Leaf>,
    /// The sources of the `$rename`s, by number.
    pub(super) rename_sources: Vec<Box<str>>,
    /// The tree for documents that exist.
    pub(super) tree: Fields,
    /// The tree for an upsert that inserts, if there is a `$setOnInsert`.
    pub(super) insert_tree: Option<Fields>,
    pub(super) filters: ArrayFilters,
    /// Whether a path has `$`.
    pub(super) is_positional: bool,
    /// Whether the result may nest deeper than a document may.
    pub(super) may_be_too_deep: bool,
}

/// Compiles a document of update operators.
pub(super) fn operators(
    document: &RawDocument,
    filters: ArrayFilters,
    context: &QueryContext,
) -> Result<Operators, QueryError> {
    let mut parser = Parser { leaves: Vec::new(), rename_sources: Vec::new(), context };
    for modifier in Elements::of_document(document) {
        let modifier = modifier?;
        let kind = Kind::named(modifier.key)?;
        let RawBsonRef::Document(fields) = modifier.value()? else {
            return Err(QueryError::new(
                ErrorCode::FAILED_TO_PARSE,
                format!(
                    "update operators need a document of fields: {} was given a value of type {}",
                    modifier.key,
                    type_name(modifier.kind)
                ),
            ));
        };
        for operand in Elements::of_document(fields) {
            parser.field(kind, &operand?)?;
        }
    }
    let (full, used_all, is_positional) = parser.tree(&filters, true)?;
    used_all?;
    let has_insert_only = parser.leaves.iter().any(|leaf| leaf.insert_only);
    let (tree, insert_tree) =
        if has_insert_only { (parser.tree(&filters, false)?.0, Some(full)) } else { (full, None) };
    let mut may_be_too_deep = false;
    for leaf in &parser.leaves {
        let levels = leaf.depth_written()?.map(|depth| leaf.path.split('.').count() + depth);
        may_be_too_deep |= levels.is_none_or(|levels| levels > DEPTH_MAX);
    }
    Ok(Operators {
        may_be_too_deep,
        leaves: parser.leaves,
        rename_sources: parser.rename_sources,
        tree,
        insert_tree,
        filters,
        is_positional,
    })
}

/// The update operators by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Set,
    SetOnInsert,
    Unset,
    Inc,
    Mul,
    Min,
    Max,
    Bit,
    CurrentDate,
    Rename,
    Push,
    AddToSet,
    Pop,
    Pull,
    PullAll,
}

impl Kind {
    fn named(name: &str) -> Result<Self, QueryError> {
        Ok(match name {
            "$set" => Self::Set,
            "$setOnInsert" => Self::SetOnInsert,
            "$unset" => Self::Unset,
            "$inc" => Self::Inc,
            "$mul" => Self::Mul,
            "$min" => Self::Min,
            "$max" => Self::Max,
            "$bit" => Self::Bit,
            "$currentDate" => Self::CurrentDate,
            "$rename" => Self::Rename,
            "$push" => Self::Push,
            "$addToSet" => Self::AddToSet,
            "$pop" => Self::Pop,
            "$pull" => Self::Pull,
            "$pullAll" => Self::PullAll,
            _ => {
                return Err(QueryError::new(
                    ErrorCode::FAILED_TO_PARSE,
                    format!(
                        "unknown update operator: {name} (a replacement document has no operators at all)"
                    ),
                ));
            }
        })
    }
}

struct Parser<'c> {
    context: &'c QueryContext,
    leaves: Vec<Leaf>,
    rename_sources: Vec<Box<str>>,
}

impl Parser<'_> {
    fn field(&mut self, kind: Kind, given: &Element<'_>) -> Result<(), QueryError> {
        let path = given.key;
        // Paths are checked before operands: the tree is built only once all operators stand.
        path::parse(path)?;
        let collation = self.context.collation.as_ref();
        let operator = match kind {
            Kind::Set | Kind::SetOnInsert => Operator::Set(arithmetic::operand(given)),
            Kind::Unset => Operator::Unset,
            Kind::Inc => Operator::Inc(arithmetic::parse_number("$inc", path, given)?),
            Kind::Mul => Operator::Mul(arithmetic::parse_number("$mul", path, given)?),
            Kind::Min => Operator::Min(arithmetic::operand(given)),
            Kind::Max => Operator::Max(arithmetic::operand(given)),
            Kind::Bit => Operator::Bit(arithmetic::parse_bit(path, given)?),
            Kind::CurrentDate => Operator::CurrentDate(field::parse_date_kind(path, given)?),
            Kind::Rename => return self.rename(given),
            Kind::Push => Operator::Push(push::parse(path, given, collation)?),
            Kind::AddToSet => Operator::AddToSet(set::parse_add(path, given, collation)?),
            Kind::Pop => Operator::Pop(set::parse_pop(path, given)?),
            Kind::Pull => Operator::Pull(pull::parse_condition(given, self.context)?),
            Kind::PullAll => Operator::PullAll(pull::parse_values(path, given, collation)?),
        };
        self.leaves.push(Leaf { path: path.into(), operator, insert_only: kind == Kind::SetOnInsert });
        Ok(())
    }

    fn rename(&mut self, given: &Element<'_>) -> Result<(), QueryError> {
        let source = given.key;
        let RawBsonRef::String(target) = given.value()? else {
            return Err(QueryError::bad_value(format!(
                "the target of $rename must be a string: '{source}' was given a value of type {}",
                type_name(given.kind)
            )));
        };
        let (from, to) = (path::parse(source)?, path::parse(target)?);
        if path::is_dynamic(&from) || path::is_dynamic(&to) {
            return Err(QueryError::bad_value(format!(
                "the source and target of $rename may not be dynamic: '{source}' to '{target}'"
            )));
        }
        if from.iter().zip(&to).all(|(a, b)| a == b) {
            return Err(QueryError::bad_value(format!(
                "the source and target of $rename must differ and not contain each other: '{source}' to '{target}'"
            )));
        }
        let number = self.rename_sources.len();
        self.rename_sources.push(source.into());
        self.leaves.push(Leaf { path: source.into(), operator: Operator::RenameFrom, insert_only: false });
        self.leaves.push(Leaf {
            path: target.into(),
            operator: Operator::RenameTo(number),
            insert_only: false,
        });
        Ok(())
    }

    /// Builds the tree, with or without what only inserts run. Gives also whether all array filters were used, and
    /// whether a path has `$`.
    fn tree(
        &self,
        filters: &ArrayFilters,
        with_insert_only: bool,
    ) -> Result<(Fields, Result<(), QueryError>, bool), QueryError> {
        let usage = Usage::of(filters);
        let mut builder = Builder::default();
        let mut is_positional = false;
        for (number, leaf) in self.leaves.iter().enumerate() {
            if leaf.insert_only && !with_insert_only {
                continue;
            }
            let parts = path::parse(&leaf.path)?;
            is_positional |= parts.contains(&Part::Positional);
            builder.insert(&leaf.path, &parts, number, &|identifier| usage.number(identifier))?;
        }
        Ok((builder.finish(), usage.check_all_used(), is_positional))
    }
}
