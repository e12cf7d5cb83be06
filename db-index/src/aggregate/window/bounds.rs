//! Which documents of a partition a window function looks at: bounds by count or by value, and the frames they come to.

use bson::{RawBson, RawBsonRef};

use super::partition::Partition;
use super::{constant, error};
use crate::aggregate::accumulator::Compile;
use crate::error::QueryError;
use crate::expression::Value;
use crate::expression::date::{Unit, shift};
use crate::number::Number;
use crate::order;
use crate::sort::Sort;

/// One end of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound<T> {
    Unbounded,
    Current,
    At(T),
}

/// Both ends of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bounds {
    /// By the number of documents from the current one.
    Documents(Bound<i64>, Bound<i64>),
    /// By the distance from the current document's sort value: a number, or so many units of time.
    Range { lower: Bound<Number>, upper: Bound<Number>, unit: Option<Unit> },
}

impl Bounds {
    /// The whole partition.
    pub(super) const WHOLE: Self = Self::Documents(Bound::Unbounded, Bound::Unbounded);

    /// The one document that lies so many after the current one.
    pub(super) fn offset(by: i64) -> Self {
        Self::Documents(Bound::At(by), Bound::At(by))
    }

    /// Whether nothing ever leaves the window.
    pub(super) fn is_left_unbounded(&self) -> bool {
        matches!(self, Self::Documents(Bound::Unbounded, _) | Self::Range { lower: Bound::Unbounded, .. })
    }

    /// Whether the current document is always within.
    pub(super) fn hold_current(&self) -> bool {
        match self {
            Self::Documents(lower, upper) => {
                !matches!(lower, Bound::At(at) if *at > 0) && !matches!(upper, Bound::At(at) if *at < 0)
            }
            Self::Range { lower, upper, .. } => {
                let zero = Number::Int32(0);
                !matches!(lower, Bound::At(at) if at.compare(zero).is_gt())
                    && !matches!(upper, Bound::At(at) if at.compare(zero).is_lt())
            }
        }
    }

    /// Parses the `window` of an output field.
    ///
    /// # Errors
    /// `FailedToParse` (9) for one of another form, 5339900 for ends in the wrong order, 5339901, 5339902, 8947400 and
    /// 8947401 for a sort that it cannot have.
    pub(super) fn parse(
        window: RawBsonRef<'_>,
        sort: Option<&Sort>,
        compile: Compile<'_>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(window) = window else {
            return error(9, "'window' field must be an object");
        };
        let [mut documents, mut range, mut unit, mut other] = [None; 4];
        for (name, value) in order::elements(window) {
            match name.as_str() {
                "documents" => documents = Some(value),
                "range" => range = Some(value),
                "unit" => unit = Some(value),
                _ => other = Some(value),
            }
        }
        match (documents, range) {
            (Some(_), Some(_)) => {
                error(9, "Window bounds can specify either 'documents' or 'unit', not both.")
            }
            (_, None) if unit.is_some() => {
                error(9, "Window bounds can only specify 'unit' with range-based bounds.")
            }
            _ if other.is_some() => error(
                9,
                "'window' field can only contain 'documents' as the only argument or 'range' with an optional 'unit' field",
            ),
            (None, None) => Ok(Self::WHOLE),
            (Some(documents), None) => by_documents(documents, sort, compile),
            (_, Some(range)) => by_range(range, unit, sort, compile),
        }
    }
}

fn by_documents(
    documents: RawBsonRef<'_>,
    sort: Option<&Sort>,
    compile: Compile<'_>,
) -> Result<Bounds, QueryError> {
    let whole =
        |value: &RawBson| match Number::from_raw(value.as_raw_bson_ref()).and_then(Number::to_i64_exact) {
            Some(number) if i32::try_from(number).is_ok() => Ok(number),
            _ => error(9, "Numeric document-based bounds must be an integer"),
        };
    let (lower, upper) = ends(documents, compile, &whole)?;
    let place = |bound| match bound {
        Bound::At(at) => Some(at),
        Bound::Current => Some(0),
        Bound::Unbounded => None,
    };
    if let (Some(lower), Some(upper)) = (place(lower), place(upper))
        && lower > upper
    {
        return error(5_339_900, format!("Lower bound must not exceed upper bound: [{lower}, {upper}]"));
    }
    let bounds = Bounds::Documents(lower, upper);
    if bounds != Bounds::WHOLE && sort.is_none() {
        return error(5_339_901, "Document-based bounds require a sortBy");
    }
    Ok(bounds)
}

fn by_range(
    range: RawBsonRef<'_>,
    unit: Option<RawBsonRef<'_>>,
    sort: Option<&Sort>,
    compile: Compile<'_>,
) -> Result<Bounds, QueryError> {
    let unit = match unit {
        None => None,
        Some(RawBsonRef::String(name)) => match Unit::named(name) {
            Some(unit) => Some(unit),
            None => return error(9, format!("unknown time unit value: {name}")),
        },
        Some(_) => return error(9, "'unit' must be a string"),
    };
    let number = |value: &RawBson| match Number::from_raw(value.as_raw_bson_ref()) {
        Some(number) if unit.is_none() => Ok(number),
        Some(number) if number.to_i64_exact().is_some_and(|number| i32::try_from(number).is_ok()) => {
            Ok(number)
        }
        Some(_) => error(9, "With 'unit', range-based bounds must be an integer"),
        None => error(9, "Range-based bounds expression must be a number"),
    };
    let (lower, upper) = ends(range, compile, &number)?;
    let place = |bound| match bound {
        Bound::At(at) => Some(at),
        Bound::Current => Some(Number::Int32(0)),
        Bound::Unbounded => None,
    };
    if let (Some(lower), Some(upper)) = (place(lower), place(upper))
        && lower.compare(upper).is_gt()
    {
        let (lower, upper) = (lower.to_f64(), upper.to_f64());
        return error(5_339_900, format!("Lower bound must not exceed upper bound: [{lower}, {upper}]"));
    }
    match sort.map(Sort::keys) {
        Some([(_, crate::key::Direction::Ascending)]) => Ok(Bounds::Range { lower, upper, unit }),
        Some([_]) => error(8_947_401, "Range-based bounds require an ascending sortBy"),
        _ => error(5_339_902, "Range-based bounds require sortBy a single field"),
    }
}

/// Both ends as they stand in an array of two.
fn ends<T>(
    array: RawBsonRef<'_>,
    compile: Compile<'_>,
    number: &dyn Fn(&RawBson) -> Result<T, QueryError>,
) -> Result<(Bound<T>, Bound<T>), QueryError> {
    let two = match array {
        RawBsonRef::Array(array) => {
            <[RawBsonRef<'_>; 2]>::try_from(order::array_elements(array).collect::<Vec<_>>()).ok()
        }
        _ => None,
    };
    let Some([lower, upper]) = two else { return error(9, "Window bounds must be a 2-element array") };
    Ok((end(lower, compile, number)?, end(upper, compile, number)?))
}

fn end<T>(
    value: RawBsonRef<'_>,
    compile: Compile<'_>,
    number: &dyn Fn(&RawBson) -> Result<T, QueryError>,
) -> Result<Bound<T>, QueryError> {
    match value {
        RawBsonRef::String("unbounded") => Ok(Bound::Unbounded),
        RawBsonRef::String("current") => Ok(Bound::Current),
        RawBsonRef::String(_) => error(9, "Window bounds must be 'unbounded', 'current', or a number."),
        value => match constant(value, compile)? {
            Some(value) => number(&value).map(Bound::At),
            None => error(9, "Window bounds expression must be a constant."),
        },
    }
}

/// The frames of the documents of one partition, one after the other. Both ends only ever move forward.
#[derive(Debug)]
pub(super) struct Frames {
    bounds: Bounds,
    start: usize,
    end: usize,
}

impl Frames {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, start: 0, end: 0 }
    }

    /// The documents in the window of document `at`: from the first up to, and without, the second. Documents must be
    /// asked for in order.
    ///
    /// # Errors
    /// For bounds by value 5429513, 5429413 and 5429414 if the document's sort value is of the wrong type, `Overflow` (15)
    /// if a date is moved out of range.
    pub(super) fn of(&mut self, partition: &Partition, at: usize) -> Result<(usize, usize), QueryError> {
        let count = partition.len();
        match self.bounds {
            Bounds::Documents(lower, upper) => {
                self.start = match lower {
                    Bound::Unbounded => 0,
                    Bound::Current => at,
                    Bound::At(by) => moved(at, by).min(count),
                };
                self.end = match upper {
                    Bound::Unbounded => count,
                    Bound::Current => at + 1,
                    Bound::At(by) => moved(at + 1, by).min(count),
                };
            }
            Bounds::Range { lower, upper, unit } => self.by_value(partition, at, (lower, upper), unit)?,
        }
        self.end = self.end.max(self.start);
        Ok((self.start, self.end))
    }

    fn by_value(
        &mut self,
        partition: &Partition,
        at: usize,
        (lower, upper): (Bound<Number>, Bound<Number>),
        unit: Option<Unit>,
    ) -> Result<(), QueryError> {
        let base = Base::of(&partition.sort_value(at), unit)?;
        let fits = |index: usize| base.is_like(&partition.sort_value(index));
        let count = partition.len();
        match lower {
            Bound::Current => self.start = at,
            Bound::Unbounded => {
                while self.start < count && !fits(self.start) {
                    self.start += 1;
                }
            }
            Bound::At(by) => {
                let threshold = base.moved(by)?;
                while self.start < count && partition.sort_value(self.start).compare(&threshold).is_lt() {
                    self.start += 1;
                }
            }
        }
        self.end = self.end.max(self.start);
        match upper {
            Bound::Current => self.end = at + 1,
            Bound::Unbounded => {
                self.end = self.end.max(at + 1);
                while self.end < count && fits(self.end) {
                    self.end += 1;
                }
            }
            Bound::At(by) => {
                let threshold = base.moved(by)?;
                while self.end < count
                    && fits(self.end)
                    && partition.sort_value(self.end).compare(&threshold).is_le()
                {
                    self.end += 1;
                }
            }
        }
        Ok(())
    }
}

fn moved(at: usize, by: i64) -> usize {
    let by_usize = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    if by < 0 { at.saturating_sub(by_usize) } else { at.saturating_add(by_usize) }
}

/// The sort value that a range is counted from.
enum Base {
    Number(Number),
    Date(i64, Unit),
}

impl Base {
    fn of(value: &Value<'_>, unit: Option<Unit>) -> Result<Self, QueryError> {
        let date = match value {
            Value::Raw(RawBsonRef::DateTime(date)) => Some(date.timestamp_millis()),
            _ => None,
        };
        match (unit, date, value.as_number()) {
            (Some(unit), Some(millis), _) => Ok(Self::Date(millis, unit)),
            (Some(_), None, _) => error(
                5_429_513,
                format!(
                    "Invalid range: Expected the sortBy field to be a Date, but it was {}",
                    value.type_name()
                ),
            ),
            (None, Some(_), _) => error(
                5_429_413,
                "Invalid range: For windows that involve date or time ranges, a unit must be provided.",
            ),
            (None, None, Some(number)) => Ok(Self::Number(number)),
            (None, None, None) => error(
                5_429_414,
                format!(
                    "Invalid range: Expected the sortBy field to be a number, but it was {}",
                    value.type_name()
                ),
            ),
        }
    }

    fn is_like(&self, value: &Value<'_>) -> bool {
        match self {
            Self::Number(_) => value.as_number().is_some(),
            Self::Date(..) => matches!(value, Value::Raw(RawBsonRef::DateTime(_))),
        }
    }

    fn moved(&self, by: Number) -> Result<Value<'static>, QueryError> {
        match self {
            // Decimals, as MongoDB does: nobody sees the threshold's type.
            Self::Number(base) => Ok(Value::number(Number::Decimal(base.to_decimal() + by.to_decimal()))),
            Self::Date(base, unit) => match by.to_i64_exact().and_then(|by| shift(*base, *unit, by)) {
                Some(millis) => Ok(Value::date(millis)),
                None => error(15, "date overflow in the range of a window"),
            },
        }
    }
}
