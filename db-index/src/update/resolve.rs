//! What an update becomes before it is logged: nothing in it may depend on the moment any more.

use bson::spec::ElementType;

use super::operators::{Leaf, Operator, field};
use super::{Kind, Update, UpdateContext, UpdateOptions};
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::raw::{Elements, Writer};

impl Update {
    /// The same update with `$currentDate` turned into `$set` of the context's time.
    ///
    /// # Errors
    /// None for an update that was compiled: the result is compiled from the same parts.
    pub fn resolve(&self, context: &UpdateContext) -> Result<Self, QueryError> {
        let Kind::Operators(operators) = &self.kind else { return Ok(self.clone()) };
        let dates: Vec<_> = operators
            .leaves
            .iter()
            .filter_map(|leaf| match leaf.operator {
                Operator::CurrentDate(kind) => Some((&*leaf.path, field::date_value(kind, context.now_ms))),
                _ => None,
            })
            .collect();
        if dates.is_empty() {
            return Ok(self.clone());
        }
        let mut writer = Writer::with_capacity(self.source.as_bytes().len() + 16);
        let root = writer.open_root();
        let set = writer.open("$set", ElementType::EmbeddedDocument);
        for modifier in Elements::of_document(&self.source) {
            let modifier = modifier?;
            if modifier.key == "$set"
                && let bson::RawBsonRef::Document(fields) = modifier.value()?
            {
                writer.copy(Elements::of_document(fields).rest());
            }
        }
        for (path, (kind, bytes)) in dates {
            writer.scalar(path, kind, &bytes);
        }
        writer.close(set);
        for modifier in Elements::of_document(&self.source) {
            let modifier = modifier?;
            if !matches!(modifier.key, "$set" | "$currentDate") {
                writer.copy(modifier.bytes);
            }
        }
        writer.close(root);
        let options = UpdateOptions {
            array_filters: self.array_filters.clone(),
            context: QueryContext { collation: self.collation.clone(), ..QueryContext::default() },
            ..UpdateOptions::default()
        };
        Self::parse(&writer.into_document(), &options)
    }

    /// Whether every peer, platform and version computes the same from it at any time. If not, and [`Update::resolve`]
    /// does not help (a pipeline, a regular expression in `$pull` or an array filter), log [`crate::plain_effects`] instead.
    pub fn is_replayable(&self) -> bool {
        let operators = match &self.kind {
            Kind::Operators(operators) => operators,
            Kind::Replacement => return true,
            Kind::Pipeline(_) => return false,
        };
        // What is logged holds no collation.
        let by_collation = self.collation.is_some()
            && (!operators.filters.is_empty() || operators.leaves.iter().any(Leaf::compares));
        !by_collation
            && operators.filters.is_replayable()
            && operators.leaves.iter().all(|leaf| match &leaf.operator {
                Operator::CurrentDate(_) => false,
                Operator::Pull(condition) => condition.is_replayable(),
                _ => true,
            })
    }
}
