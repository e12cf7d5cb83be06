//! The rule, clause by clause, on states made by hand. That it leads to confirmation from everywhere is searched in
//! `tests/linearizer/acks.rs`; that it asks for no ack too many can only be said of single states.

use std::collections::BTreeMap;

use super::super::votes::Proposal;
use super::super::{EntryNumber, Node};
use super::*;
use crate::ids::EntryHash;

fn writer(number: usize) -> WriterKey {
    WriterKey::from_bytes([number as u8 + 1; 32])
}

/// Indexers that have come so far; indexer `w mod n` leads wave `w`.
struct State(Epoch);

impl State {
    fn of(waves: &[u64]) -> Self {
        let mut epoch = Epoch::new((0..waves.len()).map(writer).collect());
        for (held, wave) in epoch.held.iter_mut().zip(waves) {
            (held.next, held.wave) = (*wave, *wave);
        }
        Self(epoch)
    }

    fn proposed(mut self, waves: &[u64]) -> Self {
        for wave in waves {
            let number = EntryNumber(*wave);
            let proposal = Proposal { number, seq: *wave, previous: None, supporters: BTreeMap::new() };
            self.0.proposals.insert((*wave, EntryHash::from_bytes([1; 32])), proposal);
        }
        self
    }

    fn confirmed(mut self, wave: u64) -> Self {
        self.0.top = Some((wave, EntryHash::from_bytes([1; 32])));
        self
    }

    /// The next wave of `me`, and whether an ack that carries it helps.
    fn ask(&self, me: usize, gone: &[usize]) -> (u64, bool) {
        let gone = gone.iter().copied().map(writer).collect();
        (self.0.next_wave(me, &gone), self.0.is_advance_useful(me, &gone))
    }
}

#[test]
fn the_leader_proposes_at_once_and_the_others_wait_for_it() {
    let state = State::of(&[0, 0, 0]);
    assert_eq!(state.ask(0, &[]), (1, true));
    assert_eq!(state.ask(1, &[]), (0, false));
    assert_eq!(state.ask(2, &[]), (0, false));
}

#[test]
fn who_holds_a_proposal_votes_and_who_leads_the_next_wave_proposes_in_the_same_entry() {
    let state = State::of(&[1, 0, 0]).proposed(&[0]);
    assert_eq!(state.ask(0, &[]), (1, false), "the leader has voted by proposing");
    assert_eq!(state.ask(1, &[]), (2, true));
    assert_eq!(state.ask(2, &[]), (1, true));
}

#[test]
fn a_leader_that_is_gone_is_not_waited_for_as_long_as_that_brings_a_majority_nearer() {
    let state = State::of(&[0, 0, 0]);
    assert_eq!(state.ask(1, &[0]), (1, true), "nobody has come to wave 1");
    assert_eq!(State::of(&[0, 0, 1]).ask(1, &[0]), (2, true), "one other has: it leads wave 1 and proposes");
    assert_eq!(State::of(&[0, 1, 0]).ask(2, &[0]), (1, true), "one other has: with it there are two");
    assert_eq!(
        State::of(&[0, 1, 1]).ask(2, &[]),
        (1, false),
        "who has gone on stays there when the leader is back"
    );
    assert_eq!(State::of(&[0, 1, 1, 1, 0]).ask(4, &[0]), (1, false), "three of five are there without it");
    assert_eq!(State::of(&[0, 1, 1, 0, 0]).ask(4, &[0]), (1, true), "two of five are not enough");
}

#[test]
fn a_leader_that_has_gone_by_without_a_proposal_is_not_waited_for_and_one_that_stands_at_the_wave_is() {
    // Wave 3 is led by indexer 0.
    assert_eq!(State::of(&[3, 3, 3]).ask(1, &[]), (3, false));
    assert_eq!(State::of(&[5, 3, 3]).ask(1, &[]).0, 5, "on through 3, and its own proposal in wave 4");
    assert_eq!(State::of(&[5, 3, 3]).ask(2, &[]).0, 4, "on through 3, and then it waits for the leader of 4");
}

#[test]
fn what_so_many_have_passed_that_it_cannot_be_confirmed_is_not_waited_for() {
    // Two others of three beyond a wave: whoever is the third cannot make a majority for a proposal that neither holds.
    assert_eq!(
        State::of(&[5, 4, 0]).ask(2, &[]),
        (4, false),
        "to the second of the others, which needs it no more"
    );
    assert_eq!(State::of(&[4, 0, 0]).ask(2, &[]), (1, true), "one other is not enough: wave by wave");
    assert_eq!(State::of(&[9, 8, 7, 0, 0]).ask(4, &[]).0, 7, "to the third of the others of five");
    assert_eq!(
        State::of(&[9, 8, 0, 0, 0]).ask(4, &[]).0,
        2,
        "two others of five are not enough: wave by wave"
    );
    assert_eq!(State::of(&[9, 8, 7, 6, 0]).ask(4, &[]).0, 7);
}

#[test]
fn nobody_goes_where_no_majority_allows() {
    assert_eq!(State::of(&[0, 0, 0]).ask(2, &[0, 1]).0, 1, "wave 1 is free, wave 2 is not");
    assert_eq!(State::of(&[1, 0, 0, 0, 0]).proposed(&[0]).ask(1, &[]).0, 1, "two of five allow no wave 2");
    assert_eq!(State::of(&[1, 0, 1, 0, 0]).proposed(&[0]).ask(1, &[]).0, 2, "three of five do");
}

#[test]
fn a_vote_for_what_is_confirmed_helps_nobody() {
    // Wave 1 is proposed and confirmed; 0 has not voted in it.
    let waves = [1, 2, 2];
    assert_eq!(State::of(&waves).proposed(&[1]).ask(0, &[]), (2, true), "it lacks votes");
    assert_eq!(State::of(&waves).proposed(&[1]).confirmed(1).ask(0, &[]), (2, false), "it lacks none");
    let more = State::of(&[1, 3, 3]).proposed(&[1, 2]).confirmed(1);
    assert!(more.ask(0, &[]).1, "the vote counts in wave 2 as well, which lacks votes");
    let beyond = State::of(&[3, 1, 3]).proposed(&[1]).confirmed(1);
    assert_eq!(beyond.ask(1, &[]), (3, false), "there is nothing to vote for beyond it");
}

#[test]
fn who_has_proposed_already_does_not_ack_to_propose_again() {
    // The leader of wave 3 holds its own proposal there, and has voted no further.
    let state = State::of(&[4, 4, 4]).proposed(&[3]).confirmed(3);
    assert_eq!(state.ask(0, &[]), (4, false));
    // As after a fork: a proposal of its wave that is not on the branch that goes on. It is for voting, not for another.
    let forked = State::of(&[3, 4, 4]).proposed(&[3]).confirmed(3);
    assert_eq!(forked.ask(0, &[]), (4, false));
}

#[test]
fn an_ack_is_wanted_only_of_an_indexer_and_only_while_something_but_acks_is_not_confirmed() {
    struct Nothing;
    impl super::super::Past for Nothing {
        fn standing(&self, _: EntryNumber) -> Option<super::super::Standing> {
            None
        }

        fn parents(&self, _: EntryNumber) -> Vec<EntryNumber> {
            Vec::new()
        }

        fn facts(&self, _: EntryNumber) -> Option<super::super::Facts> {
            None
        }
    }
    let mut linearizer = Linearizer::new((0..3).map(writer).collect());
    let nobody = BTreeSet::new();
    for (number, is_ack) in [(0, true), (1, false)] {
        assert!(
            (0..4).all(|who| !linearizer.wants_ack(&writer(who), &nobody)),
            "there is nothing to confirm"
        );
        let node = Node {
            number: EntryNumber(number),
            hash: EntryHash::from_bytes([number as u8; 32]),
            writer: writer(3),
            seq: number,
            time: 1,
            epoch: 0,
            wave: 0,
            parents: Vec::new(),
            is_ack,
            is_fork: false,
        };
        let standing = linearizer.check(&node, &Nothing).unwrap();
        linearizer.add(&node, &standing, &Nothing).unwrap();
    }
    let wants: Vec<bool> = (0..4).map(|who| linearizer.wants_ack(&writer(who), &nobody)).collect();
    assert_eq!(wants, [true, false, false, false], "the leader proposes; writer 3 is no indexer");
    assert_eq!(linearizer.next_position(&writer(3), &nobody), Position { epoch: 0, wave: 0 });
}
