//! An operation reduced to some of its parts.

use bson::RawDocumentBuf;

use super::{Operation, UpdateOperation};

impl Operation {
    /// The operation with these of its parts (documents, ids, definitions), ascending, and no others. One that is not made of
    /// parts stays whole.
    pub(crate) fn only_parts(self, parts: &[usize]) -> Self {
        let only = |all| only(all, parts);
        match self {
            Self::Insert { collection, documents } => Self::Insert { collection, documents: only(documents) },
            Self::Update(update) => Self::Update(UpdateOperation { ids: only(update.ids), ..update }),
            Self::Delete { collection, ids, guard } => Self::Delete { collection, ids: only(ids), guard },
            Self::Expire { collection, index, now_ms, ids } => {
                Self::Expire { collection, index, now_ms, ids: only(ids) }
            }
            Self::CreateIndexes { collection, definitions } => {
                Self::CreateIndexes { collection, definitions: only(definitions) }
            }
            Self::Dismiss { collection, ids } => Self::Dismiss { collection, ids: only(ids) },
            whole => whole,
        }
    }
}

fn only(all: Vec<RawDocumentBuf>, parts: &[usize]) -> Vec<RawDocumentBuf> {
    let mut wanted = parts.iter().peekable();
    let keep = |(position, part)| wanted.next_if(|wanted| **wanted == position).map(|_| part);
    all.into_iter().enumerate().filter_map(keep).collect()
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn only_the_named_parts_stay() {
        let documents = (0..5).map(|id| rawdoc! { "_id": id }).collect();
        let insert = Operation::Insert { collection: "c".into(), documents };
        let documents = vec![rawdoc! { "_id": 1 }, rawdoc! { "_id": 4 }];
        assert_eq!(insert.only_parts(&[1, 4, 9]), Operation::Insert { collection: "c".into(), documents });
        let drop = Operation::DropCollection { collection: "c".into() };
        assert_eq!(drop.clone().only_parts(&[0]), drop);
    }
}
