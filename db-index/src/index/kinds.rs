//! Which kinds of fields and which options go together in one index.

use super::{FieldKind, IndexField, Options, cannot_create, wildcard};
use crate::error::{ErrorCode, QueryError};

/// Checks that an index of these fields can have these options.
///
/// # Errors
/// `CannotCreateIndex` (67) mostly; 16764 for a hashed index that is to be unique, 31303 for two hashed fields; for a
/// `wildcardProjection` `BadValue` (2) without a wildcard field, `FailedToParse` (9) with one below a path.
pub(super) fn check(fields: &[IndexField], options: &Options) -> Result<(), QueryError> {
    if options.expire_after_seconds.is_some() && fields.len() > 1 {
        return Err(cannot_create(
            "TTL indexes are single-field indexes, compound indexes do not support TTL",
        ));
    }
    let of_kind = |kind: FieldKind| fields.iter().filter(move |field| field.kind() == kind);
    match of_kind(FieldKind::Hashed).count() {
        1 if options.unique => {
            return Err(QueryError::new(
                ErrorCode::HASHED_UNIQUE,
                "Currently hashed indexes cannot guarantee uniqueness. Use a regular index.",
            ));
        }
        0 | 1 => {}
        count => {
            return Err(QueryError::new(
                ErrorCode::HASHED_FIELDS,
                format!("A maximum of one index field is allowed to be hashed but found {count}"),
            ));
        }
    }
    check_special(fields, options)?;
    let mut wildcards = of_kind(FieldKind::Wildcard);
    let Some(wildcard) = wildcards.next() else {
        return match options.wildcard_projection {
            Some(_) => Err(QueryError::bad_value(
                "The field 'wildcardProjection' is only allowed in a wildcard index",
            )),
            None => Ok(()),
        };
    };
    if wildcards.next().is_some() {
        return Err(cannot_create("Only one wildcard field is allowed in an index"));
    }
    check_wildcard(wildcard, fields, options)
}

/// Checks geospatial and text fields.
fn check_special(fields: &[IndexField], options: &Options) -> Result<(), QueryError> {
    let special: Vec<&IndexField> = fields.iter().filter(|field| field.kind().is_special()).collect();
    let Some(first) = special.first() else { return Ok(()) };
    if fields.iter().any(|field| !field.kind().is_special() && !field.kind().is_plain()) {
        return Err(cannot_create("an index cannot have fields of different special kinds"));
    }
    if special.iter().any(|field| field.kind() != first.kind()) {
        return Err(cannot_create("Can't use more than one index plugin for a single index."));
    }
    match first.kind() {
        FieldKind::Flat if special.len() > 1 => {
            Err(cannot_create("2d has to be first in index, and only once"))
        }
        FieldKind::Flat if fields.first().is_none_or(|field| field.kind() != FieldKind::Flat) => {
            Err(cannot_create("2d has to be first in index"))
        }
        FieldKind::Flat | FieldKind::Text if options.collation.is_some() => {
            Err(cannot_create("geospatial 2d and text indexes do not support collation"))
        }
        FieldKind::Text if options.unique => Err(cannot_create("a text index cannot be unique")),
        _ => Ok(()),
    }
}

fn check_wildcard(wildcard: &IndexField, fields: &[IndexField], options: &Options) -> Result<(), QueryError> {
    let refused = [
        ("unique", options.unique),
        ("sparse", options.sparse),
        ("expireAfterSeconds", options.expire_after_seconds.is_some()),
    ];
    if let Some((option, _)) = refused.into_iter().find(|(_, is_asked)| *is_asked) {
        return Err(cannot_create(format!("Index type 'wildcard' does not support the {option} option")));
    }
    let projection = options.wildcard_projection.as_ref();
    if projection.is_some() && !wildcard.parts().is_empty() {
        return Err(QueryError::new(
            ErrorCode::FAILED_TO_PARSE,
            "The field 'wildcardProjection' is only allowed when 'key' is {\"$**\": 1}",
        ));
    }
    if fields.len() > 1 && projection.is_none() && wildcard.parts().is_empty() {
        return Err(cannot_create("A compound wildcard index on all fields needs a 'wildcardProjection'"));
    }
    for field in fields.iter().filter(|field| field.kind() != FieldKind::Wildcard) {
        let path: Vec<&str> = field.parts().iter().map(String::as_str).collect();
        if !field.kind().is_plain() {
            return Err(cannot_create(format!("a wildcard index cannot have the field '{}'", field.path())));
        }
        if wildcard::reach(wildcard.parts(), projection, &path) != wildcard::Reach::Outside {
            return Err(cannot_create(format!(
                "the wildcard field of an index cannot hold its other field '{}'",
                field.path()
            )));
        }
    }
    Ok(())
}
