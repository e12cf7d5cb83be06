//! The tree of an update's paths: what each level of a document has to look for. Conflicts between paths show while it is built.

use std::collections::BTreeMap;

use super::path::{self, Part};
use crate::error::{ErrorCode, QueryError};

/// What happens at one place of a document.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// An operator, by its number.
    Leaf(usize),
    /// Fields or array indexes below.
    Fields(Fields),
    /// Array elements below, chosen by `$[]` or `$[id]`.
    Elements(Elements),
}

/// The named children of a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    /// In the order in which an update visits them.
    pub(super) children: Vec<Child>,
    /// The child `$`.
    pub(super) positional: Option<Box<Node>>,
}

/// A child by name.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) name: Box<str>,
    /// The index that the name is in an array.
    pub(super) index: Option<usize>,
    pub(super) node: Node,
}

/// The children of an array by `$[]` and `$[id]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Elements {
    /// By the number of the array filter; `None` is `$[]`.
    pub(super) children: Vec<(Option<usize>, Node)>,
}

impl Fields {
    /// The place of the child called `name`.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        if self.children.len() <= 8 {
            return self.children.iter().position(|child| &*child.name == name);
        }
        self.children.binary_search_by(|child| path::order(&child.name, name)).ok()
    }

    /// These children with `$` put in its place.
    pub(super) fn with_positional(&self, index: usize) -> Result<Self, QueryError> {
        let mut fields = Self { children: self.children.clone(), positional: None };
        if let Some(node) = &self.positional {
            let name = crate::raw::decimal(index);
            let addition = Self {
                children: vec![Child { name: name.into(), index: Some(index), node: (**node).clone() }],
                positional: None,
            };
            fields = merge_fields(fields, addition)?;
        }
        Ok(fields)
    }
}

impl Node {
    /// The numbers of the operators below.
    pub(super) fn for_each_leaf(&self, visit: &mut impl FnMut(usize)) {
        match self {
            Self::Leaf(operator) => visit(*operator),
            Self::Fields(fields) => {
                fields.children.iter().for_each(|child| child.node.for_each_leaf(visit));
                if let Some(node) = &fields.positional {
                    node.for_each_leaf(visit);
                }
            }
            Self::Elements(elements) => {
                elements.children.iter().for_each(|(_, node)| node.for_each_leaf(visit));
            }
        }
    }
}

/// Merges two nodes that meet at one place of a document.
pub(super) fn merge(a: Node, b: Node) -> Result<Node, QueryError> {
    match (a, b) {
        (Node::Fields(a), Node::Fields(b)) => merge_fields(a, b).map(Node::Fields),
        (Node::Elements(a), Node::Elements(b)) => {
            let mut children: BTreeMap<Option<usize>, Node> = a.children.into_iter().collect();
            for (filter, node) in b.children {
                let node = match children.remove(&filter) {
                    Some(other) => merge(other, node)?,
                    None => node,
                };
                children.insert(filter, node);
            }
            Ok(Node::Elements(Elements { children: children.into_iter().collect() }))
        }
        _ => Err(QueryError::new(
            ErrorCode::CONFLICTING_UPDATE_OPERATORS,
            "two paths of the update meet in one array element and conflict there",
        )),
    }
}

fn merge_fields(a: Fields, b: Fields) -> Result<Fields, QueryError> {
    let positional = match (a.positional, b.positional) {
        (Some(a), Some(b)) => Some(Box::new(merge(*a, *b)?)),
        (a, b) => a.or(b),
    };
    let mut children = Vec::with_capacity(a.children.len() + b.children.len());
    let (mut left, mut right) = (a.children.into_iter().peekable(), b.children.into_iter().peekable());
    while let (Some(l), Some(r)) = (left.peek(), right.peek()) {
        match path::order(&l.name, &r.name) {
            std::cmp::Ordering::Less => children.extend(left.next()),
            std::cmp::Ordering::Greater => children.extend(right.next()),
            std::cmp::Ordering::Equal => {
                if let (Some(l), Some(r)) = (left.next(), right.next()) {
                    children.push(Child { node: merge(l.node, r.node)?, ..l });
                }
            }
        }
    }
    children.extend(left);
    children.extend(right);
    Ok(Fields { children, positional })
}

/// A tree under construction.
#[derive(Debug, Default)]
pub(super) struct Builder {
    root: Branch,
}

#[derive(Debug)]
enum Draft {
    Leaf(usize),
    Fields(Branch),
    Elements(BTreeMap<Option<usize>, Draft>),
}

#[derive(Debug, Default)]
struct Branch {
    children: BTreeMap<Name, Draft>,
    positional: Option<Box<Draft>>,
}

impl Builder {
    /// Places operator number `operator` at the path; `filter_number` numbers the array filters.
    ///
    /// # Errors
    /// 40 if the path equals, contains or lies below another one; whatever `filter_number` refuses.
    pub(super) fn insert(
        &mut self,
        path: &str,
        parts: &[Part<'_>],
        operator: usize,
        filter_number: &impl Fn(&str) -> Result<usize, QueryError>,
    ) -> Result<(), QueryError> {
        let mut branch = Place::Branch(&mut self.root);
        let mut parts = parts.iter().peekable();
        while let Some(part) = parts.next() {
            let slot = branch.slot(part, filter_number)?.ok_or_else(|| conflict(path))?;
            match parts.peek() {
                None => {
                    return match slot {
                        Slot::Empty(entry) => {
                            entry.fill(Draft::Leaf(operator));
                            Ok(())
                        }
                        Slot::Taken(_) => Err(conflict(path)),
                    };
                }
                Some(next) => {
                    let draft = match slot {
                        Slot::Empty(entry) => entry.fill(match next {
                            Part::Field(_) | Part::Positional => Draft::Fields(Branch::default()),
                            Part::All | Part::Filtered(_) => Draft::Elements(BTreeMap::new()),
                        }),
                        Slot::Taken(draft) => draft,
                    };
                    branch = match draft {
                        Draft::Leaf(_) => return Err(conflict(path)),
                        Draft::Fields(fields) => Place::Branch(fields),
                        Draft::Elements(elements) => Place::Elements(elements),
                    };
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Fields {
        self.root.finish()
    }
}

impl Branch {
    fn finish(self) -> Fields {
        let children = self
            .children
            .into_iter()
            .map(|(Name(name), draft)| Child { index: path::array_index(&name), name, node: draft.finish() })
            .collect();
        Fields { children, positional: self.positional.map(|draft| Box::new(draft.finish())) }
    }
}

impl Draft {
    fn finish(self) -> Node {
        match self {
            Self::Leaf(operator) => Node::Leaf(operator),
            Self::Fields(branch) => Node::Fields(branch.finish()),
            Self::Elements(children) => Node::Elements(Elements {
                children: children.into_iter().map(|(filter, draft)| (filter, draft.finish())).collect(),
            }),
        }
    }
}

/// Where the builder stands.
enum Place<'t> {
    Branch(&'t mut Branch),
    Elements(&'t mut BTreeMap<Option<usize>, Draft>),
}

enum Slot<'t> {
    Taken(&'t mut Draft),
    Empty(Vacant<'t>),
}

enum Vacant<'t> {
    Child(&'t mut BTreeMap<Name, Draft>, Name),
    Positional(&'t mut Option<Box<Draft>>),
    Element(&'t mut BTreeMap<Option<usize>, Draft>, Option<usize>),
}

impl<'t> Place<'t> {
    /// The slot for a part, or `None` if this place cannot have such a part.
    fn slot(
        self,
        part: &Part<'_>,
        filter_number: &impl Fn(&str) -> Result<usize, QueryError>,
    ) -> Result<Option<Slot<'t>>, QueryError> {
        Ok(match (self, part) {
            (Self::Branch(branch), Part::Field(name)) => {
                let name = Name((*name).into());
                Some(if branch.children.contains_key(&name) {
                    branch.children.get_mut(&name).map(Slot::Taken).ok_or_else(|| conflict(&name.0))?
                } else {
                    Slot::Empty(Vacant::Child(&mut branch.children, name))
                })
            }
            (Self::Branch(branch), Part::Positional) => Some(if branch.positional.is_some() {
                branch.positional.as_deref_mut().map(Slot::Taken).ok_or_else(|| conflict("$"))?
            } else {
                Slot::Empty(Vacant::Positional(&mut branch.positional))
            }),
            (Self::Elements(elements), Part::All | Part::Filtered(_)) => {
                let filter = match part {
                    Part::Filtered(identifier) => Some(filter_number(identifier)?),
                    _ => None,
                };
                Some(if elements.contains_key(&filter) {
                    elements.get_mut(&filter).map(Slot::Taken).ok_or_else(|| conflict("$[]"))?
                } else {
                    Slot::Empty(Vacant::Element(elements, filter))
                })
            }
            _ => None,
        })
    }
}

impl<'t> Vacant<'t> {
    fn fill(self, draft: Draft) -> &'t mut Draft {
        match self {
            Self::Child(children, name) => children.entry(name).or_insert(draft),
            Self::Positional(slot) => slot.insert(Box::new(draft)),
            Self::Element(elements, filter) => elements.entry(filter).or_insert(draft),
        }
    }
}

/// A field name that sorts in the order in which an update visits fields.
#[derive(Debug, PartialEq, Eq)]
struct Name(Box<str>);

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        path::order(&self.0, &other.0)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn conflict(path: &str) -> QueryError {
    QueryError::new(
        ErrorCode::CONFLICTING_UPDATE_OPERATORS,
        format!("updating the path '{path}' would create a conflict with another path of the update"),
    )
}
