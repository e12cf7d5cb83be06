//! Peers that write, meet in pairs and ack by the rule: how soon things are confirmed, and that it gets quiet.

use std::collections::{BTreeMap, BTreeSet};

use db_core::linearizer::{Ballot, EntryNumber, Facts, Linearizer, Node, Past, Standing, Voter};
use db_core::{EntryHash, WriterKey};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::model::writer;

#[derive(Debug, Clone)]
struct Written {
    by: usize,
    seq: u64,
    time: u64,
    epoch: u64,
    wave: u64,
    parents: Vec<usize>,
    is_ack: bool,
}

struct Peer {
    linearizer: Linearizer,
    log: Log,
    heads: BTreeSet<usize>,
    writes_confirmed: usize,
    confirmed: Vec<EntryNumber>,
    anchors: BTreeSet<EntryNumber>,
}

#[derive(Default)]
struct Log {
    /// By number: which entry, and its standing.
    held: Vec<(usize, Standing)>,
    nodes: Vec<Node>,
    numbers: BTreeMap<usize, EntryNumber>,
}

impl Past for Log {
    fn standing(&self, number: EntryNumber) -> Option<Standing> {
        self.held.get(number.0 as usize).map(|(_, standing)| standing.clone())
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        self.nodes.get(number.0 as usize).map(|node| node.parents.clone()).unwrap_or_default()
    }

    fn facts(&self, number: EntryNumber) -> Option<Facts> {
        let (at, node) = (number.0 as usize, self.nodes.get(number.0 as usize)?);
        self.held.get(at).map(|(_, standing)| Facts::of(node, standing))
    }
}

struct Network {
    /// Everything written, parents before children.
    entries: Vec<Written>,
    peers: Vec<Peer>,
    indexers: usize,
    /// Whom nobody waits for.
    gone: BTreeSet<WriterKey>,
}

impl Network {
    fn new(peers: usize, indexers: usize) -> Self {
        let genesis: Vec<_> = (0..indexers).map(|i| writer(i as u8)).collect();
        let peer = || Peer {
            linearizer: Linearizer::new(genesis.clone()),
            log: Log::default(),
            heads: BTreeSet::new(),
            writes_confirmed: 0,
            confirmed: Vec::new(),
            anchors: BTreeSet::new(),
        };
        Self {
            entries: Vec::new(),
            peers: (0..peers).map(|_| peer()).collect(),
            indexers,
            gone: BTreeSet::new(),
        }
    }

    fn write(&mut self, by: usize, is_ack: bool) {
        let peer = &self.peers[by];
        let position = peer.linearizer.next_position(&writer(by as u8), &self.gone);
        let entry = Written {
            by,
            seq: peer.log.held.iter().filter(|(id, _)| self.entries[*id].by == by).count() as u64,
            time: self.entries.len() as u64,
            epoch: position.epoch,
            wave: position.wave,
            parents: peer.heads.iter().copied().collect(),
            is_ack,
        };
        self.entries.push(entry);
        self.deliver(by, self.entries.len() - 1);
    }

    fn deliver(&mut self, to: usize, id: usize) {
        let (entry, peer) = (&self.entries[id], &mut self.peers[to]);
        let number = EntryNumber(peer.log.held.len() as u64);
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&(id as u64).to_be_bytes());
        let node = Node {
            number,
            hash: EntryHash::from_bytes(hash),
            writer: writer(entry.by as u8),
            seq: entry.seq,
            time: entry.time,
            epoch: entry.epoch,
            wave: entry.wave,
            parents: entry.parents.iter().map(|parent| peer.log.numbers[parent]).collect(),
            is_ack: entry.is_ack,
            is_fork: false,
        };
        let standing = peer.linearizer.check(&node, &peer.log).expect("what the rule gives is legal");
        peer.linearizer.add(&node, &standing, &peer.log).unwrap();
        peer.log.numbers.insert(id, number);
        peer.log.held.push((id, standing));
        peer.log.nodes.push(node);
        peer.heads.retain(|head| !entry.parents.contains(head));
        peer.heads.insert(id);
        while let Some(part) = peer.linearizer.next_part(&peer.log) {
            let writes = part.entries.iter().filter(|n| !self.entries[peer.log.held[n.0 as usize].0].is_ack);
            peer.writes_confirmed += writes.count();
            peer.anchors.insert(part.anchor);
            peer.confirmed.extend(part.entries);
            peer.linearizer.finish_part(&[], &peer.log).unwrap();
        }
    }

    /// Both get all that either has.
    fn sync(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let news: Vec<_> = self.peers[from]
                .log
                .numbers
                .keys()
                .filter(|id| !self.peers[to].log.numbers.contains_key(id))
                .copied()
                .collect();
            for id in news {
                self.deliver(to, id);
            }
        }
    }

    fn sync_all(&mut self, live: &[usize]) {
        for _ in 0..2 {
            for pair in live.windows(2) {
                self.sync(pair[0], pair[1]);
            }
            for pair in live.windows(2).rev() {
                self.sync(pair[0], pair[1]);
            }
        }
    }

    fn wants_ack(&self, who: usize) -> bool {
        self.peers[who].linearizer.wants_ack(&writer(who as u8), &self.gone)
    }

    /// Rounds in which everybody of `live` who wants to acks at once and then all meet, until nobody wants to.
    fn settle(&mut self, live: &[usize]) -> usize {
        self.sync_all(live);
        for round in 0.. {
            let wishes: Vec<_> = live.iter().copied().filter(|who| self.wants_ack(*who)).collect();
            if wishes.is_empty() {
                return round;
            }
            for who in wishes {
                self.write(who, true);
            }
            self.sync_all(live);
            assert!(round < 50, "acks do not end");
        }
        unreachable!()
    }

    /// The same, but of those who want to one is drawn, and all have seen its ack before the next is.
    fn settle_one_by_one(&mut self, live: &[usize], dice: &mut Dice) {
        self.sync_all(live);
        loop {
            let wishes: Vec<_> = live.iter().copied().filter(|who| self.wants_ack(*who)).collect();
            if wishes.is_empty() {
                return;
            }
            self.write(wishes[dice.below(wishes.len())], true);
            self.sync_all(live);
        }
    }

    fn assert_all_confirmed(&self, live: &[usize]) {
        for who in live {
            assert!(!self.peers[*who].linearizer.has_unconfirmed_writes());
        }
    }
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0.next_u64() as usize % bound
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[test]
fn connected_peers_confirm_every_write_and_fall_silent() {
    for indexers in [1, 2, 3, 5] {
        let mut network = Network::new(indexers + 1, indexers);
        let all: Vec<_> = (0..=indexers).collect();
        for by in all.iter().cycle().take(4 * all.len()) {
            network.write(*by, false);
            let rounds = network.settle(&all);
            network.assert_all_confirmed(&all);
            assert!(rounds <= 3, "{rounds} rounds for one write with {indexers} indexers");
        }
        for by in &all {
            network.write(*by, false);
        }
        network.settle(&all);
        network.assert_all_confirmed(&all);
        let acks = network.entries.iter().filter(|entry| entry.is_ack).count();
        assert!(acks <= 5 * (all.len() + 1) * indexers, "{acks} acks for {} entries", network.entries.len());
        let before = network.entries.len();
        assert_eq!(network.settle(&all), 0);
        assert_eq!(network.entries.len(), before, "an idle database is silent");
    }
}

#[test]
fn acks_that_wait_for_one_another_are_fewer() {
    for indexers in [3, 5, 7] {
        let (mut at_once, mut drawn) = (Network::new(indexers, indexers), Network::new(indexers, indexers));
        let all: Vec<_> = (0..indexers).collect();
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(3));
        for by in all.iter().cycle().take(40) {
            at_once.write(*by, false);
            at_once.settle(&all);
            drawn.write(*by, false);
            drawn.settle_one_by_one(&all, &mut dice);
            drawn.assert_all_confirmed(&all);
        }
        let acks = |network: &Network| network.entries.iter().filter(|entry| entry.is_ack).count();
        let (at_once, drawn) = (acks(&at_once), acks(&drawn));
        assert!(drawn < at_once, "{indexers} indexers: {drawn} acks drawn, {at_once} at once");
        assert!(drawn <= 40 * indexers, "{indexers} indexers: {drawn} acks for 40 writes");
    }
}

#[test]
fn a_majority_goes_on_without_those_that_are_gone() {
    for (indexers, live) in [(3, vec![0, 1]), (3, vec![1, 2]), (5, vec![0, 2, 4]), (5, vec![2, 3, 4])] {
        let mut network = Network::new(indexers, indexers);
        let all: Vec<_> = (0..indexers).collect();
        network.write(0, false);
        network.settle(&all);
        network.gone = all.iter().filter(|who| !live.contains(who)).map(|who| writer(*who as u8)).collect();
        for by in live.iter().cycle().take(10) {
            network.write(*by, false);
            network.settle(&live);
            network.assert_all_confirmed(&live);
        }
        network.gone.clear();
        network.settle(&all);
        network.assert_all_confirmed(&all);
    }
}

/// Of a run of the schedule, or on average over all its seeds.
#[derive(Debug, Default)]
struct Outcome {
    /// The share of the writes that a peer knew to be confirmed when it ended.
    confirmed: f64,
    /// The longest tail of any peer at the end, and at any time.
    tail_at_end: f64,
    tail_max: f64,
}

/// 400 steps: a write or a meeting of two, who then ack if they want to, by a chance of `ack_percent`. Afterwards all meet.
fn run_schedule(indexers: usize, ack_percent: usize) -> Outcome {
    const SEEDS: u64 = 60;
    let mut average = Outcome::default();
    for seed in 0..SEEDS {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
        let mut network = Network::new(indexers, indexers);
        let longest_tail =
            |network: &Network| network.peers.iter().map(|peer| peer.linearizer.tail_len()).max().unwrap();
        let mut tail_max = 0;
        for _ in 0..400 {
            if dice.chance(30) {
                network.write(dice.below(indexers), false);
            } else {
                let a = dice.below(indexers);
                let b = (a + 1 + dice.below(indexers - 1)) % indexers;
                network.sync(a, b);
                for who in [a, b] {
                    if dice.chance(ack_percent) && network.wants_ack(who) {
                        network.write(who, true);
                    }
                }
            }
            tail_max = tail_max.max(longest_tail(&network));
        }
        let writes = network.entries.iter().filter(|entry| !entry.is_ack).count();
        let confirmed: usize = network.peers.iter().map(|peer| peer.writes_confirmed).sum();
        average.confirmed += confirmed as f64 / (writes * indexers) as f64 / SEEDS as f64;
        average.tail_at_end += longest_tail(&network) as f64 / SEEDS as f64;
        average.tail_max += tail_max as f64 / SEEDS as f64;
        let all: Vec<_> = (0..network.indexers).collect();
        network.settle(&all);
        network.assert_all_confirmed(&all);
    }
    average
}

#[test]
fn pairs_that_meet_by_chance_confirm_nearly_everything() {
    for indexers in [3, 5] {
        for ack_percent in [30, 100] {
            let outcome = run_schedule(indexers, ack_percent);
            let run = format!("{indexers} indexers, {ack_percent} % of the acks: {outcome:?}");
            assert!(outcome.confirmed >= 0.9, "{run}");
            assert!(outcome.tail_at_end <= 40.0 && outcome.tail_max <= 40.0, "{run}");
        }
    }
}

#[test]
fn anchors_are_told_from_what_is_stored_of_the_order() {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(7));
    for indexers in [1, 2, 3, 5] {
        let mut network = Network::new(indexers + 1, indexers);
        for _ in 0..300 {
            let a = dice.below(indexers + 1);
            if dice.chance(50) {
                network.write(a, dice.chance(50) && network.wants_ack(a));
            } else {
                network.sync(a, (a + 1 + dice.below(indexers)) % (indexers + 1));
            }
        }
        for peer in &mut network.peers {
            let told = Linearizer::without_tail(&peer.linearizer.snapshot()).unwrap();
            let order: Vec<EntryNumber> =
                peer.confirmed.iter().chain(peer.linearizer.tail(&peer.log).entries).copied().collect();
            let voters: Vec<Voter> = order
                .iter()
                .map(|number| {
                    let (id, standing) = &peer.log.held[number.0 as usize];
                    let entry = &network.entries[*id];
                    let mut hash = [0; 32];
                    hash[..8].copy_from_slice(&(*id as u64).to_be_bytes());
                    Voter {
                        hash: EntryHash::from_bytes(hash),
                        writer: writer(entry.by as u8),
                        seq: entry.seq,
                        wave: entry.wave,
                        standing: standing.clone(),
                    }
                })
                .collect();
            let anchors = |from: usize, to: usize| {
                let ballots = told.ballots(&voters[from..to], peer.confirmed.len().saturating_sub(from));
                let numbers = order[from..to].iter().zip(ballots);
                numbers
                    .filter(|(_, ballot)| *ballot == Ballot::Anchor)
                    .map(|(n, _)| *n)
                    .collect::<BTreeSet<_>>()
            };
            assert!(!peer.anchors.is_empty());
            assert_eq!(anchors(0, order.len()), peer.anchors);
            for from in (0..order.len()).step_by(17) {
                // Of a stretch whatever is told is true, and of one to the end it is everything.
                let to_end: BTreeSet<_> =
                    peer.anchors.intersection(&order[from..].iter().copied().collect()).copied().collect();
                assert_eq!(anchors(from, order.len()), to_end);
                let to = (from + 60).min(order.len());
                assert!(anchors(from, to).is_subset(&peer.anchors));
            }
        }
    }
}
