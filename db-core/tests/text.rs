//! Text search through the API.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use bson::{Document, doc};
use db_core::{Collection, Find, IndexModel, Store};

fn shops() -> Collection<Document> {
    let shops = Store::in_memory().unwrap().create_database("test").unwrap().collection("shops");
    let documents = [
        doc! { "_id": 1, "name": "Java Hut", "text": "Coffee and cakes", "town": "a" },
        doc! { "_id": 2, "name": "Burger Buns", "text": "Gourmet hamburgers", "town": "a" },
        doc! { "_id": 3, "name": "Coffee Shop", "text": "Just coffee", "town": "b" },
        doc! { "_id": 4, "name": "Clothes Clothes Clothes", "text": "Discount clothing", "town": "b" },
        doc! { "_id": 5, "name": "Java Shopping", "text": "Indonesian goods", "town": "a" },
    ];
    shops.insert_many(documents).run().unwrap();
    shops
}

fn ids(find: Find<Document>) -> Vec<i32> {
    find.run().unwrap().map(|document| document.unwrap().get_i32("_id").unwrap()).collect()
}

fn search(text: &str) -> Document {
    doc! { "$text": { "$search": text } }
}

#[test]
fn terms_phrases_and_negations_are_found_by_the_index() {
    let shops = shops();
    assert_eq!(shops.find(search("coffee")).run().err().unwrap().code(), Some(27));
    shops.create_index(doc! { "name": "text", "text": "text" }).run().unwrap();
    for (text, expected) in [
        ("java coffee shop", vec![1, 3, 5]),
        ("\"coffee shop\"", vec![3]),
        ("java shop -coffee", vec![5]),
        ("CLOTHE", vec![4]),
        ("hamburger", vec![2]),
        ("the", vec![]),
    ] {
        assert_eq!(ids(shops.find(search(text)).sort(doc! { "_id": 1 })), expected, "{text}");
    }
    let with_more = doc! { "$text": { "$search": "coffee shop" }, "town": "b" };
    assert_eq!(ids(shops.find(with_more)), [3]);
    let explained = shops.find(search("coffee")).explain().unwrap();
    let stats = explained.get_document("executionStats").unwrap();
    assert_eq!(stats.get_i64("totalKeysExamined").unwrap(), 2, "{explained}");
    assert_eq!(shops.count_documents(search("coffee")).run().unwrap(), 2);
}

#[test]
fn documents_that_change_are_found_by_their_new_texts() {
    let shops = shops();
    shops.create_index(doc! { "town": 1, "$**": "text" }).run().unwrap();
    shops.update_one(doc! { "_id": 2 }, doc! { "$set": { "text": "Tea and coffee" } }).run().unwrap();
    assert_eq!(ids(shops.find(search("hamburgers"))), Vec::<i32>::new());
    assert_eq!(
        shops.update_many(search("coffee"), doc! { "$set": { "has": true } }).run().unwrap().modified_count,
        3
    );
    assert_eq!(shops.delete_many(search("coffee")).run().unwrap().deleted_count, 3);
    assert_eq!(ids(shops.find(doc! {}).sort(doc! { "_id": 1 })), [4, 5]);
    let refused = shops.insert_one(doc! { "name": "x", "language": "klingon" }).run();
    assert_eq!(refused.unwrap_err().code(), Some(17262));
    assert_eq!(shops.create_index(doc! { "name": "text" }).run().unwrap_err().code(), Some(85));
}

#[test]
fn scores_are_shown_and_sorted_by() {
    let shops = shops();
    let model =
        IndexModel::new(doc! { "name": "text", "text": "text" }).option("weights", doc! { "name": 5 });
    shops.create_index(model).run().unwrap();
    let by_score = || doc! { "score": { "$meta": "textScore" } };
    assert_eq!(ids(shops.find(search("coffee shop")).sort(by_score())), [3, 5, 1]);
    let shown: Vec<Document> = shops
        .find(search("coffee shop"))
        .sort(by_score())
        .projection(by_score())
        .run()
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(shown[0].get_str("name").unwrap(), "Coffee Shop");
    let scores: Vec<f64> = shown.iter().map(|shop| shop.get_f64("score").unwrap()).collect();
    // Each word is half of what it stands in, and a name weighs five times as much.
    assert_eq!(scores[0], 2.0 * 5.0 * 0.75 + 0.75);
    assert_eq!(scores[1], 5.0 * 0.75);
    assert_eq!(scores[2], 0.75);
    let only = shops
        .find(search("cakes"))
        .projection(doc! { "_id": 0, "town": 1, "score": { "$meta": "textScore" } });
    assert_eq!(only.run().unwrap().next().unwrap().unwrap(), doc! { "town": "a", "score": 0.75 });
    assert_eq!(shops.find(doc! {}).sort(by_score()).run().err().unwrap().code(), Some(40218));
    assert_eq!(ids(shops.find(search("coffee shop")).sort(by_score()).limit(1)), [3]);
}
