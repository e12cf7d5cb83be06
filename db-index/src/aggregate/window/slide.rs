//! Windows that move through a partition: what comes in is added, what goes out is taken out again.

use std::collections::VecDeque;
use std::fmt::Debug;

use bson::RawBson;

use super::bounds::{Bounds, Frames};
use super::partition::Partition;
use crate::aggregate::accumulator::{Accumulator, AccumulatorExpression, Input, held_bytes};
use crate::error::QueryError;

/// The inputs of the documents in a window, the first document's first.
pub(super) type Held = VecDeque<Input>;

/// The state of a function over a window from which the first document can be taken out.
pub(super) trait Slide: Debug + Send {
    /// Takes the input of the document after the last.
    fn add(&mut self, input: &Input) -> Result<(), QueryError>;

    /// Takes out the input of the first document; `held` is what stays.
    fn remove(&mut self, input: &Input, held: &Held) -> Result<(), QueryError>;

    /// The value of the function over the window.
    fn value(&self, held: &Held) -> Result<Option<RawBson>, QueryError>;

    /// How many bytes the state takes beside the inputs.
    fn memory(&self) -> usize {
        0
    }
}

/// How a function's inputs are made.
pub(super) type MakeInput<'f> = &'f dyn Fn(&Partition, usize) -> Result<Input, QueryError>;

/// A function over a window that moves through one partition.
#[derive(Debug)]
pub(super) struct Window {
    frames: Frames,
    state: State,
    start: usize,
    end: usize,
    /// The value of the last frame, if there was one, for the next document may have the same.
    last: Option<RawBson>,
    has_last: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing ever leaves the window.
    Growing(Accumulator),
    /// As before, with a state that could do more.
    GrowingSlide(Box<dyn Slide>),
    Moving {
        slide: Box<dyn Slide>,
        held: Held,
        bytes: usize,
    },
}

impl Window {
    /// A window that only grows.
    pub(super) fn growing(bounds: Bounds, accumulator: Accumulator) -> Self {
        Self::new(bounds, State::Growing(accumulator))
    }

    /// A window of any bounds.
    pub(super) fn sliding(bounds: Bounds, slide: Box<dyn Slide>) -> Self {
        if bounds.is_left_unbounded() {
            Self::new(bounds, State::GrowingSlide(slide))
        } else {
            Self::new(bounds, State::Moving { slide, held: Held::new(), bytes: 0 })
        }
    }

    fn new(bounds: Bounds, state: State) -> Self {
        Self { frames: Frames::new(bounds), state, start: 0, end: 0, last: None, has_last: false }
    }

    /// The value for document `at`, which comes after the one asked for before.
    pub(super) fn value(
        &mut self,
        partition: &Partition,
        at: usize,
        input: MakeInput<'_>,
    ) -> Result<Option<RawBson>, QueryError> {
        let (start, end) = self.frames.of(partition, at)?;
        if self.has_last && (start, end) == (self.start, self.end) {
            return Ok(self.last.clone());
        }
        // What lies before the window and was never in it need not come in.
        let first_new = if start >= self.end { start } else { self.end };
        let gone = self.end.min(start).saturating_sub(self.start);
        let is_whole_move = start >= self.end;
        if is_whole_move {
            self.remove(gone)?;
        }
        for index in first_new..end {
            self.state.add(input(partition, index)?)?;
        }
        if !is_whole_move {
            self.remove(gone)?;
        }
        (self.start, self.end) = (start, end.max(first_new));
        (self.last, self.has_last) = (self.state.value()?, true);
        Ok(self.last.clone())
    }

    fn remove(&mut self, count: usize) -> Result<(), QueryError> {
        for _ in 0..count {
            self.state.remove_first()?;
        }
        Ok(())
    }

    /// How many bytes the window takes.
    pub(super) fn memory(&self) -> usize {
        let state = match &self.state {
            State::Growing(accumulator) => accumulator.memory(),
            State::GrowingSlide(slide) => slide.memory(),
            State::Moving { slide, bytes, .. } => slide.memory() + bytes,
        };
        state + self.last.as_ref().map_or(0, held_bytes)
    }
}

impl State {
    fn add(&mut self, input: Input) -> Result<(), QueryError> {
        match self {
            Self::Growing(accumulator) => accumulator.add_input(&input),
            Self::GrowingSlide(slide) => slide.add(&input),
            Self::Moving { slide, held, bytes } => {
                slide.add(&input)?;
                *bytes += input.memory();
                held.push_back(input);
                Ok(())
            }
        }
    }

    fn remove_first(&mut self) -> Result<(), QueryError> {
        if let Self::Moving { slide, held, bytes } = self
            && let Some(first) = held.pop_front()
        {
            *bytes -= first.memory();
            slide.remove(&first, held)?;
        }
        Ok(())
    }

    fn value(&self) -> Result<Option<RawBson>, QueryError> {
        match self {
            Self::Growing(accumulator) => accumulator.finish(),
            Self::GrowingSlide(slide) => slide.value(&Held::new()),
            Self::Moving { slide, held, .. } => slide.value(held),
        }
    }
}

/// The input that an accumulator takes from a document.
pub(super) fn accumulator_input(
    expression: &AccumulatorExpression,
    partition: &Partition,
    at: usize,
) -> Result<Input, QueryError> {
    let surroundings = partition.surroundings();
    expression.input(partition.document(at), &surroundings.variables.values(), surroundings.now_ms)
}
