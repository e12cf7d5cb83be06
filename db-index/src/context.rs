//! What a query is compiled with besides its documents: the moment, the values of its variables, and chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bson::RawBson;
use bson::raw::RawDocument;

use crate::collation::Collation;
use crate::error::QueryError;
use crate::expression::constant_variables;
use crate::text::TextSettings;

/// The surroundings of a query, fixed when it is compiled. They are arguments of the caller, so that the same query in the
/// same surroundings gives the same answer.
#[derive(Debug, Clone, Default)]
pub struct QueryContext {
    /// The value of `$$NOW`, in milliseconds since 1970.
    pub now_ms: i64,
    /// The variables of the command's `let`, each with its value.
    pub variables: Vec<(String, RawBson)>,
    /// How strings are compared; by their bytes if there is none.
    pub collation: Option<Collation>,
    /// What `$rand` and `$sampleRate` draw from.
    pub chance: Chance,
    /// The text index that `$text` looks at.
    pub text: Option<Arc<TextSettings>>,
}

impl QueryContext {
    /// Surroundings at `now_ms`, without variables.
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms, ..Self::default() }
    }

    /// The same with strings compared by a collation document; `{locale: "simple"}` is the comparison by bytes, an empty
    /// document says nothing.
    ///
    /// # Errors
    /// Those of [`Collation::parse`].
    pub fn with_collation(mut self, collation: &RawDocument) -> Result<Self, QueryError> {
        if !collation.is_empty() {
            self.collation = Collation::parse(collation)?;
        }
        Ok(self)
    }

    /// The same with the text index of the collection that is asked; none without such an index.
    #[must_use]
    pub fn with_text(mut self, text: Option<Arc<TextSettings>>) -> Self {
        self.text = text;
        self
    }

    /// The same with the variables of `let`: expressions that know no document.
    ///
    /// # Errors
    /// Those of [`Expression::parse`](crate::Expression::parse) and [`Expression::evaluate`](crate::Expression::evaluate);
    /// `FailedToParse` (9) for names that no variable can have.
    pub fn with_variables(mut self, variables: &RawDocument) -> Result<Self, QueryError> {
        self.variables = constant_variables(variables, &self)?;
        Ok(self)
    }
}

/// A sequence of numbers that looks like chance (`SplitMix64`, after Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators", 2014). Clones go on in one sequence.
#[derive(Debug, Clone, Default)]
pub struct Chance(Arc<AtomicU64>);

impl Chance {
    /// The sequence that `seed` stands for.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// The next number, at least 0 and below 1.
    pub(crate) fn next(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn chance_is_spread_over_the_unit_interval_and_repeats_by_its_seed() {
        let draw = |seed| {
            let chance = Chance::new(seed);
            (0..1000).map(|_| chance.next()).collect::<Vec<_>>()
        };
        let numbers = draw(7);
        assert_eq!(numbers, draw(7));
        assert_ne!(numbers, draw(8));
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = numbers.iter().sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
    }
}
