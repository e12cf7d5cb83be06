//! Windows whose values are kept in order: extremes, sets, the ends of a sort, percentiles.

use std::collections::BTreeSet;

use bson::{RawBson, RawBsonRef};

use super::slide::{Held, Slide};
use crate::aggregate::accumulator::{Input, Owned, array, held_bytes};
use crate::collation::Collation;
use crate::error::QueryError;
use crate::expression::percentile::{Method as PercentileMethod, percentile_between};
use crate::number::Number;
use crate::sort::SortKey;

/// Which of the ordered values is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Least,
    Greatest,
    LeastFew(usize),
    GreatestFew(usize),
    /// Each once.
    Distinct,
    /// Each element of the arrays once.
    DistinctElements,
}

/// The values of a window in order, those that are equal as they came.
#[derive(Debug)]
pub(super) struct Ordered {
    wanted: Wanted,
    collation: Option<Collation>,
    values: BTreeSet<(Owned, u64)>,
    /// How many values came and how many went, each of which has a number.
    arrivals: u64,
    departures: u64,
    bytes: usize,
}

impl Ordered {
    pub(super) fn new(wanted: Wanted, collation: Option<&Collation>) -> Self {
        let collation = collation.cloned();
        Self { wanted, collation, values: BTreeSet::new(), arrivals: 0, departures: 0, bytes: 0 }
    }

    /// The values that one input brings.
    fn values_of(&self, input: &Input) -> Result<Vec<RawBson>, QueryError> {
        let Some(value) = &input.value else { return Ok(Vec::new()) };
        match self.wanted {
            Wanted::Distinct => Ok(vec![value.clone()]),
            Wanted::DistinctElements => super::list::elements("$setUnion", input),
            _ if matches!(value, RawBson::Null | RawBson::Undefined) => Ok(Vec::new()),
            _ => Ok(vec![value.clone()]),
        }
    }

    fn few<'v>(values: impl Iterator<Item = &'v (Owned, u64)>, count: usize) -> Result<RawBson, QueryError> {
        array(values.take(count).map(|(value, _)| value.0.as_raw_bson_ref()))
    }
}

impl Slide for Ordered {
    fn add(&mut self, input: &Input) -> Result<(), QueryError> {
        for value in self.values_of(input)? {
            self.bytes += held_bytes(&value);
            self.arrivals += 1;
            self.values.insert((Owned(value, self.collation.clone()), self.arrivals));
        }
        Ok(())
    }

    fn remove(&mut self, input: &Input, _: &Held) -> Result<(), QueryError> {
        for value in self.values_of(input)? {
            self.bytes -= held_bytes(&value);
            self.departures += 1;
            self.values.remove(&(Owned(value, self.collation.clone()), self.departures));
        }
        Ok(())
    }

    fn value(&self, _: &Held) -> Result<Option<RawBson>, QueryError> {
        let one = |value: Option<&(Owned, u64)>| value.map_or(RawBson::Null, |(value, _)| value.0.clone());
        Ok(Some(match self.wanted {
            Wanted::Least => one(self.values.first()),
            Wanted::Greatest => one(self.values.last()),
            Wanted::LeastFew(count) => Self::few(self.values.iter(), count)?,
            Wanted::GreatestFew(count) => Self::few(self.values.iter().rev(), count)?,
            Wanted::Distinct | Wanted::DistinctElements => {
                let mut distinct: Vec<&Owned> = self.values.iter().map(|(value, _)| value).collect();
                // Of equal ones the first stays.
                distinct.dedup();
                array(distinct.into_iter().map(|value| value.0.as_raw_bson_ref()))?
            }
        }))
    }

    fn memory(&self) -> usize {
        self.bytes
    }
}

/// `$top`, `$bottom` and their like.
#[derive(Debug)]
pub(super) struct Ends {
    /// How many are asked for; none for one value that is no array.
    count: Option<usize>,
    bottom: bool,
    keys: BTreeSet<(SortKey, u64)>,
    arrivals: u64,
    departures: u64,
    bytes: usize,
}

impl Ends {
    pub(super) fn new(count: Option<usize>, bottom: bool) -> Self {
        Self { count, bottom, keys: BTreeSet::new(), arrivals: 0, departures: 0, bytes: 0 }
    }
}

impl Slide for Ends {
    fn add(&mut self, input: &Input) -> Result<(), QueryError> {
        self.arrivals += 1;
        if let Some(key) = &input.key {
            self.bytes += key.as_bytes().len() + 64;
            self.keys.insert((key.clone(), self.arrivals));
        }
        Ok(())
    }

    fn remove(&mut self, input: &Input, _: &Held) -> Result<(), QueryError> {
        self.departures += 1;
        if let Some(key) = &input.key {
            self.bytes -= key.as_bytes().len() + 64;
            self.keys.remove(&(key.clone(), self.departures));
        }
        Ok(())
    }

    fn value(&self, held: &Held) -> Result<Option<RawBson>, QueryError> {
        let wanted = self.count.unwrap_or(1);
        let mut arrivals: Vec<u64> = if self.bottom {
            self.keys.iter().rev().take(wanted).map(|(_, arrival)| *arrival).collect()
        } else {
            self.keys.iter().take(wanted).map(|(_, arrival)| *arrival).collect()
        };
        if self.bottom {
            arrivals.reverse();
        }
        // The number of a key says where its input is held.
        let mut outputs = arrivals.into_iter().map(|arrival| {
            let place = usize::try_from(arrival - self.departures - 1).unwrap_or(usize::MAX);
            let output = held.get(place).and_then(|input| input.value.as_ref());
            output.map_or(RawBsonRef::Null, RawBson::as_raw_bson_ref)
        });
        match self.count {
            None => Ok(Some(outputs.next().map_or(RawBson::Null, Into::into))),
            Some(_) => array(outputs).map(Some),
        }
    }

    fn memory(&self) -> usize {
        self.bytes
    }
}

/// The most numbers of a block.
const BLOCK: usize = 512;

/// `$median` and `$percentile`: numbers in order, in blocks that are short enough to move.
#[derive(Debug)]
pub(super) struct Percentiles {
    /// What is asked for; none for the median as one value.
    points: Option<Vec<f64>>,
    method: PercentileMethod,
    blocks: Vec<Vec<f64>>,
    count: usize,
}

impl Percentiles {
    pub(super) fn new(points: Option<Vec<f64>>, method: PercentileMethod) -> Self {
        Self { points, method, blocks: Vec::new(), count: 0 }
    }

    fn number(input: &Input) -> Option<f64> {
        let value = input.value.as_ref()?;
        Number::from_raw(value.as_raw_bson_ref()).map(Number::to_f64).filter(|number| !number.is_nan())
    }

    /// The block in which a number is, or belongs.
    fn block_of(&self, number: f64) -> usize {
        let place = self
            .blocks
            .partition_point(|block| block.last().is_some_and(|last| last.total_cmp(&number).is_lt()));
        place.min(self.blocks.len().saturating_sub(1))
    }

    fn at(&self, mut rank: usize) -> Option<f64> {
        for block in &self.blocks {
            match block.get(rank) {
                Some(number) => return Some(*number),
                None => rank -= block.len(),
            }
        }
        None
    }

    fn percentile(&self, point: f64) -> RawBson {
        percentile_between(self.count, |rank| self.at(rank), point, self.method)
            .map_or(RawBson::Null, RawBson::Double)
    }
}

impl Slide for Percentiles {
    fn add(&mut self, input: &Input) -> Result<(), QueryError> {
        let Some(number) = Self::number(input) else { return Ok(()) };
        self.count += 1;
        let index = self.block_of(number);
        let Some(block) = self.blocks.get_mut(index) else {
            self.blocks.push(vec![number]);
            return Ok(());
        };
        let place = block.partition_point(|known| known.total_cmp(&number).is_lt());
        block.insert(place, number);
        if block.len() > BLOCK {
            let rest = block.split_off(BLOCK / 2);
            self.blocks.insert(index + 1, rest);
        }
        Ok(())
    }

    fn remove(&mut self, input: &Input, _: &Held) -> Result<(), QueryError> {
        let Some(number) = Self::number(input) else { return Ok(()) };
        let index = self.block_of(number);
        if let Some(block) = self.blocks.get_mut(index)
            && let Ok(place) = block.binary_search_by(|known| known.total_cmp(&number))
        {
            block.remove(place);
            self.count -= 1;
            if block.is_empty() {
                self.blocks.remove(index);
            }
        }
        Ok(())
    }

    fn value(&self, _: &Held) -> Result<Option<RawBson>, QueryError> {
        match &self.points {
            None => Ok(Some(self.percentile(0.5))),
            Some(points) => {
                let values: Vec<RawBson> = points.iter().map(|point| self.percentile(*point)).collect();
                array(values.iter().map(RawBson::as_raw_bson_ref)).map(Some)
            }
        }
    }

    fn memory(&self) -> usize {
        8 * self.count
    }
}
