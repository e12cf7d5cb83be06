//! The update operators: what each does to an existing value and to a missing one.

pub(super) mod arithmetic;
pub(super) mod field;
pub(super) mod pull;
pub(super) mod push;
pub(super) mod set;

use self::arithmetic::BitOperation;
use self::field::DateKind;
use self::pull::Condition;
use self::push::Push;
use self::set::End;
use crate::collation::Collation;
use crate::error::{ErrorCode, QueryError};
use crate::limits::DEPTH_MAX;
use crate::number::Number;
use crate::raw::{self, Element, Item, Operand, Writer, type_name};

/// One operator on one path.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// The path as it was written.
    pub(super) path: Box<str>,
    pub(super) operator: Operator,
    /// Only an upsert that inserts runs it (`$setOnInsert`).
    pub(super) insert_only: bool,
}

/// An operator with its compiled operand.
#[derive(Debug, Clone)]
pub(super) enum Operator {
    Set(Operand),
    Unset,
    Inc(Number),
    Mul(Number),
    Min(Operand),
    Max(Operand),
    Bit(Vec<BitOperation>),
    CurrentDate(DateKind),
    /// The source of a `$rename`.
    RenameFrom,
    /// The target of the `$rename` of this number.
    RenameTo(usize),
    Push(Push),
    AddToSet(Vec<Operand>),
    Pop(End),
    Pull(Condition),
    PullAll(Vec<Operand>),
}

/// What an operator did to an existing element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing, and nothing was written.
    Kept,
    /// The new element was written.
    Written,
    /// The element goes, and nothing was written.
    Removed,
}

/// What an operator may know besides the value it works on.
pub(super) struct Surroundings<'a> {
    /// The time that `$currentDate` sets, in milliseconds.
    pub(super) now_ms: i64,
    /// The values that the `$rename`s move, by number; `None` where there is nothing to move.
    pub(super) renamed: Vec<Option<Element<'a>>>,
    /// How strings are compared.
    pub(super) collation: Option<&'a Collation>,
}

impl Leaf {
    /// How many levels of documents and arrays the operator may put at its path; `None` if documents decide.
    pub(super) fn depth_written(&self) -> Result<Option<usize>, QueryError> {
        let deepest = |operands: &[Operand]| {
            operands.iter().try_fold(0, |deepest: usize, operand| {
                Ok::<_, QueryError>(deepest.max(raw::depth(operand.value()?, DEPTH_MAX)?))
            })
        };
        Ok(match &self.operator {
            Operator::RenameTo(_) => None,
            Operator::Set(operand) | Operator::Min(operand) | Operator::Max(operand) => {
                Some(raw::depth(operand.value()?, DEPTH_MAX)?)
            }
            Operator::Push(push) => Some(1 + deepest(push.values())?),
            Operator::AddToSet(operands) => Some(1 + deepest(operands)?),
            _ => Some(0),
        })
    }

    /// Whether it compares values, so that a collation makes a difference.
    pub(super) fn compares(&self) -> bool {
        match &self.operator {
            Operator::Min(_)
            | Operator::Max(_)
            | Operator::AddToSet(_)
            | Operator::Pull(_)
            | Operator::PullAll(_) => true,
            Operator::Push(push) => push.sorts(),
            _ => false,
        }
    }

    /// Applies the operator to an existing element. `within_array` says whether an array lies anywhere above it.
    pub(super) fn on_existing(
        &self,
        element: &Element<'_>,
        within_array: bool,
        surroundings: &Surroundings<'_>,
        writer: &mut Writer,
    ) -> Result<Change, QueryError> {
        match &self.operator {
            Operator::Set(operand) => Ok(write_if_new(element, operand.item(), writer)),
            Operator::Unset | Operator::RenameFrom => Ok(Change::Removed),
            Operator::Inc(operand) => arithmetic::inc(&self.path, *operand, element, writer),
            Operator::Mul(operand) => arithmetic::mul(&self.path, *operand, element, writer),
            Operator::Min(operand) => field::min(operand, element, surroundings.collation, writer),
            Operator::Max(operand) => field::max(operand, element, surroundings.collation, writer),
            Operator::Bit(operations) => arithmetic::bit(&self.path, operations, element, writer),
            Operator::CurrentDate(kind) => Ok(field::set_date(*kind, surroundings.now_ms, element, writer)),
            Operator::RenameTo(number) => match surroundings.renamed.get(*number).and_then(Option::as_ref) {
                None => Ok(Change::Kept),
                Some(_) if within_array => Err(self.renamed_into_array()),
                Some(moved) => Ok(write_if_new(element, moved.item(), writer)),
            },
            Operator::Push(push) => push::apply(push, &self.path, element, writer),
            Operator::AddToSet(operands) => {
                set::add(operands, &self.path, element, surroundings.collation, writer)
            }
            Operator::Pop(end) => set::pop(*end, &self.path, element, writer),
            Operator::Pull(condition) => pull::pull(condition, &self.path, element, writer),
            Operator::PullAll(operands) => {
                pull::pull_all(operands, &self.path, element, surroundings.collation, writer)
            }
        }
    }

    /// Applies the operator where there is no element. Says whether it wrote one.
    pub(super) fn on_missing(
        &self,
        key: &str,
        within_array: bool,
        surroundings: &Surroundings<'_>,
        writer: &mut Writer,
    ) -> Result<bool, QueryError> {
        match &self.operator {
            Operator::Set(operand) | Operator::Min(operand) | Operator::Max(operand) => {
                writer.element(key, operand.item());
            }
            Operator::Inc(operand) => arithmetic::write_number(*operand, key, writer),
            Operator::Mul(operand) => arithmetic::write_number(operand.zero_of_same_type(), key, writer),
            Operator::Bit(operations) => arithmetic::bit_on_missing(operations, key, writer),
            Operator::CurrentDate(kind) => field::write_date(*kind, surroundings.now_ms, key, writer),
            Operator::RenameTo(number) => match surroundings.renamed.get(*number).and_then(Option::as_ref) {
                None => return Ok(false),
                Some(_) if within_array => return Err(self.renamed_into_array()),
                Some(moved) => writer.element(key, moved.item()),
            },
            Operator::Push(push) => push::on_missing(push, key, writer)?,
            Operator::AddToSet(operands) => set::on_missing(operands, key, writer),
            Operator::Unset
            | Operator::RenameFrom
            | Operator::Pop(_)
            | Operator::Pull(_)
            | Operator::PullAll(_) => {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a path that cannot exist (below a scalar) is the same to the operator as one that does not.
    pub(super) fn ignores_blocked_path(&self, surroundings: &Surroundings<'_>) -> bool {
        match &self.operator {
            Operator::Unset | Operator::RenameFrom | Operator::Pull(_) | Operator::PullAll(_) => true,
            Operator::RenameTo(number) => !matches!(surroundings.renamed.get(*number), Some(Some(_))),
            _ => false,
        }
    }

    fn renamed_into_array(&self) -> QueryError {
        QueryError::bad_value(format!(
            "the destination field of $rename cannot be an array element: '{}'",
            self.path
        ))
    }
}

/// Writes `item` in the place of `element` unless it is the same to the bit.
fn write_if_new(element: &Element<'_>, item: Item<'_>, writer: &mut Writer) -> Change {
    if element.item() == item {
        return Change::Kept;
    }
    writer.element(element.key, item);
    Change::Written
}

/// The array that `element` is, or the error that `operator` gives otherwise.
fn expect_array<'a>(
    element: &Element<'a>,
    operator: &str,
    path: &str,
    code: ErrorCode,
) -> Result<&'a bson::raw::RawArray, QueryError> {
    match element.value()? {
        bson::RawBsonRef::Array(array) => Ok(array),
        _ => Err(QueryError::new(
            code,
            format!("{operator} needs an array; the field '{path}' is of type {}", type_name(element.kind)),
        )),
    }
}
