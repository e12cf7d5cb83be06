//! The stages of a pipeline: one variant each, compiled here and run here.

use std::sync::Arc;

use bson::RawBsonRef;
use bson::raw::CString;

use super::outside::{CollectionStatistics, Context, Outside, Rows};
use super::parse::{Parser, error, type_name};
use super::stages::limit::{parse_limit, parse_skip};
use super::stages::{
    bucket_auto::BucketAuto, count, densify::Densify, facet::Facet, fill, geo_near::GeoNear,
    graph_lookup::GraphLookup, group::Group, limit, lookup::Lookup, matching::Match, redact::Redact, sample,
    sort::SortStage, source, transform, union::Union, unwind::Unwind,
};
use super::window::WindowStage;
use crate::error::QueryError;
use crate::expression::{Expression, Reshape};

/// A compiled stage.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    Match(Arc<Match>),
    /// `$project`, `$set` and their like, several in a row as one.
    Transform(Arc<Vec<Reshape>>),
    Sort(Arc<SortStage>),
    Skip(u64),
    Limit(u64),
    Unwind(Arc<Unwind>),
    Count(CString),
    Facet(Arc<Facet>),
    GeoNear(Arc<GeoNear>),
    GraphLookup(Arc<GraphLookup>),
    /// `$group`, `$sortByCount`, `$bucket`.
    Group(Arc<Group>),
    Lookup(Arc<Lookup>),
    Union(Arc<Union>),
    Redact(Arc<Redact>),
    Sample(u64),
    BucketAuto(Arc<BucketAuto>),
    Densify(Arc<Densify>),
    /// `$setWindowFields`.
    Window(Arc<WindowStage>),
    Documents(Arc<Expression>),
    CollectionStatistics(CollectionStatistics),
    IndexStatistics,
}

/// Where a stage may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    /// At the beginning only, since it reads no input.
    Source,
    /// At the end of the command's own pipeline only.
    Final,
}

impl Place {
    /// Where the stage of this name may stand.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "$documents" | "$collStats" | "$geoNear" | "$indexStats" => Self::Source,
            "$out" | "$merge" => Self::Final,
            _ => Self::Anywhere,
        }
    }
}

impl Stage {
    /// Compiles a stage by its name and appends what it comes to.
    pub(super) fn parse(
        name: &str,
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
        stages: &mut Vec<Self>,
    ) -> Result<(), QueryError> {
        let stage = match name {
            "$match" => {
                let RawBsonRef::Document(filter) = operand else {
                    return error(
                        15959,
                        format!(
                            "the match filter must be an expression in an object, not {}",
                            type_name(operand)
                        ),
                    );
                };
                Self::Match(Arc::new(parser.condition(filter)?))
            }
            "$addFields" | "$set" | "$project" | "$unset" | "$replaceRoot" | "$replaceWith" => {
                Self::Transform(Arc::new(vec![parser.reshape(name, operand)?]))
            }
            "$sort" => Self::Sort(Arc::new(SortStage::parse(operand, parser)?)),
            "$limit" => Self::Limit(parse_limit(operand)?),
            "$skip" => Self::Skip(parse_skip(operand)?),
            "$unwind" => Self::Unwind(Arc::new(Unwind::parse(operand)?)),
            "$bucket" => Self::Group(Arc::new(Group::parse_buckets(operand, parser)?)),
            "$count" => Self::Count(count::parse(operand)?),
            "$facet" => Self::Facet(Arc::new(Facet::parse(operand, parser)?)),
            "$geoNear" => Self::GeoNear(Arc::new(GeoNear::parse(operand, parser)?)),
            "$graphLookup" => Self::GraphLookup(Arc::new(GraphLookup::parse(operand, parser)?)),
            "$group" => Self::Group(Arc::new(Group::parse(operand, parser)?)),
            "$lookup" => Self::Lookup(Arc::new(Lookup::parse(operand, parser)?)),
            "$sample" => Self::Sample(sample::parse(operand)?),
            "$bucketAuto" => Self::BucketAuto(Arc::new(BucketAuto::parse(operand, parser)?)),
            "$densify" => Self::Densify(Arc::new(Densify::parse(operand, parser)?)),
            "$fill" => {
                stages.extend(fill::parse(operand, parser)?);
                return Ok(());
            }
            "$setWindowFields" => Self::Window(Arc::new(WindowStage::parse(operand, parser)?)),
            "$redact" => Self::Redact(Arc::new(Redact::parse(operand, parser)?)),
            "$sortByCount" => {
                stages.push(Self::Group(Arc::new(Group::parse_counts(operand, parser)?)));
                Self::Sort(Arc::new(SortStage::by_count()))
            }
            "$unionWith" => Self::Union(Arc::new(Union::parse(operand, parser)?)),
            "$documents" => Self::Documents(Arc::new(parser.expression(operand)?)),
            "$collStats" => Self::CollectionStatistics(source::parse_statistics(operand)?),
            "$indexStats" => source::parse_index_statistics(operand).map(|()| Self::IndexStatistics)?,
            _ => return error(40324, format!("Unrecognized pipeline stage name: '{name}'")),
        };
        stages.push(stage);
        Ok(())
    }

    /// The stage as an adapter of `input`.
    pub(super) fn run<O: Outside>(&self, input: Rows<O::Error>, context: Context<O>) -> Rows<O::Error> {
        match self {
            Self::Match(filter) => filter.run(input, context.query, context.variables),
            Self::Transform(reshapes) => transform::run(Arc::clone(reshapes), input, context),
            Self::Sort(stage) => stage.run(input),
            Self::Skip(count) => limit::skip(*count, input),
            Self::Limit(count) => limit::limit(*count, input),
            Self::Unwind(unwind) => unwind.run(input),
            Self::Count(name) => count::run(name.clone(), input),
            Self::GeoNear(near) => near.run(context),
            Self::GraphLookup(lookup) => lookup.run(input, context),
            Self::Group(group) => group.run(input, context),
            Self::Facet(facet) => facet.run(input, context),
            Self::Lookup(lookup) => lookup.run(input, context),
            Self::Sample(size) => sample::run(*size, context.query.chance, input),
            Self::BucketAuto(buckets) => buckets.run(input, context),
            Self::Densify(densify) => densify.run(input),
            Self::Window(window) => window.run(input, context),
            Self::Redact(redact) => redact.run(input, context),
            Self::Union(union) => union.run(input, context),
            Self::Documents(documents) => source::documents(documents, context),
            Self::CollectionStatistics(wanted) => source::collection_statistics(*wanted, context),
            Self::IndexStatistics => source::index_statistics(context),
        }
    }

    /// Where the stage may stand.
    pub(super) fn place(&self) -> Place {
        Place::of(self.name())
    }

    /// MongoDB's name of the stage (one of them, where it has several).
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Match(_) => "$match",
            Self::Transform(_) => "$project",
            Self::Sort(_) => "$sort",
            Self::Skip(_) => "$skip",
            Self::Limit(_) => "$limit",
            Self::Unwind(_) => "$unwind",
            Self::Count(_) => "$count",
            Self::GeoNear(_) => "$geoNear",
            Self::GraphLookup(_) => "$graphLookup",
            Self::Group(group) => group.name(),
            Self::Facet(_) => "$facet",
            Self::Lookup(_) => "$lookup",
            Self::Sample(_) => "$sample",
            Self::BucketAuto(_) => "$bucketAuto",
            Self::Densify(_) => "$densify",
            Self::Window(_) => "$setWindowFields",
            Self::Redact(_) => "$redact",
            Self::Union(_) => "$unionWith",
            Self::Documents(_) => "$documents",
            Self::CollectionStatistics(_) => "$collStats",
            Self::IndexStatistics => "$indexStats",
        }
    }

    /// Adds the collections that the stage reads beside its input.
    pub(super) fn collections(&self, names: &mut Vec<String>) {
        match self {
            Self::Facet(facet) => facet.collections(names),
            Self::GraphLookup(lookup) => lookup.collections(names),
            Self::Lookup(lookup) => lookup.collections(names),
            Self::Union(union) => union.collections(names),
            _ => {}
        }
    }
}
