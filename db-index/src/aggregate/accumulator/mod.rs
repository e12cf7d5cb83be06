//! Accumulators: what `$group`, `$bucket`, `$bucketAuto` and `$setWindowFields` make of the values of many documents.
//!
//! An accumulator is compiled once ([`AccumulatorExpression`]) and has a state for each group ([`Accumulator`]). Sets and
//! ties are ordered by the total order and by arrival, so that the same documents in the same order give the same value.

mod collect;
mod fields;
mod numeric;
mod parse;
mod pick;
mod state;

#[cfg(test)]
mod tests;

use bson::raw::RawDocument;
use bson::{RawBson, RawBsonRef};

use self::state::State;
use crate::collation::Collation;
use crate::error::{ErrorCode, QueryError};
use crate::expression::percentile::Method as PercentileMethod;
use crate::expression::{Expression, Value};
use crate::number::Number;
use crate::sort::{Sort, SortKey};

pub(super) use self::collect::array;
pub(super) use self::fields::{AccumulatedFields, counted, start_all, write_all};
pub(super) use self::state::{Owned, held_bytes};

/// The most bytes that one accumulator may hold: MongoDB's default.
pub(super) const ACCUMULATOR_BYTES_MAX: usize = 100 * 1024 * 1024;

/// How an accumulator's parser compiles the expressions in its operand.
pub(super) type Compile<'c> = &'c dyn Fn(RawBsonRef<'_>) -> Result<Expression, QueryError>;

/// A compiled accumulator, such as `{$sum: "$price"}`.
#[derive(Debug, Clone)]
pub(super) struct AccumulatorExpression {
    kind: Kind,
    /// What is accumulated; none for `$count`.
    argument: Option<Expression>,
    /// How many values are wanted, for those that take an `n`.
    count: Option<Expression>,
    /// Whether it stands in `$group`, which has some codes of its own.
    in_group: bool,
}

/// Which accumulator.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Sum,
    Avg,
    Count,
    StdDev {
        of_sample: bool,
    },
    Min,
    Max,
    First,
    Last,
    FirstN,
    LastN,
    MinN,
    MaxN,
    /// `$top`, `$bottom`: the one output value at the end of a sort.
    End {
        sort: Sort,
        bottom: bool,
    },
    /// `$topN`, `$bottomN`.
    EndN {
        sort: Sort,
        bottom: bool,
    },
    Push,
    AddToSet,
    ConcatArrays,
    SetUnion,
    MergeObjects,
    Percentile {
        points: Vec<f64>,
        method: PercentileMethod,
    },
    Median {
        method: PercentileMethod,
    },
}

/// What an accumulator takes from one document, kept apart from it: a window holds it for as long as it holds the document.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// The argument's value; none if it is missing.
    pub(super) value: Option<RawBson>,
    /// The document's place in the sort of `$top` and its like.
    pub(super) key: Option<SortKey>,
}

/// The state of one accumulator in one group.
#[derive(Debug)]
pub(super) struct Accumulator {
    state: State,
    /// How strings are compared.
    collation: Option<Collation>,
}

impl AccumulatorExpression {
    /// Compiles an accumulator by its name and operand.
    ///
    /// # Errors
    /// MongoDB's codes: 15952 for an unknown name, 14 for an operand of `$count`, those of
    /// the operands of `$topN`, `$firstN`, `$minN`, `$percentile` and their like, and those of the expressions.
    pub(super) fn parse(
        name: &str,
        operand: RawBsonRef<'_>,
        compile: Compile<'_>,
    ) -> Result<Self, QueryError> {
        parse::accumulator(name, operand, compile)
    }

    /// Compiles the output field `name` of a stage that groups, whose value is an object of one accumulator.
    ///
    /// # Errors
    /// 40234 for a value that is no such object, 40235 for a name with a dot, 40236 for one that starts with `$`, 40238 for
    /// more than one accumulator, 40237 for an array as operand; those of [`AccumulatorExpression::parse`].
    pub(super) fn parse_field(
        name: &str,
        value: RawBsonRef<'_>,
        compile: Compile<'_>,
    ) -> Result<Self, QueryError> {
        parse::field(name, value, compile)
    }

    /// The accumulator as `$group` runs it: what is wrong with values has the codes that it has there.
    pub(super) fn in_group(self) -> Self {
        Self { in_group: true, ..self }
    }

    /// Which accumulator it is.
    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether the `n`, if there is one, does not depend on the group.
    pub(super) fn has_constant_count(&self) -> bool {
        self.count.as_ref().is_none_or(|count| count.constant().is_some())
    }

    /// How strings are compared.
    pub(super) fn collation(&self) -> Option<&Collation> {
        self.argument.as_ref().and_then(Expression::collation)
    }

    /// How many values are wanted where there is no group, for those that take an `n`.
    ///
    /// # Errors
    /// As for [`AccumulatorExpression::start`].
    pub(super) fn count(&self, variables: &[Value<'_>], now_ms: i64) -> Result<usize, QueryError> {
        match &self.count {
            Some(count) => evaluate_count(count, None, variables, now_ms),
            None => Ok(1),
        }
    }

    /// A new state. `group` is what the group is made by: an `n` may be computed of its fields.
    ///
    /// # Errors
    /// 5787902, 5787903 and 5787908, in `$group` 7548606, for an `n` that is no positive whole number; those of its
    /// expression.
    pub(super) fn start(
        &self,
        group: Option<&RawDocument>,
        variables: &[Value<'_>],
        now_ms: i64,
    ) -> Result<Accumulator, QueryError> {
        let count = match &self.count {
            Some(count) => match evaluate_count(count, group, variables, now_ms) {
                Err(QueryError { code: ErrorCode(5_787_902 | 5_787_903 | 5_787_908), .. })
                    if self.in_group =>
                {
                    return error(7_548_606, "parameter 'n' must be coercible to a positive 64-bit integer");
                }
                count => count?,
            },
            None => 1,
        };
        Ok(Accumulator { state: State::new(&self.kind, count), collation: self.collation().cloned() })
    }

    /// What the accumulator takes from `document`.
    ///
    /// # Errors
    /// Those of the argument and of [`Sort::key`].
    pub(super) fn input(
        &self,
        document: &RawDocument,
        variables: &[Value<'_>],
        now_ms: i64,
    ) -> Result<Input, QueryError> {
        let value = match &self.argument {
            Some(argument) => argument.evaluate(document, variables, now_ms)?.to_raw_bson()?,
            None => None,
        };
        Ok(Input { value, key: self.sort_key(document)? })
    }

    fn sort_key(&self, document: &RawDocument) -> Result<Option<SortKey>, QueryError> {
        match &self.kind {
            Kind::End { sort, .. } | Kind::EndN { sort, .. } => sort.key(document).map(Some),
            _ => Ok(None),
        }
    }
}

impl Input {
    /// How many bytes it takes.
    pub(super) fn memory(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| key.as_bytes().len());
        key + self.value.as_ref().map_or(0, held_bytes)
    }
}

impl Accumulator {
    /// Takes a document.
    ///
    /// # Errors
    /// Those of the argument; 40400, in `$group` 5911200, for an input of `$mergeObjects` that is no document, 14 for one of `$concatArrays` or
    /// `$setUnion` that is no array; `ExceededMemoryLimit` (146) beyond [`ACCUMULATOR_BYTES_MAX`].
    pub(super) fn add(
        &mut self,
        expression: &AccumulatorExpression,
        document: &RawDocument,
        variables: &[Value<'_>],
        now_ms: i64,
    ) -> Result<(), QueryError> {
        // Also where the value no longer counts: that it cannot be computed is an error all the same.
        let key = expression.sort_key(document)?;
        let value = match &expression.argument {
            Some(argument) => argument.evaluate(document, variables, now_ms)?,
            None => Value::Missing,
        };
        let added = self.state.add(&value, key, self.collation.as_ref());
        match added {
            Err(refused) if expression.in_group && refused.code.0 == 40400 => {
                error(5_911_200, refused.message)
            }
            added => added,
        }
    }

    /// Takes what [`AccumulatorExpression::input`] gave.
    ///
    /// # Errors
    /// Those of [`Accumulator::add`].
    pub(super) fn add_input(&mut self, input: &Input) -> Result<(), QueryError> {
        let value = input.value.as_ref().map_or(Value::Missing, |value| Value::Raw(value.as_raw_bson_ref()));
        self.state.add(&value, input.key.clone(), self.collation.as_ref())
    }

    /// The value; none where MongoDB has a missing one, which `$group` writes as null.
    ///
    /// # Errors
    /// `BSONObjectTooLarge` (10334) if it does not fit into a document.
    pub(super) fn finish(&self) -> Result<Option<RawBson>, QueryError> {
        self.state.value()
    }

    /// How many bytes the state takes.
    pub(super) fn memory(&self) -> usize {
        self.state.memory()
    }
}

/// How many values are wanted, computed of the group.
fn evaluate_count(
    count: &Expression,
    group: Option<&RawDocument>,
    variables: &[Value<'_>],
    now_ms: i64,
) -> Result<usize, QueryError> {
    let empty = bson::raw::RawDocumentBuf::new();
    let value = count.evaluate(group.unwrap_or(&empty), variables, now_ms)?;
    let Some(number) = value.as_number() else {
        let found = value.type_name();
        return error(5_787_902, format!("Value for 'n' must be of integral type, but found {found}"));
    };
    match number.to_i64_exact() {
        None => {
            let found = number.to_f64();
            error(5_787_903, format!("Value for 'n' must be of integral type, but found {found}"))
        }
        Some(number) if number <= 0 => {
            error(5_787_908, format!("'n' must be greater than 0, found {number}"))
        }
        Some(number) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
    }
}

/// An error with one of the codes of accumulators.
fn error<T>(code: i32, message: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError::new(ErrorCode(code), message))
}

/// A double as BSON.
fn double(value: f64) -> RawBson {
    Number::Double(value).to_raw_bson()
}
