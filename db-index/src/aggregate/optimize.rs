//! Rewriting a pipeline into one that gives the same with less work.

use std::sync::Arc;

use super::stage::Stage;
use super::stages::transform::FUSED_MAX;

/// Moves filters before sorts, tells sorts how many documents are needed of them, and joins what computes in a row.
pub(super) fn optimize(stages: Vec<Stage>) -> Vec<Stage> {
    let mut made: Vec<Stage> = Vec::with_capacity(stages.len());
    for stage in stages {
        match (stage, made.last_mut()) {
            (Stage::Transform(more), Some(Stage::Transform(known)))
                if known.len() + more.len() <= FUSED_MAX =>
            {
                let mut joined = known.to_vec();
                joined.extend(more.iter().cloned());
                *known = Arc::new(joined);
            }
            (stage @ Stage::Match(_), Some(Stage::Sort(_))) => {
                let sorts = made.iter().rev().take_while(|stage| matches!(stage, Stage::Sort(_))).count();
                made.insert(made.len() - sorts, stage);
            }
            (Stage::Unwind(unwind), Some(Stage::Lookup(lookup))) => match lookup.unwound(&unwind) {
                Some(joined) => *lookup = Arc::new(joined),
                None => made.push(Stage::Unwind(unwind)),
            },
            (stage, _) => made.push(stage),
        }
    }
    limit_sorts(&mut made);
    made
}

/// A sort that is followed by skips and limits needs only so many documents.
fn limit_sorts(stages: &mut [Stage]) {
    for place in 0..stages.len() {
        let Some((Stage::Sort(sort), behind)) = stages.get_mut(place..).and_then(<[Stage]>::split_first_mut)
        else {
            continue;
        };
        let (mut skipped, mut needed) = (0_u64, None::<u64>);
        for stage in behind.iter() {
            match stage {
                Stage::Skip(count) => skipped = skipped.saturating_add(*count),
                Stage::Limit(count) => {
                    let count = count.saturating_add(skipped);
                    needed = Some(needed.map_or(count, |needed| needed.min(count)));
                }
                _ => break,
            }
        }
        if let Some(needed) = needed {
            *sort = Arc::new(sort.limited(needed));
        }
    }
}
