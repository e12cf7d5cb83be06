//! Equal sets of entries have equal orders, whatever the way they came; the incremental linearizer is the reference.

use std::collections::{BTreeMap, BTreeSet};

use db_core::linearizer::Position;
use db_core::{EntryHash, WriterKey};
use proptest::prelude::*;

use super::model::{Item, Set, World, members, writer};
use super::replica::Replica;

/// How a generated world may differ from what honest peers with good clocks would write.
#[derive(Debug, Clone, Copy)]
struct Manners {
    writers: u8,
    indexers: u8,
    /// Which writers may fork their logs: those from here on.
    forkers_from: u8,
    /// Whether indexers write any legal wave, or only what [`db_core::linearizer::Linearizer::next_position`] says.
    any_wave: bool,
    changes_indexers: bool,
}

/// One act: what, and four numbers to choose by.
type Act = (u8, u8, u8, u8, u8);

struct Peers {
    world: World,
    replicas: Vec<Replica>,
    manners: Manners,
}

impl Peers {
    fn new(manners: Manners) -> Self {
        let world = World::new((0..manners.indexers).map(writer).collect());
        let replicas = (0..manners.writers).map(|_| Replica::new(&world)).collect();
        Self { world, replicas, manners }
    }

    fn run(manners: Manners, acts: &[Act]) -> Self {
        let mut peers = Self::new(manners);
        for act in acts {
            if peers.world.items.len() < 48 {
                peers.act(*act);
            }
        }
        peers
    }

    fn act(&mut self, (what, a, b, c, d): Act) {
        let who = usize::from(a % self.manners.writers);
        match what % 8 {
            0..4 => self.write(who, b, c, d),
            4 if a % self.manners.writers >= self.manners.forkers_from => self.fork(who, b, c),
            _ => {
                let from = usize::from(b % self.manners.writers);
                let news = self.replicas[from].held;
                self.replicas[who].receive_all(&self.world, news);
            }
        }
    }

    fn write(&mut self, who: usize, time: u8, wave: u8, sets: u8) {
        let heads = self.replicas[who].heads(&self.world);
        let own =
            members(self.replicas[who].held).filter(|id| self.world.items[*id].writer == writer(who as u8));
        let last = own.max_by_key(|id| self.world.items[*id].seq);
        self.append(who, heads, last, time, wave, sets);
    }

    /// Writes as if some own entries had never been: a second entry with one `seq`.
    fn fork(&mut self, who: usize, choice: u8, time: u8) {
        let own: Vec<_> = members(self.replicas[who].held)
            .filter(|id| self.world.items[*id].writer == writer(who as u8))
            .collect();
        if own.is_empty() {
            return;
        }
        let victim = own[usize::from(choice) % own.len()];
        // Everything held that does not descend from the victim, as a peer of its own.
        let kept = members(self.replicas[who].held)
            .filter(|id| self.world.pasts[*id] >> victim & 1 == 0)
            .fold(0, |set: Set, id| set | 1 << id);
        let mut twin = Replica::new(&self.world);
        twin.receive_all(&self.world, kept);
        let heads = twin.heads(&self.world);
        let last = self.world.items[victim].parents.iter().copied().find(|parent| {
            let (parent, victim) = (&self.world.items[*parent], &self.world.items[victim]);
            parent.writer == victim.writer && parent.seq + 1 == victim.seq
        });
        let original = std::mem::replace(&mut self.replicas[who], twin);
        self.append(who, heads, last, time, choice, 0);
        self.replicas[who].receive_all(&self.world, original.held);
    }

    fn append(
        &mut self,
        who: usize,
        mut heads: Vec<usize>,
        last: Option<usize>,
        time: u8,
        wave: u8,
        sets: u8,
    ) {
        let me = writer(who as u8);
        let before = last.map(|last| &self.world.items[last]);
        let floor = before.map_or(0, |item| item.time);
        let seq = before.map_or(0, |item| item.seq + 1);
        heads.extend(last.filter(|last| !heads.contains(last)));
        // Clocks go apart by whole days of the test's time.
        let time = floor.max(self.world.items.len() as u64 + u64::from(time % 8) * 6);
        let mut hash = [0; 32];
        hash[0] = wave.wrapping_mul(37) ^ sets;
        hash[1] = self.world.items.len() as u8;
        let mut item = Item {
            hash: EntryHash::from_bytes(hash),
            writer: me,
            seq,
            time,
            epoch: 0,
            wave: 0,
            parents: heads,
            sets: self.new_indexers(sets),
            is_ack: false,
        };
        let linearizer = &self.replicas[who].linearizer;
        let Position { epoch, wave: due } = linearizer.next_position(&me, &BTreeSet::new());
        (item.epoch, item.wave) = (epoch, due);
        if !linearizer.indexers().contains(&me) && wave.is_multiple_of(2) {
            item.epoch = linearizer.epoch();
        }
        if self.manners.any_wave && linearizer.indexers().contains(&me) {
            for candidate in [due + u64::from(wave % 3), due.saturating_sub(u64::from(wave % 3))] {
                item.wave = candidate;
                if self.is_legal(who, &item) {
                    break;
                }
                item.wave = due;
            }
        }
        let id = self.world.push(item);
        let standing = self.replicas[who].receive(&self.world, id).expect("what is due is legal");
        assert_eq!(standing.epoch(), self.world.known[id]);
    }

    fn is_legal(&self, who: usize, item: &Item) -> bool {
        let mut world = self.world.clone();
        let id = world.push(item.clone());
        let replica = &self.replicas[who];
        replica.linearizer.check(&replica.node(&world, id), &replica.stored).is_ok()
    }

    fn new_indexers(&self, choice: u8) -> Option<Vec<WriterKey>> {
        if !self.manners.changes_indexers || !choice.is_multiple_of(4) {
            return None;
        }
        let writers = self.manners.writers;
        let bits = (choice / 4) | 1 << (choice % writers);
        let mut indexers: Vec<_> = (0..writers).filter(|i| bits >> i & 1 == 1).collect();
        if self.manners.forkers_from < writers && indexers.len() % 2 == 1 {
            match (0..writers).find(|i| !indexers.contains(i)) {
                Some(other) => indexers.push(other),
                None => drop(indexers.pop()),
            }
        }
        Some(indexers.into_iter().map(writer).collect())
    }

    /// All entries in another causal order: `choices` pick among those that may come next.
    fn shuffled(&self, choices: &[u8]) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.world.items.len()).collect();
        let mut come: Set = 0;
        let mut order = Vec::new();
        for step in 0..left.len() {
            let ready: Vec<usize> = left
                .iter()
                .copied()
                .filter(|id| self.world.items[*id].parents.iter().all(|parent| come >> parent & 1 == 1))
                .collect();
            let choice = choices.get(step % choices.len().max(1)).copied().unwrap_or(0);
            let next = ready[usize::from(choice) % ready.len()];
            come |= 1 << next;
            left.retain(|id| *id != next);
            order.push(next);
        }
        order
    }

    /// Feeds everything in some order to a newcomer that sometimes asks for its tail and sometimes restarts.
    fn feed(&self, choices: &[u8]) -> Replica {
        self.feed_to(Replica::new(&self.world), choices)
    }

    fn feed_to(&self, mut newcomer: Replica, choices: &[u8]) -> Replica {
        for (step, id) in self.shuffled(choices).into_iter().enumerate() {
            newcomer.receive(&self.world, id).expect("made by an honest peer");
            let choice = choices.get((step * 7 + 3) % choices.len().max(1)).copied().unwrap_or(0);
            if choice % 3 == 0 {
                newcomer.finish(&self.world);
                assert_eq!(newcomer.outcome(), self.world.outcome(newcomer.held));
            }
            if choice % 5 == 0 {
                newcomer.restart(&self.world);
            }
        }
        newcomer
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(any::<Act>(), 1..90)
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..48)
}

fn manners() -> impl Strategy<Value = Manners> {
    (1..=5_u8, 0..3_u8, any::<bool>(), any::<bool>()).prop_map(
        |(indexers, others, any_wave, changes_indexers)| Manners {
            writers: indexers + others,
            indexers,
            forkers_from: u8::MAX,
            any_wave,
            changes_indexers,
        },
    )
}

proptest! {
    #[test]
    fn the_way_entries_come_changes_nothing(manners in manners(), acts in acts(), choices in choices()) {
        let peers = Peers::run(manners, &acts);
        let mut newcomer = peers.feed(&choices);
        prop_assert_eq!(newcomer.outcome(), peers.world.outcome(newcomer.held));
        newcomer.restart(&peers.world);
        prop_assert_eq!(newcomer.outcome(), peers.world.outcome(newcomer.held));
        for (node, standing) in &newcomer.stored.nodes {
            prop_assert_eq!(standing.epoch(), peers.world.known[newcomer.stored.id(node.number)]);
        }
    }

    #[test]
    fn a_part_that_stays_in_hand_while_others_come_changes_nothing(
        manners in manners(), acts in acts(), choices in choices(), patience in 1..12_usize, may_fork: bool,
    ) {
        let mut manners = Manners { changes_indexers: true, ..manners };
        if may_fork {
            // One of an even number of indexers: two majorities have somebody else in common too, so no epoch has two ends.
            manners.indexers = manners.indexers.next_multiple_of(2);
            manners.writers = manners.writers.max(manners.indexers);
            manners.forkers_from = manners.writers - 1;
        }
        let peers = Peers::run(manners, &acts);
        let mut newcomer = Replica::new(&peers.world);
        newcomer.patience = patience;
        let mut newcomer = peers.feed_to(newcomer, &choices);
        newcomer.finish(&peers.world);
        prop_assert_eq!(newcomer.outcome(), peers.world.outcome(newcomer.held));
        for (node, standing) in &newcomer.stored.nodes {
            prop_assert_eq!(standing.epoch(), peers.world.known[newcomer.stored.id(node.number)]);
        }
    }

    #[test]
    fn standings_are_the_same_on_every_peer(manners in manners(), acts in acts(), choices in choices()) {
        let peers = Peers::run(manners, &acts);
        let newcomer = peers.feed(&choices);
        let theirs: BTreeMap<_, _> = newcomer.stored.nodes.iter().map(|(n, s)| (newcomer.stored.id(n.number), s)).collect();
        for replica in &peers.replicas {
            for (node, standing) in &replica.stored.nodes {
                prop_assert_eq!(standing, theirs[&replica.stored.id(node.number)]);
            }
        }
    }

    #[test]
    fn confirmed_orders_are_prefixes_of_one_another(manners in manners(), acts in acts()) {
        let mut peers = Peers::run(manners, &acts);
        let confirmed: Vec<_> = peers.replicas.iter().map(|replica| replica.confirmed.clone()).collect();
        for a in &confirmed {
            for b in &confirmed {
                let common = a.len().min(b.len());
                prop_assert_eq!(&a[..common], &b[..common]);
            }
        }
        for replica in &mut peers.replicas {
            prop_assert_eq!(replica.outcome(), peers.world.outcome(replica.held));
        }
    }

    #[test]
    fn a_writer_that_forks_its_log_changes_nothing_about_agreement(
        manners in manners(), acts in acts(), choices in choices(),
    ) {
        let manners = Manners { writers: manners.indexers + 2, forkers_from: manners.indexers, changes_indexers: false, ..manners };
        let peers = Peers::run(manners, &acts);
        let mut newcomer = peers.feed(&choices);
        prop_assert_eq!(newcomer.outcome(), peers.world.outcome(newcomer.held));
        prop_assert!(newcomer.linearizer.forked_indexers().is_empty());
    }

    #[test]
    fn equal_sets_end_equal_though_indexers_fork(manners in manners(), acts in acts(), choices in choices()) {
        let manners = Manners { forkers_from: 0, changes_indexers: false, ..manners };
        let peers = Peers::run(manners, &acts);
        let mut newcomer = peers.feed(&choices);
        prop_assert_eq!(newcomer.outcome(), peers.world.outcome(newcomer.held));
    }

    #[test]
    fn building_anew_gives_the_same(manners in manners(), acts in acts()) {
        let mut peers = Peers::run(manners, &acts);
        for replica in &mut peers.replicas {
            replica.rebuild(&peers.world);
            prop_assert_eq!(replica.outcome(), peers.world.outcome(replica.held));
        }
    }
}
