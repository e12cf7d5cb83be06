//! What is said of a key that a unique index holds already.

use bson::Bson;
use db_index::{ErrorCode, IndexDefinition, QueryError, decode_field, split_types};

/// How many characters of the key are named.
const KEY_CHARACTERS_MAX: usize = 200;

/// The error for a document whose `_id` another one has, in MongoDB's words.
pub(super) fn of_id(collection: &str, id: &str) -> QueryError {
    error(collection, "_id_", &format!("{{ _id: {id} }}"))
}

/// The error for an entry whose values another document holds. The entry is given without the index's prefix, the key of the
/// `_id` behind; its types as they are stored.
pub(super) fn of_entry(
    collection: &str,
    index: &IndexDefinition,
    mut key: &[u8],
    types: &[u8],
) -> QueryError {
    let mut types = split_types(types).map_or(&[][..], |(types, _)| types);
    let mut named = Vec::new();
    for field in index.fields() {
        // An entry is what this program has just made: one that does not read back is named as far as it does.
        let Ok(value) = decode_field(&mut key, &mut types, field.direction()) else { break };
        let value = value.and_then(|value| Bson::try_from(value).ok()).unwrap_or(Bson::Null);
        named.push(format!("{}: {value}", field.path()));
    }
    error(collection, index.name(), &format!("{{ {} }}", named.join(", ")))
}

fn error(collection: &str, index: &str, key: &str) -> QueryError {
    let mut named: String = key.chars().take(KEY_CHARACTERS_MAX).collect();
    if named.len() < key.len() {
        named.push('…');
    }
    let message =
        format!("E11000 duplicate key error collection: {collection} index: {index} dup key: {named}");
    QueryError::new(ErrorCode::DUPLICATE_KEY, message)
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;
    use crate::store::Store;

    #[test]
    fn the_key_is_named_with_its_values_and_a_long_one_is_cut() {
        let store = Store::in_memory().unwrap();
        let people = store.create_database("demo").unwrap().collection::<bson::Document>("people");
        people
            .create_index(crate::IndexModel::new(doc! { "name": 1, "n.born": -1 }).unique(true))
            .run()
            .unwrap();
        people.insert_one(doc! { "_id": 1, "name": "Ada", "n": { "born": 1815 } }).run().unwrap();
        let again = [
            (doc! { "_id": 1 }, r"index: _id_ dup key: { _id: 1 }"),
            (
                doc! { "_id": 2, "name": "Ada", "n": { "born": 1815.0 } },
                r#"dup key: { name: "Ada", n.born: 1815 }"#,
            ),
        ];
        for (document, expected) in again {
            let refused = people.insert_one(document).run().unwrap_err().to_string();
            assert!(refused.contains("E11000 duplicate key error collection: people index: "), "{refused}");
            assert!(refused.contains(expected), "{refused}");
        }
        let long = of_id("c", &"ü".repeat(1_000));
        assert!(long.to_string().len() < 1_000);
    }
}
