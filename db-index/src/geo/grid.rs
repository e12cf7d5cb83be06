//! The grid of a flat index: a square of the plane cut into quarters again and again, each place known by its quarters.

use bson::{RawBsonRef, RawDocumentBuf, raw::cstr};

use super::{
    cell::{Relation, interleave},
    flat::Rectangle,
    geojson::Pair,
};
use crate::{
    error::{ErrorCode, QueryError},
    number::Number,
};

/// The most ranges that a region is covered by.
const RANGES_MAX: usize = 32;

/// Which part of the plane a flat index holds, and how finely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Grid {
    /// How many times the square is cut: 1 to 32.
    pub(crate) bits: u32,
    /// The least coordinate.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Default for Grid {
    fn default() -> Self {
        Self { bits: 26, min: -180.0, max: 180.0 }
    }
}

impl Grid {
    /// Reads one of the options `bits`, `min` and `max`.
    ///
    /// # Errors
    /// `InvalidOptions` (72) for bits that cannot be, `TypeMismatch` (14) for what is no number.
    pub(crate) fn read(&mut self, option: &str, value: RawBsonRef<'_>) -> Result<(), QueryError> {
        let Some(number) = Number::from_raw(value) else {
            return Err(QueryError::new(
                ErrorCode::TYPE_MISMATCH,
                format!("The field '{option}' must be a number"),
            ));
        };
        match option {
            "bits" => {
                let bits = number.truncated_to_i64().and_then(|bits| u32::try_from(bits).ok());
                self.bits = bits
                    .filter(|bits| (1..=32).contains(bits))
                    .ok_or_else(|| invalid("bits for hash must be > 0 and <= 32"))?;
            }
            "min" => self.min = number.to_f64(),
            _ => self.max = number.to_f64(),
        }
        Ok(())
    }

    /// Checks that there is something between the bounds.
    ///
    /// # Errors
    /// `InvalidOptions` (72).
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        let extent = self.max - self.min;
        if extent.is_finite() && extent > 0.0 {
            Ok(())
        } else {
            Err(invalid("region for hash must be valid and have positive area"))
        }
    }

    /// Appends what is not by default to a specification.
    pub(crate) fn write(&self, document: &mut RawDocumentBuf) {
        let usual = Self::default();
        if self.bits != usual.bits {
            document.append(cstr!("bits"), i32::try_from(self.bits).unwrap_or(i32::MAX));
        }
        if self.min != usual.min {
            document.append(cstr!("min"), self.min);
        }
        if self.max != usual.max {
            document.append(cstr!("max"), self.max);
        }
    }

    /// The name of the smallest square that a place is in.
    ///
    /// # Errors
    /// 13027 for a place that is not on the grid.
    pub(crate) fn cell(&self, place: Pair) -> Result<i64, QueryError> {
        let all = self.square(0, 0, 0);
        if !all.contains(place) {
            return Err(QueryError::new(
                ErrorCode::POINT_OFF_GRID,
                format!("point not in interval of [ {}, {} ]: {}, {}", self.min, self.max, place.x, place.y),
            ));
        }
        Ok(name(interleave(self.line(place.x)) << 1 | interleave(self.line(place.y))))
    }

    /// The names of all squares that a region may meet, as ranges from, and up to and including.
    pub(crate) fn ranges(&self, relation: impl Fn(&Rectangle) -> Relation) -> Vec<(i64, i64)> {
        // Squares of one level by their places across and up.
        let mut open = vec![(0_u64, 0_u64)];
        let mut done = Vec::new();
        for level in 0..=self.bits {
            let mut next = Vec::new();
            let mut left = open.len();
            for (across, up) in open {
                left -= 1;
                let range = || self.range(level, across, up);
                match relation(&self.square(level, across, up)) {
                    Relation::Outside => {}
                    Relation::Crossing
                        if level < self.bits && done.len() + next.len() + left + 4 <= 2 * RANGES_MAX =>
                    {
                        let (across, up) = (across * 2, up * 2);
                        next.extend([(across, up), (across, up + 1), (across + 1, up), (across + 1, up + 1)]);
                    }
                    _ => done.push(range()),
                }
            }
            open = next;
        }
        done.sort_unstable();
        done
    }

    /// The row or column of the smallest squares that a coordinate is in.
    fn line(&self, place: f64) -> u64 {
        let count = (1_u64 << self.bits) as f64;
        (((place - self.min) / (self.max - self.min) * count) as u64).min((1 << self.bits) - 1)
    }

    /// A square of a level, and a little more.
    fn square(&self, level: u32, across: u64, up: u64) -> Rectangle {
        let extent = self.max - self.min;
        let size = extent / (1_u64 << level) as f64;
        let spare = if level == 0 { 0.0 } else { extent * 1e-12 };
        let low = Pair { x: self.min + across as f64 * size, y: self.min + up as f64 * size };
        Rectangle {
            low: Pair { x: low.x - spare, y: low.y - spare },
            high: Pair { x: (low.x + size).min(self.max) + spare, y: (low.y + size).min(self.max) + spare },
        }
    }

    fn range(&self, level: u32, across: u64, up: u64) -> (i64, i64) {
        let below = 2 * (self.bits - level);
        let first = (u128::from(interleave(across)) << 1 | u128::from(interleave(up))) << below;
        let last = first + ((1_u128 << below) - 1);
        (name(first as u64), name(last as u64))
    }
}

fn invalid(message: &str) -> QueryError {
    QueryError::new(ErrorCode::INVALID_OPTIONS, message)
}

/// Unsigned order kept in a signed number.
fn name(code: u64) -> i64 {
    (code ^ (1 << 63)) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_every_place_of_their_region(
            x in -180.0..=180.0_f64, y in -180.0..=180.0_f64, width in 0.0..40.0_f64, height in 0.0..40.0_f64,
            across in 0.0..=1.0_f64, up in 0.0..=1.0_f64, bits in 1..=32_u32,
        ) {
            let grid = Grid { bits, ..Grid::default() };
            let region = Rectangle { low: Pair { x, y }, high: Pair { x: x + width, y: y + height } };
            let place = Pair { x: (x + width * across).min(180.0), y: (y + height * up).min(180.0) };
            let name = grid.cell(place).unwrap();
            let ranges = grid.ranges(|square| match (region.meets(square), region.holds(square)) {
                (false, _) => Relation::Outside,
                (_, true) => Relation::Inside,
                _ => Relation::Crossing,
            });
            prop_assert!(ranges.iter().any(|(low, high)| *low <= name && name <= *high));
            prop_assert!(ranges.len() <= 2 * RANGES_MAX);
        }
    }

    #[test]
    fn places_off_the_grid_are_refused() {
        let grid = Grid::default();
        assert_eq!(grid.cell(Pair { x: 181.0, y: 0.0 }).unwrap_err().code.0, 13027);
        assert!(grid.cell(Pair { x: 180.0, y: -180.0 }).is_ok());
    }
}
