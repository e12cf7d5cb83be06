//! One line of a bulk: a write in the shape of mongosh's `bulkWrite`, such as `{"deleteOne": {"filter": {"_id": 1}}}`.

use bson::{RawBsonRef, RawDocument};
use proto::v1::{
    self, DeleteModel, Pipeline, QueryOptions, ReplaceModel, UpdateModel, WriteModel, document, hint,
    write_model::Write,
};

use crate::extended_json;

/// The kinds of writes.
const KINDS: &str = "insertOne, updateOne, updateMany, replaceOne, deleteOne or deleteMany";

/// Reads a line.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn parse(text: &str) -> Result<WriteModel, String> {
    let line = extended_json::parse_document(text).map_err(|error| error.to_string())?;
    db_index::check_document(line.as_bytes()).map_err(|error| error.message)?;
    parse_document(&line)
}

/// Reads what a line says, which has passed the guard.
///
/// # Errors
/// As for [`parse`].
pub(crate) fn parse_document(line: &RawDocument) -> Result<WriteModel, String> {
    let mut elements = line.iter();
    let first = elements.next().transpose().map_err(|error| error.to_string())?;
    let (Some((kind, RawBsonRef::Document(said))), None) = (first, elements.next()) else {
        return Err(format!("a write is one field with a document: {KINDS}"));
    };
    let kind = kind.as_str();
    let fields = Fields::read(said).map_err(|fault| format!("{kind}: {fault}"))?;
    let write = match kind {
        "insertOne" => fields.insert(),
        "updateOne" => fields.update(false),
        "updateMany" => fields.update(true),
        "replaceOne" => fields.replace(),
        "deleteOne" => fields.delete(false),
        "deleteMany" => fields.delete(true),
        _ => return Err(format!("a write is {KINDS}, not {kind:.40}")),
    };
    Ok(WriteModel { write: Some(write.map_err(|fault| format!("{kind}: {fault}"))?) })
}

/// What a write says, whatever its kind.
#[derive(Default)]
struct Fields {
    document: Option<v1::Document>,
    filter: Option<v1::Document>,
    update: Option<v1::Document>,
    pipeline: Option<Pipeline>,
    replacement: Option<v1::Document>,
    upsert: Option<bool>,
    array_filters: Option<Vec<v1::Document>>,
    sort: Option<v1::Document>,
    hint: Option<v1::Hint>,
    collation: Option<v1::Document>,
    variables: Option<v1::Document>,
}

impl Fields {
    fn read(said: &RawDocument) -> Result<Self, String> {
        let mut fields = Self::default();
        for element in said {
            let (name, value) = element.map_err(|error| error.to_string())?;
            let name = name.as_str();
            match (name, value) {
                ("document", RawBsonRef::Document(value)) => fields.document = Some(message(value)),
                ("filter", RawBsonRef::Document(value)) => fields.filter = Some(message(value)),
                ("update", RawBsonRef::Document(value)) => fields.update = Some(message(value)),
                ("update", RawBsonRef::Array(_)) => {
                    fields.pipeline = Some(Pipeline { stages: several(name, value)? });
                }
                ("replacement", RawBsonRef::Document(value)) => fields.replacement = Some(message(value)),
                ("upsert", RawBsonRef::Boolean(value)) => fields.upsert = Some(value),
                ("arrayFilters", RawBsonRef::Array(_)) => {
                    fields.array_filters = Some(several(name, value)?);
                }
                ("sort", RawBsonRef::Document(value)) => fields.sort = Some(message(value)),
                ("hint", RawBsonRef::Document(value)) => {
                    fields.hint = Some(v1::Hint { index: Some(hint::Index::Keys(message(value))) });
                }
                ("hint", RawBsonRef::String(value)) => {
                    fields.hint = Some(v1::Hint { index: Some(hint::Index::Name(value.to_owned())) });
                }
                ("collation", RawBsonRef::Document(value)) => fields.collation = Some(message(value)),
                ("let", RawBsonRef::Document(value)) => fields.variables = Some(message(value)),
                (
                    "document" | "filter" | "update" | "replacement" | "upsert" | "arrayFilters" | "sort"
                    | "hint" | "collation" | "let",
                    value,
                ) => return Err(format!("{name} cannot be {:?}", value.element_type())),
                _ => return Err(format!("unknown field {name:.40}")),
            }
        }
        Ok(fields)
    }

    fn insert(mut self) -> Result<Write, String> {
        let document = self.document.take().ok_or("document is missing")?;
        self.nothing_left()?;
        Ok(Write::Insert(document))
    }

    fn update(mut self, many: bool) -> Result<Write, String> {
        let model = UpdateModel {
            filter: Some(self.filter.take().ok_or("filter is missing")?),
            update: self.update.take(),
            pipeline: self.pipeline.take(),
            many,
            upsert: self.upsert.take().unwrap_or_default(),
            array_filters: self.array_filters.take().unwrap_or_default(),
            sort: self.sort.take(),
            hint: self.hint.take(),
            options: Some(self.options()),
        };
        if model.update.is_none() && model.pipeline.is_none() {
            return Err("update is missing".to_owned());
        }
        self.nothing_left()?;
        Ok(Write::Update(model))
    }

    fn replace(mut self) -> Result<Write, String> {
        let model = ReplaceModel {
            filter: Some(self.filter.take().ok_or("filter is missing")?),
            replacement: Some(self.replacement.take().ok_or("replacement is missing")?),
            upsert: self.upsert.take().unwrap_or_default(),
            sort: self.sort.take(),
            hint: self.hint.take(),
            options: Some(self.options()),
            strict: false,
        };
        self.nothing_left()?;
        Ok(Write::Replace(model))
    }

    fn delete(mut self, many: bool) -> Result<Write, String> {
        let model = DeleteModel {
            filter: Some(self.filter.take().ok_or("filter is missing")?),
            many,
            hint: self.hint.take(),
            options: Some(self.options()),
        };
        self.nothing_left()?;
        Ok(Write::Delete(model))
    }

    fn options(&mut self) -> QueryOptions {
        let (variables, collation) = (self.variables.take(), self.collation.take());
        QueryOptions { variables, collation, ..QueryOptions::default() }
    }

    /// Whether every field has been taken: a kind of write refuses those of the others.
    fn nothing_left(&self) -> Result<(), String> {
        let left = [
            ("document", self.document.is_some()),
            ("filter", self.filter.is_some()),
            ("update", self.update.is_some() || self.pipeline.is_some()),
            ("replacement", self.replacement.is_some()),
            ("upsert", self.upsert.is_some()),
            ("arrayFilters", self.array_filters.is_some()),
            ("sort", self.sort.is_some()),
            ("hint", self.hint.is_some()),
            ("collation", self.collation.is_some()),
            ("let", self.variables.is_some()),
        ];
        match left.into_iter().find(|(_, is_left)| *is_left) {
            Some((name, _)) => Err(format!("unknown field {name}")),
            None => Ok(()),
        }
    }
}

/// The documents of an array.
fn several(name: &str, value: RawBsonRef<'_>) -> Result<Vec<v1::Document>, String> {
    let RawBsonRef::Array(array) = value else { return Err(format!("{name} is no array")) };
    let document = |value| match value {
        Ok(RawBsonRef::Document(document)) => Ok(message(document)),
        Ok(_) => Err(format!("{name} holds documents")),
        Err(error) => Err(format!("{error}")),
    };
    array.into_iter().map(document).collect()
}

pub(crate) fn message(document: &RawDocument) -> v1::Document {
    let document = document.to_owned();
    v1::Document { form: Some(document::Form::Bson(document.into_bytes().into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_write_is_read() {
        let of = |line: &str| parse(line).unwrap().write.unwrap();
        assert!(matches!(of(r#"{"insertOne": {"document": {"_id": 1}}}"#), Write::Insert(_)));
        let Write::Update(update) = of(
            r#"{"updateMany": {"filter": {}, "update": {"$set": {"a.$[x]": 1}}, "upsert": true, "arrayFilters": [{"x": 1}],
                "collation": {"locale": "de"}, "hint": "a_1", "let": {"v": 1}}}"#,
        ) else {
            panic!("no update")
        };
        assert!(update.many && update.upsert && update.array_filters.len() == 1 && update.pipeline.is_none());
        assert_eq!(update.hint.unwrap().index, Some(hint::Index::Name("a_1".into())));
        let options = update.options.unwrap();
        assert!(options.collation.is_some() && options.variables.is_some());
        let by_stages =
            of(r#"{"updateOne": {"filter": {}, "update": [{"$unset": "a"}, {"$set": {"b": 1}}]}}"#);
        let Write::Update(UpdateModel { pipeline: Some(pipeline), many: false, .. }) = by_stages else {
            panic!("no stages")
        };
        assert_eq!(pipeline.stages.len(), 2);
        let replace = of(r#"{"replaceOne": {"filter": {}, "replacement": {}, "sort": {"a": 1}}}"#);
        assert!(matches!(replace, Write::Replace(ReplaceModel { sort: Some(_), upsert: false, .. })));
        let delete = of(r#"{"deleteMany": {"filter": {}, "hint": {"a": 1}}}"#);
        assert!(matches!(delete, Write::Delete(DeleteModel { many: true, hint: Some(_), .. })));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, fault) in [
            ("{", "not JSON"),
            ("{}", "a write is one field"),
            (r#"{"insertOne": {}, "deleteOne": {}}"#, "a write is one field"),
            (r#"{"insertOne": 1}"#, "a write is one field"),
            (r#"{"insertMany": {}}"#, "not insertMany"),
            (r#"{"insertOne": {"doc": {}}}"#, "insertOne: unknown field doc"),
            (r#"{"insertOne": {"document": {}, "upsert": true}}"#, "insertOne: unknown field upsert"),
            (r#"{"updateOne": {"filter": {}}}"#, "updateOne: update is missing"),
            (r#"{"updateOne": {"update": {}}}"#, "updateOne: filter is missing"),
            (r#"{"updateOne": {"filter": {}, "update": [1]}}"#, "updateOne: update holds documents"),
            (r#"{"updateOne": {"filter": [], "update": {}}}"#, "updateOne: filter cannot be Array"),
            (r#"{"deleteOne": {"filter": {}, "sort": {"a": 1}}}"#, "deleteOne: unknown field sort"),
            (r#"{"replaceOne": {"filter": {}}}"#, "replaceOne: replacement is missing"),
        ] {
            let told = parse(line).unwrap_err();
            assert!(told.contains(fault), "{line}: {told}");
        }
    }
}
