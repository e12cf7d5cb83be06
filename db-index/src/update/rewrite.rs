//! One pass over a document that writes the updated one: levels without a path in the update are copied as bytes.
//!
//! A pass gives what MongoDB's one-path-after-another gives, because paths of one update never meet: `$rename`, the only
//! operator that reads another place, reads it before the pass.

use bson::RawBsonRef;
use bson::raw::{RawArray, RawDocument, RawDocumentBuf};
use bson::spec::ElementType;

use super::array_filters::ArrayFilters;
use super::operators::{Change, Leaf, Surroundings};
use super::path;
use super::tree::{self, Child, Fields, Node};
use crate::error::{ErrorCode, QueryError};
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::raw::{Element, Elements, Writer, decimal, too_large, type_name};

/// The most nulls that setting an array index may put in front of it.
const PADDING_MAX: usize = 1_500_000;

/// The state of one pass.
pub(super) struct Pass<'u, 'd> {
    pub(super) leaves: &'u [Leaf],
    pub(super) filters: &'u ArrayFilters,
    pub(super) surroundings: Surroundings<'d>,
    pub(super) positional: Option<usize>,
    /// Whether top-level fields that start with `$` may be written, as inserts may.
    pub(super) dollar_fields: bool,
    pub(super) writer: Writer,
    pub(super) changed: bool,
    /// How many arrays the pass is in.
    pub(super) arrays: usize,
}

impl Pass<'_, '_> {
    /// Rewrites a whole document. The second value says whether anything is different.
    pub(super) fn run(
        mut self,
        fields: &Fields,
        document: &RawDocument,
    ) -> Result<(RawDocumentBuf, bool), QueryError> {
        let root = self.writer.open_root();
        self.fields(fields, document, true)?;
        self.writer.close(root);
        if self.writer.len() > DOCUMENT_BYTES_MAX {
            return Err(too_large(self.writer.len()));
        }
        Ok((self.writer.into_document(), self.changed))
    }

    fn fields(&mut self, fields: &Fields, document: &RawDocument, is_root: bool) -> Result<(), QueryError> {
        let merged = self.resolve_positional(fields)?;
        let fields = merged.as_ref().unwrap_or(fields);
        let mut seen = vec![false; fields.children.len()];
        let mut remaining = seen.len();
        let mut elements = Elements::of_document(document);
        while remaining > 0 {
            let Some(element) = elements.next().transpose()? else { break };
            let place = fields.position(element.key);
            let (Some(child), Some(flag)) = (
                place.and_then(|place| fields.children.get(place)),
                place.and_then(|place| seen.get_mut(place)),
            ) else {
                self.writer.copy(element.bytes);
                continue;
            };
            if std::mem::replace(flag, true) {
                self.writer.copy(element.bytes);
                continue;
            }
            remaining -= 1;
            let start = self.writer.len();
            self.existing(&child.node, &element, false)?;
            if is_root && element.key == "_id" && self.writer.written(start) != element.bytes {
                return Err(immutable_id());
            }
            let rewritten = self.writer.written(start);
            if is_root && !rewritten.is_empty() && rewritten != element.bytes {
                self.check_name(element.key)?;
            }
        }
        self.writer.copy(elements.rest());
        if remaining > 0 {
            for (child, seen) in fields.children.iter().zip(seen) {
                if !seen && self.missing(&child.node, &child.name)? {
                    if is_root {
                        self.check_name(&child.name)?;
                    }
                    self.changed = true;
                }
            }
        }
        self.writer.check_size()
    }

    fn array(&mut self, fields: &Fields, array: &RawArray, parent: &Element<'_>) -> Result<(), QueryError> {
        let merged = self.resolve_positional(fields)?;
        let fields = merged.as_ref().unwrap_or(fields);
        let mut wanted: Vec<(usize, &Child)> = Vec::with_capacity(fields.children.len());
        for child in &fields.children {
            match child.index {
                Some(index) => wanted.push((index, child)),
                None => self.blocked(&child.node, &child.name, parent)?,
            }
        }
        wanted.sort_by_key(|(index, _)| *index);
        if let Some((_, a)) =
            wanted.iter().zip(wanted.iter().skip(1)).find(|(a, b)| a.0 == b.0).map(|(a, _)| a)
        {
            return Err(QueryError::new(
                ErrorCode::CONFLICTING_UPDATE_OPERATORS,
                format!("two paths of the update mean the array element '{}'", a.name),
            ));
        }
        let mut wanted = wanted.into_iter().peekable();
        let mut elements = Elements::of_array(array);
        let mut length = 0;
        while let Some(element) = elements.next().transpose()? {
            match wanted.next_if(|(index, _)| *index == length) {
                Some((_, child)) => self.existing(&child.node, &element, true)?,
                None => self.writer.copy(element.bytes),
            }
            length += 1;
        }
        for (index, child) in wanted {
            length = self.beyond(child, index, length)?;
        }
        self.writer.check_size()
    }

    /// Sets an array element past the end. Gives the new length.
    fn beyond(&mut self, child: &Child, index: usize, length: usize) -> Result<usize, QueryError> {
        let start = self.writer.len();
        let padding = index.saturating_sub(length);
        for place in length..length + padding.min(PADDING_MAX) {
            self.writer.indexed(place, crate::raw::Item { kind: ElementType::Null, bytes: &[] });
        }
        if !self.missing(&child.node, &decimal(index))? {
            self.writer.truncate(start);
            return Ok(length);
        }
        if padding > PADDING_MAX {
            return Err(QueryError::bad_value(format!(
                "setting the array element {index} would pad the array with {padding} nulls; at most {PADDING_MAX} are allowed"
            )));
        }
        self.writer.check_size()?;
        self.changed = true;
        Ok(index + 1)
    }

    /// Applies `node` to an element that exists, and writes what becomes of it.
    fn existing(&mut self, node: &Node, element: &Element<'_>, in_array: bool) -> Result<(), QueryError> {
        match node {
            Node::Leaf(number) => {
                let change = match self.leaves.get(*number) {
                    Some(leaf) => {
                        leaf.on_existing(element, self.arrays > 0, &self.surroundings, &mut self.writer)?
                    }
                    None => Change::Kept,
                };
                match change {
                    Change::Kept => self.writer.copy(element.bytes),
                    Change::Removed if in_array => {
                        self.writer.scalar(element.key, ElementType::Null, &[]);
                        self.changed |= element.kind != ElementType::Null;
                    }
                    Change::Written | Change::Removed => self.changed = true,
                }
            }
            Node::Fields(fields) => match element.value()? {
                RawBsonRef::Document(document) => {
                    let opened = self.writer.open(element.key, ElementType::EmbeddedDocument);
                    self.fields(fields, document, false)?;
                    self.writer.close(opened);
                }
                RawBsonRef::Array(array) => {
                    let opened = self.writer.open(element.key, ElementType::Array);
                    self.arrays += 1;
                    self.array(fields, array, element)?;
                    self.arrays -= 1;
                    self.writer.close(opened);
                }
                _ => {
                    let merged = self.resolve_positional(fields)?;
                    for child in &merged.as_ref().unwrap_or(fields).children {
                        self.blocked(&child.node, &child.name, element)?;
                    }
                    self.writer.copy(element.bytes);
                }
            },
            Node::Elements(choices) => {
                let RawBsonRef::Array(array) = element.value()? else {
                    return Err(QueryError::bad_value(format!(
                        "cannot apply array updates to the non-array field '{}' of type {} (path '{}')",
                        element.key,
                        type_name(element.kind),
                        self.path_of(node)
                    )));
                };
                let opened = self.writer.open(element.key, ElementType::Array);
                self.arrays += 1;
                self.chosen_elements(choices, array)?;
                self.arrays -= 1;
                self.writer.close(opened);
            }
        }
        self.writer.check_size()
    }

    fn chosen_elements(&mut self, choices: &tree::Elements, array: &RawArray) -> Result<(), QueryError> {
        for element in Elements::of_array(array) {
            let element = element?;
            let mut first: Option<&Node> = None;
            let mut merged: Option<Node> = None;
            for (filter, node) in &choices.children {
                let chosen = match filter {
                    None => true,
                    Some(number) => self.filters.matches(*number, element.value()?),
                };
                if !chosen {
                    continue;
                }
                match (merged.take(), first) {
                    (Some(others), _) => merged = Some(tree::merge(others, node.clone())?),
                    (None, Some(other)) => merged = Some(tree::merge(other.clone(), node.clone())?),
                    (None, None) => first = Some(node),
                }
            }
            match merged.as_ref().or(first) {
                Some(node) => self.existing(node, &element, true)?,
                None => self.writer.copy(element.bytes),
            }
        }
        Ok(())
    }

    /// Applies `node` where there is no element. Writes only if an operator below creates something, and says so.
    fn missing(&mut self, node: &Node, key: &str) -> Result<bool, QueryError> {
        match node {
            Node::Leaf(number) => match self.leaves.get(*number) {
                Some(leaf) => leaf.on_missing(key, self.arrays > 0, &self.surroundings, &mut self.writer),
                None => Ok(false),
            },
            Node::Fields(fields) => {
                let merged = self.resolve_positional(fields)?;
                let start = self.writer.len();
                let opened = self.writer.open(key, ElementType::EmbeddedDocument);
                let mut created = false;
                for child in &merged.as_ref().unwrap_or(fields).children {
                    created |= self.missing(&child.node, &child.name)?;
                }
                if created {
                    self.writer.close(opened);
                } else {
                    self.writer.truncate(start);
                }
                Ok(created)
            }
            Node::Elements(_) => Err(QueryError::bad_value(format!(
                "the path '{}' must exist in the document in order to apply array updates",
                path::fixed_prefix(self.path_of(node))
            ))),
        }
    }

    /// Refuses a top-level field that only an insert may write.
    fn check_name(&self, name: &str) -> Result<(), QueryError> {
        if name.starts_with('$') && !self.dollar_fields {
            return Err(QueryError::new(
                ErrorCode::DOLLAR_PREFIXED_FIELD_NAME,
                format!("the dollar ($) prefixed field '{name}' is not valid for storage"),
            ));
        }
        Ok(())
    }

    /// What the operators under `node` say to a place that cannot have children.
    fn blocked(&self, node: &Node, name: &str, element: &Element<'_>) -> Result<(), QueryError> {
        if let Node::Fields(fields) = node {
            self.resolve_positional(fields)?;
        }
        let mut refused = None;
        node.for_each_leaf(&mut |number| {
            if let Some(leaf) = self.leaves.get(number)
                && !leaf.ignores_blocked_path(&self.surroundings)
            {
                refused.get_or_insert(leaf);
            }
        });
        match refused {
            None => Ok(()),
            Some(leaf) => Err(not_viable(name, &leaf.path, element.key, element.kind)),
        }
    }

    /// The children with `$` turned into the index that the filter matched; `None` where there is no `$`.
    fn resolve_positional(&self, fields: &Fields) -> Result<Option<Fields>, QueryError> {
        if fields.positional.is_none() {
            return Ok(None);
        }
        let Some(index) = self.positional else {
            return Err(QueryError::bad_value(
                "the positional operator did not find the match needed from the query",
            ));
        };
        fields.with_positional(index).map(Some)
    }

    /// The path of the first operator under `node`, for messages.
    fn path_of(&self, node: &Node) -> &str {
        let mut first = None;
        node.for_each_leaf(&mut |number| {
            first.get_or_insert(number);
        });
        first.and_then(|number| self.leaves.get(number)).map_or("", |leaf| &leaf.path)
    }
}

/// The element at the source path of a `$rename`; `None` if it is missing.
pub(super) fn rename_source<'d>(
    document: &'d RawDocument,
    path: &str,
) -> Result<Option<Element<'d>>, QueryError> {
    let mut parts = path.split('.');
    let mut found = match parts.next() {
        Some(first) => find(document, first)?,
        None => None,
    };
    let mut within_array = false;
    while let (Some(part), Some(element)) = (parts.next(), &found) {
        found = match (element.value()?, path::array_index(part)) {
            (RawBsonRef::Document(document), _) => find(document, part)?,
            (RawBsonRef::Array(array), Some(index)) => {
                within_array = true;
                Elements::of_array(array).nth(index).transpose()?
            }
            _ => return Err(not_viable(part, path, element.key, element.kind)),
        };
    }
    if within_array && found.is_some() {
        return Err(QueryError::bad_value(format!(
            "the source field of $rename cannot be an array element: '{path}'"
        )));
    }
    Ok(found)
}

fn find<'d>(document: &'d RawDocument, key: &str) -> Result<Option<Element<'d>>, QueryError> {
    for element in Elements::of_document(document) {
        let element = element?;
        if element.key == key {
            return Ok(Some(element));
        }
    }
    Ok(None)
}

fn not_viable(part: &str, path: &str, at: &str, kind: ElementType) -> QueryError {
    QueryError::new(
        ErrorCode::PATH_NOT_VIABLE,
        format!(
            "cannot use the part ({part}) of ({path}) to traverse the field '{at}' of type {}",
            type_name(kind)
        ),
    )
}

/// The error for an update that would change `_id`.
pub(super) fn immutable_id() -> QueryError {
    QueryError::new(ErrorCode::IMMUTABLE_FIELD, "the update would modify the immutable field '_id'")
}
