//! `$geoNear`: the documents by their distance from a place, the nearest first.

use std::ops::ControlFlow;
use std::sync::Arc;

use bson::raw::{CString, RawArrayBuf, RawDocument, RawDocumentBuf};
use bson::{RawBson, RawBsonRef};

use crate::aggregate::edit::{self, Path};
use crate::aggregate::outside::{Context, Outside, PipelineFind, Rows};
use crate::aggregate::parse::{Parser, error, type_name};
use crate::aggregate::rows::{check_row, filter_map, lazily};
use crate::aggregate::stages::matching::Match;
use crate::error::QueryError;
use crate::filter::{Filter, truthy};
use crate::number::Number;
use crate::order;
use crate::path::{self, Leaf, walk_document};
use crate::raw::Operand;
use crate::sort::Sort;

/// A compiled `$geoNear`.
#[derive(Debug)]
pub(in crate::aggregate) struct GeoNear {
    /// The field with the locations; without one, the one that has an index of locations.
    key: Option<String>,
    near: RawBson,
    is_spherical: bool,
    /// `$minDistance` and `$maxDistance`, as the filter takes them.
    bounds: RawDocumentBuf,
    query: Option<Match>,
    distance_field: Option<Path>,
    multiplier: f64,
    location_field: Option<Path>,
}

impl GeoNear {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(10065, format!("$geoNear must be an object, not {}", type_name(operand)));
        };
        let mut stage = Self {
            key: None,
            near: RawBson::Null,
            is_spherical: false,
            bounds: RawDocumentBuf::new(),
            query: None,
            distance_field: None,
            multiplier: 1.0,
            location_field: None,
        };
        for (name, value) in order::elements(document) {
            match (name.as_str(), value) {
                ("near", RawBsonRef::Document(_) | RawBsonRef::Array(_)) => stage.near = value.into(),
                ("near", _) => {
                    return error(16605, "$geoNear requires a 'near' option as an Array or object");
                }
                ("distanceField", RawBsonRef::String(path)) => {
                    stage.distance_field = Some(Path::parse(path)?);
                }
                ("distanceField", _) => {
                    return error(16606, "$geoNear requires that the 'distanceField' option is a String");
                }
                ("includeLocs", RawBsonRef::String(path)) => stage.location_field = Some(Path::parse(path)?),
                ("includeLocs", _) => {
                    return error(16607, "$geoNear requires that 'includeLocs' option is a String");
                }
                ("key", RawBsonRef::String("")) => {
                    return error(2, "$geoNear parameter 'key' cannot be the empty string");
                }
                ("key", RawBsonRef::String(key)) => stage.key = Some(key.to_owned()),
                ("query", RawBsonRef::Document(query)) => stage.query = Some(parser.condition(query)?),
                (name @ ("key" | "query"), value) => {
                    return error(
                        14,
                        format!("$geoNear parameter '{name}' is of the wrong type {}", type_name(value)),
                    );
                }
                ("spherical", value) => stage.is_spherical = truthy(value),
                ("distanceMultiplier", value) => stage.multiplier = distance("distanceMultiplier", value)?,
                ("minDistance", value) => {
                    stage.bounds.append(bson::raw::cstr!("$minDistance"), distance("minDistance", value)?);
                }
                ("maxDistance", value) => {
                    stage.bounds.append(bson::raw::cstr!("$maxDistance"), distance("maxDistance", value)?);
                }
                ("limit" | "num", _) => {
                    return error(
                        50858,
                        "$geoNear no longer supports the 'limit' parameter. Use a $limit stage instead.",
                    );
                }
                ("start", _) => return error(50856, "$geoNear no longer supports the 'start' argument."),
                (name, _) => {
                    return error(40415, format!("BSON field '$geoNear.{name}' is an unknown field."));
                }
            }
        }
        if matches!(stage.near, RawBson::Null) {
            return error(16605, "$geoNear requires a 'near' option as an Array or object");
        }
        stage.nearness("key")?; // what is wrong with the place is told now
        Ok(stage)
    }

    pub(in crate::aggregate) fn run<O: Outside>(self: &Arc<Self>, context: Context<O>) -> Rows<O::Error> {
        let stage = Arc::clone(self);
        lazily(move || {
            let key = match &stage.key {
                Some(key) => key.clone(),
                None => match context.outside.location_field(&context.collection)? {
                    Some(key) => key,
                    None => {
                        return Ok(error(
                            27,
                            "$geoNear requires a 2d or 2dsphere index, but none were found; or there are several, and 'key' must say which",
                        )?);
                    }
                },
            };
            let nearness = stage.nearness(&key)?;
            let filter = match &stage.query {
                None => nearness.clone(),
                Some(query) => nearness.and(&query.filter(&context.query, &context.variables)?)?,
            };
            let rows = context.outside.find(PipelineFind {
                collection: context.collection.to_string(),
                filter,
                sort: Sort::default(),
                skip: 0,
                limit: None,
                fields: None,
            })?;
            Ok(filter_map(rows, move |document| Ok(Some(stage.with_distance(document, &key, &nearness)?))))
        })
    }

    /// The condition on the distance.
    fn nearness(&self, key: &str) -> Result<Filter, QueryError> {
        let mut condition = RawDocumentBuf::new();
        match self.near.as_raw_bson_ref() {
            RawBsonRef::Document(place) if is_geojson(place) => {
                let mut inner = RawDocumentBuf::new();
                inner.append(bson::raw::cstr!("$geometry"), place.to_owned());
                for (name, value) in order::elements(&self.bounds) {
                    inner.append(name, value);
                }
                condition.append(bson::raw::cstr!("$nearSphere"), inner);
            }
            place => {
                let operator = if self.is_spherical {
                    bson::raw::cstr!("$nearSphere")
                } else {
                    bson::raw::cstr!("$near")
                };
                condition.append(operator, place);
                for (name, value) in order::elements(&self.bounds) {
                    condition.append(name, value);
                }
            }
        }
        let mut filter = RawDocumentBuf::new();
        match CString::try_from(key.to_owned()) {
            Ok(key) => filter.append(key, condition),
            Err(_) => return error(16411, "FieldPath field names may not contain null bytes"),
        }
        Filter::parse(&filter)
    }

    fn with_distance(
        &self,
        document: RawDocumentBuf,
        key: &str,
        nearness: &Filter,
    ) -> Result<RawDocumentBuf, QueryError> {
        let distance = |document: &RawDocument| nearness.nearness().and_then(|near| near.distance(document));
        let mut made = document;
        if let Some(path) = &self.location_field
            && let Some(location) = nearest_location(&made, key, &distance)?
        {
            made = edit::set(&made, path, location.item())?;
        }
        if let (Some(path), Some(distance)) = (&self.distance_field, distance(&made)) {
            let item = crate::raw::Item {
                kind: bson::spec::ElementType::Double,
                bytes: &(distance * self.multiplier).to_le_bytes(),
            };
            made = edit::set(&made, path, item)?;
        }
        check_row(&made)?;
        Ok(made)
    }
}

/// The location of `document` by which its distance counts.
fn nearest_location(
    document: &RawDocument,
    key: &str,
    distance: &impl Fn(&RawDocument) -> Option<f64>,
) -> Result<Option<Operand>, QueryError> {
    let (mut nearest, mut failure): (Option<(f64, Operand)>, _) = (None, None);
    let target = Path::parse(key)?;
    let _ = walk_document(document, path::Path::parse(key)?.parts(), Leaf::Opened, &mut |candidate| {
        let Some(value) = candidate.value else { return ControlFlow::Continue(()) };
        let mut one = RawArrayBuf::new();
        one.push(value);
        let location = crate::raw::array_items(&one).map(|items| items.first().copied().map(Operand::of));
        let far = match &location {
            Ok(Some(location)) => {
                edit::set(&RawDocumentBuf::new(), &target, location.item()).map(|alone| distance(&alone))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error.clone()),
        };
        match (far, location) {
            (Ok(Some(far)), Ok(Some(location))) => {
                if nearest.as_ref().is_none_or(|(known, _)| far < *known) {
                    nearest = Some((far, location));
                }
                ControlFlow::Continue(())
            }
            (Err(error), _) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(nearest.map(|(_, location)| location)),
    }
}

fn is_geojson(place: &RawDocument) -> bool {
    order::elements(place).any(|(name, _)| matches!(name.as_str(), "type" | "coordinates"))
}

/// A number that is not negative.
fn distance(name: &str, value: RawBsonRef<'_>) -> Result<f64, QueryError> {
    let Some(number) = Number::from_raw(value) else {
        return error(14, format!("$geoNear parameter '{name}' is of the wrong type {}", type_name(value)));
    };
    let number = number.to_f64();
    if number.is_nan() || number < 0.0 {
        return error(2, format!("{name} must be non-negative"));
    }
    Ok(number)
}
