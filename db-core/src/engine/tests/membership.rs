//! Roles, names, keys that take the place of others, and what becomes of entries of those who may not write any more.

use bson::rawdoc;

use super::*;
use crate::driver::published::Published;
use crate::entry::sign_link;
use crate::log::{LogPage, LogRange, Place};
use crate::view::{identities, members};

impl Peer {
    fn set_roles(&mut self, writer: WriterKey, roles: Roles) -> Result<Reply> {
        self.call(Request::SetRoles { writer, roles })
    }

    fn name(&mut self, writer: WriterKey, name: &str) -> Result<Reply> {
        self.call(Request::NameWriter { writer: Some(writer), name: name.to_owned() })
    }

    fn roles_of(&self, writer: &WriterKey) -> Roles {
        members::roles(&self.engine.view().unwrap(), &self.engine.identity.genesis, writer).unwrap()
    }

    fn name_of(&self, writer: &WriterKey) -> Option<String> {
        identities::name(&self.engine.view().unwrap(), writer).unwrap()
    }

    fn rotate(&mut self, seed: u8) -> Result<WriterKey> {
        self.call(Request::RotateKey { seed: [seed; 32] })?;
        Ok(self.engine.writer())
    }
}

/// An entry of a second writer that holds these operations.
fn run_of(peer: &Peer, author: &SigningKey, operations: &[Operation]) -> VerifiedRun {
    forged_run_with(peer, author, crate::payload::pack(&crate::operation::encode(operations)), |_| {})
}

#[test]
fn a_reader_writes_nothing_also_in_an_open_database() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.call(Request::SetIndexers { writers: vec![writer_key(1)] }).unwrap();
    a.set_roles(writer_key(2), Roles::READER).unwrap();
    b.receive(&a.runs());
    assert_eq!(b.insert(rawdoc! { "_id": 1 }).unwrap_err().kind(), ErrorKind::Denied);
    a.set_roles(writer_key(2), Roles::WRITER).unwrap();
    b.receive(&a.runs());
    b.insert(rawdoc! { "_id": 1 }).unwrap();
    // Neither the last indexer nor the last admin can be demoted.
    assert_eq!(a.set_roles(writer_key(1), Roles::WRITER).unwrap_err().kind(), ErrorKind::Invalid);
    a.set_roles(writer_key(2), Roles::INDEXER).unwrap();
    assert_eq!(a.set_roles(writer_key(1), Roles::INDEXER).unwrap_err().kind(), ErrorKind::Invalid);
    a.set_roles(writer_key(1), Roles::ADMIN).unwrap();
    confirm(&mut [&mut a, &mut b]);
    assert_eq!(b.engine.status().unwrap().indexers, vec![writer_key(2)]);
}

#[test]
fn nothing_of_an_unordered_insert_holds_where_its_author_may_not_write() {
    let mut b = peer(2, &closed(1));
    let documents = (1..4).map(|id| rawdoc! { "_id": id }).collect();
    let insert = Request::Insert { collection: "c".to_owned(), documents, ordered: false };
    assert_eq!(b.call(insert).unwrap_err().kind(), ErrorKind::Denied);
    // Whoever stored an entry of somebody who is not admitted would be cut off by all.
    assert_eq!(b.engine.end(), 0);
}

#[test]
fn who_writes_names_itself_and_an_admin_anybody() {
    let (mut a, mut b) = (peer(1, &closed(1)), peer(2, &closed(1)));
    a.set_roles(writer_key(2), Roles::WRITER).unwrap();
    b.receive(&a.runs());
    b.name(writer_key(2), "Ben").unwrap();
    assert_eq!(b.name(writer_key(1), "Not Ben").unwrap_err().kind(), ErrorKind::Denied);
    for bad in ["a\nb", "\u{1b}[31mred", " x", "a\u{202E}b", &"x".repeat(129)] {
        assert_eq!(b.name(writer_key(2), bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
    }
    // A program of its own making gets no further.
    let bad = Operation::NameWriter { writer: writer_key(2), name: "\u{7}".to_owned() };
    let run = run_of(&b, &secret(2), &[bad]);
    b.receive(&[run]);
    assert_eq!(b.name_of(&writer_key(2)).as_deref(), Some("Ben"));
    a.receive(&b.runs());
    a.name(writer_key(1), "Ada").unwrap();
    a.name(writer_key(2), "Benjamin").unwrap();
    b.receive(&a.runs());
    let new = b.rotate(1).unwrap();
    assert_eq!(b.name_of(&new).as_deref(), Some("Benjamin"), "the name is the writer's under all its keys");
    b.name(writer_key(2), "").unwrap();
    assert_eq!(b.name_of(&new), None);
    confirm(&mut [&mut a, &mut b]);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn rights_and_vote_pass_to_the_new_key_and_the_old_one_has_none() {
    let mut a = peer(1, &closed(1));
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let mut copy = peer(1, &closed(1));
    copy.receive(&a.runs());
    let new = a.rotate(1).unwrap();
    assert_ne!(new, writer_key(1));
    a.insert(rawdoc! { "_id": 2 }).unwrap();
    assert_eq!(a.engine.status().unwrap().indexers, vec![new], "it was the only one: confirmed at once");
    assert_eq!(a.engine.status().unwrap().tail, 0);
    assert_eq!(
        (a.roles_of(&writer_key(1)), a.roles_of(&new)),
        (Roles::NONE, Roles::ADMIN.with(Roles::INDEXER))
    );
    let mut a = a.restart();
    assert_eq!(a.engine.writer(), new, "the key outlives the process");
    a.insert(rawdoc! { "_id": 3 }).unwrap();
    a.set_roles(writer_key(2), Roles::WRITER).unwrap();
    // Who has kept the old key, and its store, gets nowhere with it.
    copy.receive(&a.runs());
    assert_eq!(copy.insert(rawdoc! { "_id": 4 }).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!((copy.digest(), copy.order()), (a.digest(), a.order()));
    let last = a.rotate(2).unwrap();
    let identity = identities::identity(&a.engine.view().unwrap(), &last).unwrap();
    assert_eq!(identity, writer_key(1));
}

#[test]
fn two_indexers_go_on_confirming_while_one_of_them_changes_its_key() {
    let (mut a, mut b) = (peer(1, &closed(1)), peer(2, &closed(1)));
    a.set_roles(writer_key(2), Roles::INDEXER).unwrap();
    confirm(&mut [&mut a, &mut b]);
    let new = b.rotate(1).unwrap();
    b.insert(rawdoc! { "_id": 1 }).unwrap();
    confirm(&mut [&mut a, &mut b]);
    for peer in [&a, &b] {
        assert!(peer.engine.indexers().contains(&new) && peer.engine.indexers().len() == 2);
        assert!(!peer.engine.has_unconfirmed_writes());
    }
    a.insert(rawdoc! { "_id": 2 }).unwrap();
    confirm(&mut [&mut a, &mut b]);
    assert!(!a.engine.has_unconfirmed_writes());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn a_restored_backup_goes_on_with_a_new_key_and_forks_nothing() {
    let (mut a, mut b) = (peer(1, &closed(1)), peer(2, &closed(1)));
    a.set_roles(writer_key(2), Roles::WRITER).unwrap();
    b.receive(&a.runs());
    b.insert(rawdoc! { "_id": 1 }).unwrap();
    let mut backup = peer(2, &closed(1));
    backup.receive(&b.runs());
    b.insert(rawdoc! { "_id": 2 }).unwrap();
    let head = b.runs().last().unwrap().entries().last().unwrap().hash;
    backup.shown(&writer_key(2), 2, head);
    let told = backup.insert(rawdoc! { "_id": 3 }).unwrap_err();
    assert!(told.kind() == ErrorKind::Unavailable && told.message().contains("restored from a backup"));
    let new = backup.rotate(9).unwrap();
    backup.insert(rawdoc! { "_id": 3 }).unwrap();
    assert!(!backup.engine.status().unwrap().misses_own_entries);
    // Nobody has admitted the new key; it shows by whom it was.
    a.receive(&backup.runs());
    a.receive(&b.runs());
    backup.receive(&a.runs());
    assert!(a.engine.status().unwrap().forked.is_empty());
    assert_eq!(a.roles_of(&new), Roles::WRITER);
    assert_eq!((a.digest(), a.order()), (backup.digest(), backup.order()));
    confirm(&mut [&mut a, &mut backup]);
    assert!(!a.engine.has_unconfirmed_writes());
    assert_eq!(a.roles_of(&writer_key(2)), Roles::NONE);
}

#[test]
fn an_indexer_with_a_new_key_says_that_the_old_one_misses_entries_and_cannot_vote_until_they_are_given_up() {
    let (mut a, mut b) = (peer(1, &closed(1)), peer(2, &closed(1)));
    a.set_roles(writer_key(2), Roles::INDEXER).unwrap();
    confirm(&mut [&mut a, &mut b]);
    let mut backup = peer(2, &closed(1));
    backup.receive(&b.runs());
    b.insert(rawdoc! { "_id": "lost" }).unwrap();
    let runs = b.runs();
    let end = runs.last().unwrap().entries().last().unwrap();
    backup.shown(&writer_key(2), end.header.seq + 1, end.hash);
    backup.rotate(1).unwrap();
    confirm(&mut [&mut a, &mut backup]);
    assert!(a.engine.has_unconfirmed_writes() && backup.engine.status().unwrap().misses_own_entries);
    backup.call(Request::GiveUpOwnEntries).unwrap();
    confirm(&mut [&mut a, &mut backup]);
    assert!(!a.engine.has_unconfirmed_writes() && !backup.engine.status().unwrap().misses_own_entries);
    assert!(a.engine.status().unwrap().forked.is_empty());
    assert_eq!((a.digest(), a.order()), (backup.digest(), backup.order()));
}

#[test]
fn a_key_that_is_lost_with_a_backup_votes_no_more_and_an_admin_lets_another_go_on_for_it() {
    let identity = closed(1);
    let (mut a, mut b, mut c) = (peer(1, &identity), peer(2, &identity), peer(3, &identity));
    for number in [2, 3] {
        a.set_roles(writer_key(number), Roles::WRITER).unwrap();
    }
    a.call(Request::SetIndexers { writers: [1, 2, 3].map(writer_key).to_vec() }).unwrap();
    confirm(&mut [&mut a, &mut b, &mut c]);
    let before = b.runs();
    let lost = b.rotate(9).unwrap();
    confirm(&mut [&mut a, &mut b, &mut c]);
    assert!(b.roles_of(&lost).has(Roles::INDEXER));
    drop(b);
    let mut backup = peer(2, &identity);
    backup.receive(&before);
    backup.receive(&a.runs());
    assert_eq!(backup.insert(rawdoc! { "_id": 1 }).unwrap_err().kind(), ErrorKind::Denied);
    let new = backup.rotate(10).unwrap();
    assert_eq!(backup.roles_of(&new), Roles::NONE, "the key that it holds had nothing to pass on");
    // The others are a majority, and go on without it.
    let gone = std::collections::BTreeSet::from([lost]);
    let confirm_without = |peers: &mut [&mut Peer; 3]| {
        for _ in 0..20 {
            let runs: Vec<_> = peers.iter().map(|peer| peer.runs()).collect();
            for peer in &mut *peers {
                for runs in &runs {
                    peer.receive(runs);
                }
                let moment = Moment { gone: gone.clone(), ..peer.moment() };
                if peer.engine.wants_ack(&moment.gone) {
                    peer.engine.run(|batch| batch.append_ack(&moment)).unwrap();
                }
            }
        }
    };
    let refused = a.call(Request::Replace { from: writer_key(2), to: new, roles: None }).unwrap_err();
    assert!(refused.message().contains("goes on for it"), "{refused}");
    a.call(Request::Replace { from: lost, to: new, roles: None }).unwrap();
    confirm_without(&mut [&mut a, &mut c, &mut backup]);
    assert!(backup.roles_of(&new).has(Roles::INDEXER) && !backup.roles_of(&lost).has(Roles::INDEXER));
    assert!(backup.engine.indexers().contains(&new) && !backup.engine.indexers().contains(&lost));
    backup.insert(rawdoc! { "_id": 1 }).unwrap();
    confirm(&mut [&mut a, &mut c, &mut backup]);
    assert!(!a.engine.has_unconfirmed_writes());
    assert_eq!((a.digest(), a.order()), (backup.digest(), backup.order()));
}

#[test]
fn links_that_are_forged_or_to_keys_in_use_are_void() {
    let mut a = peer(1, &closed(1));
    for number in [2, 3] {
        a.set_roles(writer_key(number), Roles::WRITER).unwrap();
    }
    let id = a.engine.id;
    let rotate = |from: u8, to: u8, signer: u8| Operation::Rotate {
        from: writer_key(from),
        to: writer_key(to),
        signature: sign_link(&id, &writer_key(from), &writer_key(to), &secret(signer)),
    };
    let before = a.engine.view().unwrap();
    let (of_two, of_three) = (a.roles_of(&writer_key(2)), a.roles_of(&writer_key(3)));
    for void in [
        rotate(2, 3, 3),
        rotate(2, 2, 2),
        rotate(2, 1, 1),
        rotate(1, 11, 11),
        rotate(2, 12, 2),
        rotate(3, 13, 13),
    ] {
        let run = run_of(&a, &secret(2), &[void]);
        a.receive(&[run]);
    }
    drop(before);
    assert_eq!((a.roles_of(&writer_key(2)), a.roles_of(&writer_key(3))), (of_two, of_three));
    // A stranger that says it goes on for somebody is refused at the door, unless that one has signed it.
    let run = run_of(&a, &secret(8), &[rotate(2, 8, 8)]);
    assert!(matches!(a.engine.ingest(&run).unwrap(), Err(IngestError::Denied(_))));
    let run = run_of(&a, &secret(8), &[rotate(9, 8, 9)]);
    assert!(matches!(a.engine.ingest(&run).unwrap(), Err(IngestError::Denied(_))));
    let run = run_of(&a, &secret(8), &[rotate(2, 8, 2)]);
    a.receive(&[run]);
    assert_eq!((a.roles_of(&writer_key(2)), a.roles_of(&writer_key(8))), (Roles::NONE, Roles::WRITER));
    // There is no way back, nor round in a circle.
    let run = run_of(&a, &secret(8), &[rotate(8, 2, 2), rotate(2, 5, 5)]);
    a.receive(&[run]);
    assert_eq!(a.roles_of(&writer_key(8)), Roles::WRITER);
    let back = Request::Replace { from: writer_key(8), to: writer_key(2), roles: None };
    assert_eq!(a.call(back).unwrap_err().kind(), ErrorKind::Invalid);
    let b = a.restart();
    let mut c = peer(4, &closed(1));
    c.receive(&b.runs());
    assert_eq!((b.digest(), b.order()), (c.digest(), c.order()));
}

#[test]
fn an_admin_lets_another_key_go_on_for_a_lost_one() {
    let (mut a, mut b) = (peer(1, &closed(1)), peer(3, &closed(1)));
    a.set_roles(writer_key(2), Roles::INDEXER).unwrap();
    a.name(writer_key(2), "laptop").unwrap();
    let mut lost = peer(2, &closed(1));
    confirm(&mut [&mut a, &mut lost]);
    a.set_roles(writer_key(3), Roles::WRITER).unwrap();
    b.receive(&a.runs());
    let replace = |roles| Request::Replace { from: writer_key(2), to: writer_key(3), roles };
    assert_eq!(b.call(replace(None)).unwrap_err().kind(), ErrorKind::Denied);
    a.call(replace(Some(Roles::WRITER))).unwrap();
    assert_eq!((a.roles_of(&writer_key(2)), a.roles_of(&writer_key(3))), (Roles::NONE, Roles::WRITER));
    assert_eq!(a.name_of(&writer_key(3)).as_deref(), Some("laptop"));
    assert!(a.call(replace(None)).is_err(), "it has been replaced already");
    // The admin's own rights are not lost to a key that it names with fewer.
    let own = Request::Replace { from: writer_key(1), to: writer_key(4), roles: Some(Roles::WRITER) };
    assert_eq!(a.call(own).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn of_two_admins_that_remove_each_other_apart_the_first_in_the_order_holds_wherever_it_comes_first() {
    let identity = closed(1);
    let mut founder = peer(1, &identity);
    for number in [2, 3] {
        founder.set_roles(writer_key(number), Roles::ADMIN).unwrap();
    }
    let [mut a, mut b, mut c, mut d] = [2, 3, 4, 5].map(|number| peer(number, &identity));
    for admin in [&mut a, &mut b] {
        admin.receive(&founder.runs());
    }
    // The one whose clock is behind stands first; what the other says comes to nothing.
    (a.now_ms, b.now_ms) = (2_000_000, 1_000_000);
    a.call(Request::RemoveWriter { writer: writer_key(3) }).unwrap();
    a.insert(rawdoc! { "_id": "a" }).unwrap();
    b.call(Request::RemoveWriter { writer: writer_key(2) }).unwrap();
    b.insert(rawdoc! { "_id": "b" }).unwrap();
    let (of_a, of_b) = (a.runs(), b.runs());
    for (peer, runs) in [(&mut c, [&of_a, &of_b]), (&mut d, [&of_b, &of_a])] {
        for runs in runs {
            peer.receive(runs);
        }
    }
    a.receive(&of_b);
    b.receive(&of_a);
    founder.now_ms = 3_000_000;
    founder.receive(&of_a);
    founder.receive(&of_b);
    founder.insert(rawdoc! { "_id": "confirms it all" }).unwrap();
    for peer in [&mut a, &mut b, &mut c, &mut d] {
        assert_eq!(
            (peer.roles_of(&writer_key(2)), peer.roles_of(&writer_key(3))),
            (Roles::NONE, Roles::ADMIN)
        );
        peer.receive(&founder.runs());
        assert_eq!((peer.digest(), peer.order()), (founder.digest(), founder.order()));
    }
    let ids: Vec<String> =
        founder.documents().iter().map(|found| found.get_str("_id").unwrap().to_owned()).collect();
    assert_eq!(ids, ["b", "confirms it all"]);
}

#[test]
fn what_a_removed_writer_writes_on_stops_spreading_and_comes_when_it_counts_again() {
    let (mut a, mut b) = (peer(1, &closed(1)), peer(2, &closed(1)));
    a.set_roles(writer_key(2), Roles::WRITER).unwrap();
    a.set_roles(writer_key(3), Roles::WRITER).unwrap();
    b.receive(&a.runs());
    b.insert(rawdoc! { "_id": 1 }).unwrap();
    a.receive(&b.runs());
    a.call(Request::RemoveWriter { writer: writer_key(2) }).unwrap();
    let known = a.engine.end();
    // Offline, it does not know.
    b.insert(rawdoc! { "_id": 2 }).unwrap();
    a.receive(&b.runs());
    assert_eq!(a.engine.end(), known, "nothing of it is taken in");
    assert!(a.engine.holds_back_any());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest(), "it has no effect where it is stored either");

    // Somebody who had not heard of the removal has seen the entry and written on: then it is needed.
    let runs: Vec<VerifiedRun> =
        b.runs().into_iter().filter(|run| run.entries()[0].header.writer == writer_key(2)).collect();
    let mut other = peer(3, &closed(1));
    for run in a.runs().iter().filter(|run| run.entries()[0].header.seq < 2) {
        let _ = other.engine.ingest(run).unwrap();
    }
    for run in &runs {
        let _ = other.engine.ingest(run).unwrap();
    }
    other.settle();
    other.insert(rawdoc! { "_id": "c" }).unwrap();
    let of_c: Vec<VerifiedRun> =
        other.runs().into_iter().filter(|run| run.entries()[0].header.writer == writer_key(3)).collect();
    assert!(matches!(a.engine.ingest(&of_c[0]).unwrap(), Err(IngestError::AbsentParent(_))));
    a.receive(&other.runs());
    a.receive(&of_c);
    assert_eq!(a.documents().len(), 2, "1 and c, and not 2");
}

#[test]
fn a_removed_writer_gets_no_further_under_new_keys_or_through_writers_that_it_named_itself() {
    let mut a = peer(1, &closed(1));
    a.set_roles(writer_key(2), Roles::WRITER).unwrap();
    let id = a.engine.id;
    let rotate = |from: u8, to: u8| Operation::Rotate {
        from: writer_key(from),
        to: writer_key(to),
        signature: sign_link(&id, &writer_key(from), &writer_key(to), &secret(from)),
    };
    let insert = Operation::Insert { collection: "c".to_owned(), documents: vec![rawdoc! { "_id": 1 }] };
    let name = |writer: u8| Operation::SetRoles { writer: writer_key(writer), roles: Roles::WRITER };
    // While it may write, it names others, which it may not.
    let named = run_of(&a, &secret(2), &[name(30), name(2)]);
    a.receive(&[named]);
    a.call(Request::RemoveWriter { writer: writer_key(2) }).unwrap();
    let known = a.engine.end();
    let refused = [
        run_of(&a, &secret(2), std::slice::from_ref(&insert)),
        run_of(&a, &secret(2), &[name(2)]),
        run_of(&a, &secret(20), &[rotate(2, 20), insert.clone()]),
        run_of(&a, &secret(21), &[rotate(2, 21), name(22)]),
        run_of(&a, &secret(30), std::slice::from_ref(&insert)),
        run_of(&a, &secret(30), &[name(31), name(2)]),
    ];
    for run in &refused {
        a.engine.ingest(run).unwrap().unwrap();
        a.settle();
        assert_eq!(a.engine.end(), known, "nothing of it is taken in");
    }
    // Who has been admitted since, by whom it may be, is heard at once, also before that is confirmed.
    a.set_roles(writer_key(30), Roles::WRITER).unwrap();
    assert!(a.engine.take_wants_anew());
    let run = run_of(&a, &secret(30), &[insert]);
    a.receive(&[run]);
    assert_eq!(a.documents().len(), 1);
}

#[test]
fn a_removed_writer_cannot_keep_the_door_open_by_changes_of_members_that_it_may_not_make() {
    let (mut a, mut b, mut c) = (peer(1, &closed(1)), peer(2, &closed(1)), peer(4, &closed(1)));
    a.set_roles(writer_key(2), Roles::INDEXER).unwrap();
    a.set_roles(writer_key(3), Roles::WRITER).unwrap();
    confirm(&mut [&mut a, &mut b]);
    a.call(Request::RemoveWriter { writer: writer_key(3) }).unwrap();
    let names_itself = |c: &Peer| {
        let operations = [Operation::SetRoles { writer: writer_key(3), roles: Roles::WRITER }];
        let payload = crate::payload::pack(&crate::operation::encode(&operations));
        let epoch = c.engine.status().unwrap().epoch;
        forged_run_with(c, &secret(3), payload, |header| header.epoch = epoch)
    };
    c.receive(&a.runs());
    let first = names_itself(&c);
    let known = c.engine.end();
    c.receive(std::slice::from_ref(&first));
    assert_eq!(c.engine.end(), known + 1, "the removal is not confirmed: this may yet stand before it");
    // The removal is confirmed, and the change that is void is not.
    confirm(&mut [&mut a, &mut b]);
    c.receive(&a.runs());
    assert!(c.engine.has_unconfirmed_writes());
    let known = c.engine.end();
    let second = names_itself(&c);
    c.receive(std::slice::from_ref(&second));
    assert_eq!(c.engine.end(), known, "nothing more is taken in");
    a.receive(std::slice::from_ref(&first));
    assert_eq!(a.digest(), c.digest());
}

#[test]
fn what_was_held_back_counts_by_its_place_once_its_writer_is_admitted_again() {
    let mut a = peer(1, &closed(1));
    a.set_roles(writer_key(2), Roles::WRITER).unwrap();
    let mut b = peer(2, &closed(1));
    b.receive(&a.runs());
    a.call(Request::RemoveWriter { writer: writer_key(2) }).unwrap();
    b.insert(rawdoc! { "_id": 7 }).unwrap();
    a.receive(&b.runs());
    assert!(a.documents().is_empty() && !a.engine.take_wants_anew());
    a.set_roles(writer_key(2), Roles::WRITER).unwrap();
    assert!(a.engine.take_wants_anew() && !a.engine.take_wants_anew());
    a.receive(&b.runs());
    b.receive(&a.runs());
    assert_eq!((a.documents().len(), a.digest()), (1, b.digest()));
}

#[test]
fn what_is_to_be_ordered_anew_is_listed_as_unordered_and_not_as_skipped() {
    let mut a = peer(1, &closed(1));
    for number in [2, 3] {
        a.set_roles(writer_key(number), Roles::INDEXER).unwrap();
    }
    a.set_roles(writer_key(4), Roles::WRITER).unwrap();
    let [mut b, mut c, mut d] = [2, 3, 4].map(|number| peer(number, &closed(1)));
    confirm(&mut [&mut a, &mut b, &mut c, &mut d]);
    // By their times: an entry of b, the removal of d, and an entry of d that does not know of either.
    (b.now_ms, a.now_ms, d.now_ms) = (1_000_000, 2_000_000, 3_000_000);
    b.insert(rawdoc! { "_id": 1 }).unwrap();
    a.call(Request::RemoveWriter { writer: writer_key(4) }).unwrap();
    let late = d.insert(rawdoc! { "_id": 2 }).unwrap().entry.unwrap();
    a.receive(&d.runs());
    let listed = |a: &Peer| {
        let page = logged(a);
        page.entries.into_iter().find(|entry| entry.hash == late).unwrap()
    };
    assert!(matches!(listed(&a).place, Place::Tail(_)) && listed(&a).skipped);
    let of_b = b.runs();
    a.engine
        .run(|batch| {
            for run in &of_b {
                batch.ingest(run)?.unwrap();
            }
            batch.settle_until(usize::MAX, &mut || true)
        })
        .unwrap();
    assert_eq!((listed(&a).place, listed(&a).skipped), (Place::Unordered, false));
    a.settle();
    assert!(matches!(listed(&a).place, Place::Tail(_)) && listed(&a).skipped);
}

/// The end of a peer's log, as it is shown to people.
fn logged(peer: &Peer) -> LogPage {
    let published = Arc::new(Published::new(&peer.engine).unwrap());
    let (file, identity) = (Arc::clone(&peer.engine.database), peer.engine.identity.clone());
    let database = crate::database::Database::over("log", file, identity, published);
    database.log(&LogRange::default()).unwrap()
}
