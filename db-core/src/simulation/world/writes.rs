//! What peers write: to a collection that is always there and is watched, and to others that come and go.

use bson::oid::ObjectId;
use bson::{DateTime, rawdoc};

use super::World;
use crate::engine::{DeleteRequest, Request, UpdateRequest};
use crate::simulation::node::document;
use crate::simulation::requests;

/// How many documents are written most.
const SHARED: u64 = 3;

impl World {
    pub(super) fn write(&mut self, at: usize) {
        // Some documents are everybody's, so that much is written without having seen what others write.
        let documents = if self.chance.one_in(3) { self.documents } else { self.documents.min(SHARED) };
        let id = 1 + self.chance.below(documents.max(1)) as i32;
        let filter = rawdoc! { "_id": id };
        let update = |filter, update| Request::Update(requests::update("c", filter, update));
        let some = self.chance.below(6) as i32;
        let request = match self.chance.below(30) {
            0..9 => return self.insert(at),
            9 | 10 => update(filter, rawdoc! { "$inc": { "n": 1 } }),
            11 => update(filter, rawdoc! { "$set": { "n": some } }),
            12 => update(rawdoc! { "n": some }, rawdoc! { "$push": { "l": some } }),
            13 | 14 if self.chance.one_in(2) => update(filter, rawdoc! { "$set": { "u": some } }),
            13 | 14 => update(filter, rawdoc! { "$set": { "q": some, "n": some } }),
            15 => update(filter, rawdoc! { "$unset": { "u": 1, "q": 1 }, "$pull": { "l": some } }),
            16..18 => Request::Delete(requests::delete("c", filter)),
            18..22 => return self.write_beside(at),
            22 | 23 => Request::Update(UpdateRequest {
                upsert: Some(ObjectId::from_bytes([0; 12])),
                multi: false,
                ..requests::update(
                    "c",
                    rawdoc! { "_id": id + self.chance.below(3) as i32 },
                    rawdoc! { "$set": { "n": some }, "$push": { "l": some } },
                )
            }),
            24 | 25 => Request::Update(UpdateRequest {
                replacement: true,
                multi: false,
                ..requests::update("c", filter, rawdoc! { "n": some, "l": [some], "s": "replaced" })
            }),
            26 | 27 => {
                self.documents += 1;
                let documents = vec![document(self.documents), document(id as u64)];
                let parts = vec![
                    update(filter.clone(), rawdoc! { "$set": { "u": some } }),
                    Request::Insert { collection: "c".to_owned(), documents, ordered: false },
                    Request::Delete(requests::delete("c", rawdoc! { "n": some })),
                    update(filter, rawdoc! { "$inc": { "n": -1 } }),
                ];
                Request::Bulk { parts, ordered: self.chance.one_in(2) }
            }
            28 => requests::create_index("c", rawdoc! { "name": "s_1", "key": { "s": 1, "n": 1 } }),
            _ => Request::DropIndex { collection: "c".to_owned(), name: "s_1".to_owned() },
        };
        self.call(at, request);
    }

    /// Writes much that nobody else has seen.
    pub(super) fn write_much(&mut self, at: usize) {
        for _ in 0..5 + self.chance.below(25) {
            self.write(at);
        }
    }

    /// Writes to collections that come and go and change their names.
    fn write_beside(&mut self, at: usize) {
        let [collection, other] = if self.chance.one_in(2) { ["d", "e"] } else { ["e", "d"] };
        let collection = collection.to_owned();
        let some = self.chance.below(6) as i32;
        let request = match self.chance.below(22) {
            0..6 => {
                let ids =
                    (0..=self.chance.below(3)).map(|_| self.chance.below(12) as i32).collect::<Vec<_>>();
                let expires = DateTime::from_millis((self.now_ms + self.chance.below(2_000)) as i64);
                let document = |id| rawdoc! { "_id": id, "n": some, "t": expires, "s": "s".repeat(60) };
                let documents = ids.into_iter().map(document).collect();
                Request::Insert { collection, documents, ordered: self.chance.one_in(2) }
            }
            6..9 => Request::Update(requests::update(
                &collection,
                rawdoc! { "n": some },
                rawdoc! { "$inc": { "n": 1 } },
            )),
            9 | 10 => {
                let id = self.chance.below(12) as i32;
                let update = rawdoc! { "$set": { "n": some, "m": some }, "$currentDate": { "t": true } };
                Request::Update(requests::update(&collection, rawdoc! { "_id": id }, update))
            }
            11 => Request::Delete(DeleteRequest {
                multi: true,
                ..requests::delete(&collection, rawdoc! { "n": { "$lt": some } })
            }),
            12 => requests::create_index(
                &collection,
                rawdoc! { "name": "n_1", "key": { "n": 1 }, "unique": some == 0, "sparse": true },
            ),
            13 => requests::create_index(
                &collection,
                rawdoc! { "name": "t_1", "key": { "t": 1 }, "expireAfterSeconds": some % 2 },
            ),
            14 | 15 => Request::Expire,
            16 => Request::DropIndexes { collection },
            17 => {
                let delete = ["delete-wins", "update-wins"][self.chance.below(2) as usize];
                let path = ["last", "max", "min", "reject-concurrent"][self.chance.below(4) as usize];
                let change = rawdoc! { "conflicts": { "delete": delete, "paths": { "n": path } } };
                Request::ChangeCollection { collection, change }
            }
            18 | 19 => Request::DropCollection { collection },
            _ => {
                let drop_target = self.chance.one_in(2);
                Request::RenameCollection { collection, to: other.to_owned(), drop_target }
            }
        };
        self.call(at, request);
    }

    pub(super) fn insert(&mut self, at: usize) {
        // Some `_id`s are inserted by several: then the later in the order is rejected.
        self.documents += u64::from(!self.chance.one_in(8));
        let documents = vec![document(self.documents)];
        self.call(at, requests::insert("c", documents));
    }
}
