//! What a client may send that is wrong: each has a clear answer, and nothing else is disturbed.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Calls, Peer, PeerOptions, code_of, json};
use proto::v1::{
    AddPeerRequest, AddWriterRequest, CreateCollectionRequest, CreateDatabaseRequest, CreateIndexRequest,
    CreateTicketRequest, DatabaseStatusRequest, DropIndexRequest, FindRequest, Index, InsertRequest,
    JoinDatabaseRequest, OpenTopicRequest, SetIndexersRequest, UpdateRequest, document,
};
use tonic::{Code, Status};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

async fn server() -> (Peer, Calls) {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    calls.insert("t", "c", &[r#"{"_id": 1, "a": 1, "s": "text", "list": [1]}"#]).await.unwrap();
    (peer, calls)
}

/// That the one document is as it was, and the server answers.
async fn undisturbed(calls: &Calls) {
    let found = calls.find(find("{}")).await.unwrap();
    assert_eq!(found, [r#"{"_id":1,"a":1,"s":"text","list":[1]}"#]);
}

fn find(filter: &str) -> FindRequest {
    FindRequest {
        database: "t".into(),
        collection: "c".into(),
        filter: Some(json(filter)),
        ..FindRequest::default()
    }
}

async fn insert_bytes(calls: &Calls, bytes: Vec<u8>) -> Status {
    let request = InsertRequest {
        database: "t".into(),
        collection: "c".into(),
        documents: vec![proto::v1::Document { form: Some(document::Form::Bson(bytes.into())) }],
        ..InsertRequest::default()
    };
    calls.documents.clone().insert(request).await.unwrap_err()
}

#[tokio::test]
async fn unknown_operators_and_malformed_filters_are_refused_with_the_code_of_mongodb() {
    let (_peer, calls) = server().await;
    for filter in [
        r#"{"a": {"$foo": 1}}"#,
        r#"{"$foo": [{"a": 1}]}"#,
        r#"{"a": {"$in": 5}}"#,
        r#"{"$and": []}"#,
        r#"{"$or": {"a": 1}}"#,
        r#"{"a": {"$not": 5}}"#,
    ] {
        let status = calls.find(find(filter)).await.unwrap_err();
        assert_eq!(
            (status.code(), code_of(&status)),
            (Code::InvalidArgument, 2),
            "{filter}: {}",
            status.message()
        );
        assert_eq!(
            calls.count("t", "c", filter).await.unwrap_err().code(),
            Code::InvalidArgument,
            "{filter}"
        );
    }
    undisturbed(&calls).await;
}

#[tokio::test]
async fn malformed_updates_are_refused_with_the_code_of_mongodb() {
    let (_peer, calls) = server().await;
    for (update, code) in [
        (r#"{"$foo": {"a": 1}}"#, 9),
        (r#"{"$inc": {"a": "x"}}"#, 14),
        (r#"{"$inc": {"s": 1}}"#, 14),
        (r#"{"$set": {"_id": 2}}"#, 66),
        (r#"{"$set": {"a": 1}, "$inc": {"a": 1}}"#, 40),
        (r#"{"$set": {"": 1}}"#, 56),
        (r#"{"$set": {"a.b": 1}}"#, 28),
        (r#"{"$push": {"a": 1}}"#, 2),
    ] {
        let status = calls.update_many("t", "c", r#"{"_id": 1}"#, update).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{update}: {}", status.message());
        assert_eq!(code_of(&status), code, "{update}: {}", status.message());
    }
    let no_update = UpdateRequest {
        database: "t".into(),
        collection: "c".into(),
        filter: Some(json("{}")),
        ..UpdateRequest::default()
    };
    let status = calls.documents.clone().update_one(no_update).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "update is missing"));
    undisturbed(&calls).await;
}

#[tokio::test]
async fn malformed_bson_is_refused_before_anything_decodes_it() {
    let (_peer, calls) = server().await;
    let mut deep = bson::rawdoc! {};
    for _ in 0..5_000 {
        deep = bson::rawdoc! {"a": deep};
    }
    let truncated = {
        let mut bytes = bson::rawdoc! {"a": "some text"}.into_bytes();
        bytes.truncate(bytes.len() - 3);
        bytes
    };
    let bad_utf8 = {
        let mut bytes = bson::rawdoc! {"a": "text"}.into_bytes();
        let at = bytes.len() - 4;
        bytes[at] = 0xff;
        bytes
    };
    let duplicate = b"\x13\0\0\0\x10a\0\x01\0\0\0\x10a\0\x02\0\0\0\0".to_vec();
    for (what, bytes) in [
        ("empty", vec![]),
        ("garbage", vec![0xff; 100]),
        ("truncated", truncated),
        ("bad UTF-8", bad_utf8),
        ("two fields of one name", duplicate),
        ("deep", deep.into_bytes()),
    ] {
        let status = insert_bytes(&calls, bytes).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {}", status.message());
        assert!(status.message().starts_with("document 0: "), "{what}: {}", status.message());
    }
    undisturbed(&calls).await;
}

#[tokio::test]
async fn a_document_is_at_most_16_mib() {
    let (_peer, calls) = server().await;
    let of_size = |bytes: usize| bson::rawdoc! {"_id": 2, "pad": "x".repeat(bytes)}.into_bytes();
    let status = insert_bytes(&calls, of_size(16 << 20)).await;
    assert_eq!((status.code(), code_of(&status)), (Code::InvalidArgument, 10334), "{}", status.message());
    let status = insert_bytes(&calls, of_size(18 << 20)).await;
    assert_eq!(status.code(), Code::OutOfRange, "{}", status.message());
    undisturbed(&calls).await;
}

#[tokio::test]
async fn malformed_extended_json_is_refused() {
    let (_peer, calls) = server().await;
    let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    for text in ["", "{", "[]", "5", r#"{"a": {"$oid": "xyz"}}"#, r#"{"a": {"$date": "soon"}}"#, &deep] {
        let status = calls.insert("t", "c", &[text]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{}", status.message());
        assert!(status.message().len() < 2_000);
        assert_eq!(calls.find(find(text)).await.unwrap_err().code(), Code::InvalidArgument);
    }
    undisturbed(&calls).await;
}

#[tokio::test]
async fn ids_of_kinds_that_cannot_be_ids_are_refused() {
    let (_peer, calls) = server().await;
    for id in ["[1]", r#"{"$regularExpression": {"pattern": "x", "options": ""}}"#] {
        let status = calls.insert("t", "c", &[&format!(r#"{{"_id": {id}}}"#)]).await.unwrap_err();
        assert_eq!(
            (status.code(), code_of(&status)),
            (Code::InvalidArgument, 53),
            "{id}: {}",
            status.message()
        );
    }
    undisturbed(&calls).await;
}

#[tokio::test]
async fn an_insert_of_nothing_is_refused() {
    let (_peer, calls) = server().await;
    assert_eq!(calls.insert("t", "c", &[]).await.unwrap_err().code(), Code::InvalidArgument);
    undisturbed(&calls).await;
}

#[tokio::test]
async fn unknown_databases_are_not_found_by_any_call() {
    let (_peer, calls) = server().await;
    let find = FindRequest { database: "none".into(), ..find("{}") };
    let status = DatabaseStatusRequest { database: "none".into(), with_digest: false };
    let refusals = [
        calls.find(find).await.unwrap_err(),
        calls.insert("none", "c", &["{}"]).await.unwrap_err(),
        calls.count("none", "c", "{}").await.unwrap_err(),
        calls.update_many("none", "c", "{}", r#"{"$set": {"a": 1}}"#).await.unwrap_err(),
        calls.create_index("none", "c", r#"{"a": 1}"#, false).await.unwrap_err(),
        calls.databases.clone().status(status).await.unwrap_err(),
        calls.tickets.clone().create(CreateTicketRequest { database: "none".into() }).await.unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::NotFound, "{}", refusal.message());
    }
    undisturbed(&calls).await;
}

#[tokio::test]
async fn bad_names_are_refused() {
    let (_peer, calls) = server().await;
    let long = "x".repeat(121);
    for name in ["", "Upper", "sl/ash", "..\\x", "sp ace", "nul\0", &long] {
        let request = CreateDatabaseRequest { name: name.to_owned() };
        let status = calls.databases.clone().create(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name:?}: {}", status.message());
        let request = OpenTopicRequest { topic: name.to_owned() };
        let status = calls.databases.clone().open_topic(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name:?}: {}", status.message());
    }
    for name in ["", "do$lar", "nul\0", "system.catalog", &long] {
        let status = calls.insert("t", name, &["{}"]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name:?}: {}", status.message());
        let request = CreateCollectionRequest {
            database: "t".into(),
            collection: name.to_owned(),
            collation: None,
            write_concern: None,
        };
        let status = calls.collections.clone().create(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name:?}: {}", status.message());
    }
    undisturbed(&calls).await;
}

#[tokio::test]
async fn bad_indexes_are_refused() {
    let (_peer, calls) = server().await;
    for keys in ["{}", r#"{"a": 0}"#, r#"{"a": "up"}"#, r#"{"": 1}"#, r#"{"a..b": 1}"#, r#"{"$a": 1}"#] {
        let status = calls.create_index("t", "c", keys, false).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{keys}: {}", status.message());
    }
    let absent =
        CreateIndexRequest { database: "t".into(), collection: "c".into(), index: None, write_concern: None };
    let status = calls.collections.clone().create_index(absent).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let keyless = CreateIndexRequest {
        database: "t".into(),
        collection: "c".into(),
        index: Some(Index::default()),
        write_concern: None,
    };
    let status = calls.collections.clone().create_index(keyless).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "keys is missing"));
    let drop = |name: &str| DropIndexRequest {
        database: "t".into(),
        collection: "c".into(),
        name: name.to_owned(),
        keys: None,
        write_concern: None,
    };
    let status = calls.collections.clone().drop_index(drop("none")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{}", status.message());
    let status = calls.collections.clone().drop_index(drop("_id_")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{}", status.message());
    undisturbed(&calls).await;
}

#[tokio::test]
async fn keys_tickets_and_addresses_that_are_none_are_refused() {
    let (peer, calls) = server().await;
    for key in ["", "xyz", &"0".repeat(63), &"g".repeat(64)] {
        let request = AddWriterRequest {
            database: "t".into(),
            key: key.to_owned(),
            role: 0,
            more_roles: Vec::new(),
            write_concern: None,
        };
        let status = calls.writers.clone().add(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{key}: {}", status.message());
    }
    // A key of small order, under which anybody can sign.
    calls.databases.clone().create(CreateDatabaseRequest { name: "own".into() }).await.unwrap();
    let weak = format!("01{}", "0".repeat(62));
    let request = AddWriterRequest {
        database: "own".into(),
        key: weak,
        role: 0,
        more_roles: Vec::new(),
        write_concern: None,
    };
    let status = calls.writers.clone().add(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{}", status.message());
    let request = SetIndexersRequest { database: "t".into(), keys: vec![], write_concern: None };
    assert_eq!(calls.writers.clone().set_indexers(request).await.unwrap_err().code(), Code::InvalidArgument);
    let secret = "combdb-planted-secret";
    for ticket in ["", "nonsense", secret] {
        let request = JoinDatabaseRequest { ticket: ticket.to_owned(), name: "x".into() };
        let status = calls.databases.clone().join(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{ticket}: {}", status.message());
        assert!(!status.message().contains(secret));
    }
    for address in ["", "127.0.0.1", "nonsense@127.0.0.1:1"] {
        let request = AddPeerRequest { address: address.to_owned() };
        let status = calls.peers.clone().add(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{address}: {}", status.message());
    }
    undisturbed(&calls).await;
    assert!(!peer.log().contains(secret), "a ticket is in the log");
}
