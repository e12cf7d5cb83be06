//! Window functions as they are compiled, and as they run over one partition.

use bson::RawBson;

use super::bounds::{Bounds, Frames};
use super::error;
use super::follow::{CarryForward, LinearFill, MovingAverage, RankKind, Ranks, derivative, one_of_window};
use super::list::{List, scaled};
use super::ordered::{Ends, Ordered, Percentiles, Wanted};
use super::pairs::{Covariance, Integral};
use super::partition::Partition;
use super::slide::{Slide, Window, accumulator_input};
use super::sum::{Count, Deviation, Sum};
use crate::aggregate::accumulator::{AccumulatorExpression, Input, Kind};
use crate::decimal::Decimal;
use crate::error::QueryError;
use crate::expression::{Expression, Value};
use crate::number::Number;
use crate::sort::Sort;

/// A compiled window function.
#[derive(Debug)]
pub(super) enum Function {
    Accumulator {
        name: Box<str>,
        expression: AccumulatorExpression,
        bounds: Bounds,
    },
    Covariance {
        input: Expression,
        of_sample: bool,
        bounds: Bounds,
    },
    Integral {
        input: Expression,
        unit_ms: Option<i64>,
        bounds: Bounds,
    },
    Derivative {
        input: Expression,
        unit_ms: Option<i64>,
        bounds: Bounds,
    },
    /// `$first`, `$last`, `$shift`.
    One {
        input: Expression,
        last: bool,
        otherwise: RawBson,
        bounds: Bounds,
    },
    Rank {
        kind: RankKind,
    },
    MovingAverage {
        input: Expression,
        alpha: Decimal,
    },
    LinearFill {
        input: Expression,
    },
    CarryForward {
        input: Expression,
    },
    Scaler {
        input: Expression,
        min: RawBson,
        max: RawBson,
        bounds: Bounds,
    },
}

/// A window function at work.
#[derive(Debug)]
pub(super) enum Running {
    Window(Window),
    /// A window of two functions, the least and the greatest value.
    Two(Box<(Window, Window)>),
    Frames(Frames),
    Ranks(Ranks),
    MovingAverage(MovingAverage),
    LinearFill(LinearFill),
    CarryForward(CarryForward),
}

impl Function {
    /// Whether the sort values of documents are asked for.
    pub(super) fn needs_sort_values(&self) -> bool {
        let by_value = |bounds: &Bounds| matches!(bounds, Bounds::Range { .. });
        match self {
            Self::Integral { .. } | Self::Derivative { .. } | Self::LinearFill { .. } => true,
            Self::Accumulator { bounds, .. }
            | Self::Covariance { bounds, .. }
            | Self::One { bounds, .. }
            | Self::Scaler { bounds, .. } => by_value(bounds),
            Self::Rank { .. } | Self::MovingAverage { .. } | Self::CarryForward { .. } => false,
        }
    }

    /// The function at the beginning of a partition.
    ///
    /// # Errors
    /// 5461500 for a window from which values would have to be taken out where that cannot be done; those of an `n`.
    pub(super) fn start(&self, partition: &Partition) -> Result<Running, QueryError> {
        Ok(match self {
            Self::Accumulator { name, expression, bounds } => {
                Running::Window(accumulator_window(name, expression, *bounds, partition)?)
            }
            Self::Covariance { of_sample, bounds, .. } => {
                Running::Window(Window::sliding(*bounds, Box::new(Covariance::new(*of_sample))))
            }
            Self::Integral { unit_ms, bounds, .. } => {
                Running::Window(Window::sliding(*bounds, Box::new(Integral::new(*unit_ms))))
            }
            Self::Derivative { bounds, .. } | Self::One { bounds, .. } => {
                Running::Frames(Frames::new(*bounds))
            }
            Self::Rank { kind } => Running::Ranks(Ranks::new(*kind)),
            Self::MovingAverage { alpha, .. } => Running::MovingAverage(MovingAverage::new(*alpha)),
            Self::LinearFill { .. } => Running::LinearFill(LinearFill::default()),
            Self::CarryForward { .. } => Running::CarryForward(CarryForward::default()),
            Self::Scaler { bounds, .. } => {
                let window = |wanted| Window::sliding(*bounds, Box::new(Ordered::new(wanted, None)));
                Running::Two(Box::new((window(Wanted::Least), window(Wanted::Greatest))))
            }
        })
    }

    /// The value for document `at`; documents are asked for in order.
    ///
    /// # Errors
    /// Those of the function.
    pub(super) fn next(
        &self,
        running: &mut Running,
        sort: Option<&Sort>,
        partition: &Partition,
        at: usize,
    ) -> Result<Option<RawBson>, QueryError> {
        match (self, running) {
            (Self::Accumulator { expression, .. }, Running::Window(window)) => {
                window.value(partition, at, &|partition, at| accumulator_input(expression, partition, at))
            }
            (Self::Covariance { input, .. }, Running::Window(window)) => {
                window.value(partition, at, &|partition, at| plain_input(input, partition, at))
            }
            (Self::Integral { input, .. }, Running::Window(window)) => {
                window.value(partition, at, &|partition, at| {
                    let value = partition.evaluate(input, at)?;
                    let value =
                        value.as_ref().map_or(Value::NULL, |value| Value::Raw(value.as_raw_bson_ref()));
                    let point = Value::array(vec![partition.sort_value(at), value])?;
                    Ok(Input { value: point.to_raw_bson()?, key: None })
                })
            }
            (Self::Derivative { input, unit_ms, .. }, Running::Frames(frames)) => {
                derivative(input, *unit_ms, frames, partition, at)
            }
            (Self::One { input, last, otherwise, .. }, Running::Frames(frames)) => {
                one_of_window(input, *last, otherwise, frames, partition, at)
            }
            (Self::Rank { .. }, Running::Ranks(ranks)) => match sort {
                Some(sort) => ranks.next(sort, partition, at),
                None => Ok(None),
            },
            (Self::MovingAverage { input, .. }, Running::MovingAverage(average)) => {
                Ok(Some(average.next(partition.evaluate(input, at)?.as_ref())))
            }
            (Self::LinearFill { input }, Running::LinearFill(fill)) => fill.next(input, partition, at),
            (Self::CarryForward { input }, Running::CarryForward(carried)) => {
                Ok(Some(carried.next(partition.evaluate(input, at)?)))
            }
            (Self::Scaler { input, min, max, .. }, Running::Two(windows)) => {
                let (least, greatest) = &mut **windows;
                let make = |partition: &Partition, at: usize| number_input(input, partition, at);
                let least = least.value(partition, at, &make)?.unwrap_or(RawBson::Null);
                let greatest = greatest.value(partition, at, &make)?.unwrap_or(RawBson::Null);
                scaled(partition.evaluate(input, at)?.as_ref(), (&least, &greatest), (min, max))
            }
            // A function runs in the state that it started.
            _ => Ok(None),
        }
    }
}

impl Running {
    /// How many bytes the state takes.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Window(window) => window.memory(),
            Self::Two(windows) => windows.0.memory() + windows.1.memory(),
            _ => 0,
        }
    }
}

fn plain_input(input: &Expression, partition: &Partition, at: usize) -> Result<Input, QueryError> {
    Ok(Input { value: partition.evaluate(input, at)?, key: None })
}

/// The input of `$minMaxScaler`, which must be a number.
fn number_input(input: &Expression, partition: &Partition, at: usize) -> Result<Input, QueryError> {
    let input = plain_input(input, partition, at)?;
    let is_number =
        input.value.as_ref().is_some_and(|value| Number::from_raw(value.as_raw_bson_ref()).is_some());
    if is_number {
        Ok(input)
    } else {
        error(10_487_000, "'input' argument to $minMaxScaler must evaluate to a numeric type")
    }
}

/// An accumulator over a window: as in a group if the window only grows, else in a state that can take values out.
fn accumulator_window(
    name: &str,
    expression: &AccumulatorExpression,
    bounds: Bounds,
    partition: &Partition,
) -> Result<Window, QueryError> {
    let surroundings = partition.surroundings();
    let variables = surroundings.variables.values();
    // Percentiles are had from numbers that are in order already, and not by sorting them for each document.
    let is_percentile = matches!(expression.kind(), Kind::Percentile { .. } | Kind::Median { .. });
    if bounds.is_left_unbounded() && !is_percentile {
        let accumulator = expression.start(None, &variables, surroundings.now_ms)?;
        return Ok(Window::growing(bounds, accumulator));
    }
    let count = expression.count(&variables, surroundings.now_ms)?;
    let collation = expression.collation();
    let slide: Box<dyn Slide> = match expression.kind() {
        kind @ (Kind::Sum | Kind::Avg) => Box::new(Sum::new(matches!(kind, Kind::Avg))),
        Kind::Count => Box::new(Count),
        Kind::StdDev { of_sample } => Box::new(Deviation::new(*of_sample)),
        Kind::Min => Box::new(Ordered::new(Wanted::Least, collation)),
        Kind::Max => Box::new(Ordered::new(Wanted::Greatest, collation)),
        Kind::MinN => Box::new(Ordered::new(Wanted::LeastFew(count), collation)),
        Kind::MaxN => Box::new(Ordered::new(Wanted::GreatestFew(count), collation)),
        Kind::AddToSet => Box::new(Ordered::new(Wanted::Distinct, collation)),
        Kind::SetUnion => Box::new(Ordered::new(Wanted::DistinctElements, collation)),
        Kind::FirstN => Box::new(List::First(count)),
        Kind::LastN => Box::new(List::Last(count)),
        Kind::Push => Box::new(List::All),
        Kind::ConcatArrays => Box::new(List::Elements),
        Kind::End { bottom, .. } => Box::new(Ends::new(None, *bottom)),
        Kind::EndN { bottom, .. } => Box::new(Ends::new(Some(count), *bottom)),
        Kind::Percentile { points, method } => Box::new(Percentiles::new(Some(points.clone()), *method)),
        Kind::Median { method } => Box::new(Percentiles::new(None, *method)),
        Kind::First | Kind::Last | Kind::MergeObjects => {
            return error(
                5_461_500,
                format!("Window function {name} is not supported with a removable window"),
            );
        }
    };
    Ok(Window::sliding(bounds, slide))
}
