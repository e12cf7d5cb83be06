//! Acks: they confirm every write from every state, and then fall silent. All small graphs are searched.
//!
//! What matters of a state is who has voted where with what in the past. So the search makes only graphs of entries that go to a higher
//! wave: an entry that does not adds nothing but something to confirm, and its author could as well have seen what it saw without
//! writing it. And the rule asks whether there is something to confirm, not what: so each graph gets one last write that has seen
//! everything and goes to no higher wave. Once it is confirmed, all that any entry has written is.
//!
//! From there on everybody sees everything, so that graphs with one [`Outlook`] go on alike, and of those only one has to be followed.

use std::collections::{BTreeMap, BTreeSet};

use db_core::EntryHash;
use db_core::linearizer::{EntryNumber, Facts, Linearizer, Node, Past, Standing};

use super::model::writer;

/// A small graph of three indexers: by indexer its entries, each with how much of every log it has in its past (itself included)
/// and its wave. Sixteen bits an entry, so that graphs are cheap to compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Graph {
    logs: [Vec<u16>; 3],
    acks: [u16; 3],
}

type Clock = [usize; 3];

fn clock_of(entry: u16) -> Clock {
    [0, 4, 8].map(|shift| usize::from(entry >> shift & 15))
}

impl Graph {
    fn top(&self) -> Clock {
        [0, 1, 2].map(|i| self.logs[i].len())
    }

    fn wave(&self, me: usize) -> u64 {
        self.logs[me].last().map_or(0, |last| u64::from(last >> 12))
    }

    /// The part of the graph that the clock reaches.
    fn cut(&self, clock: Clock) -> Self {
        Self {
            logs: [0, 1, 2].map(|i| self.logs[i][..clock[i]].to_vec()),
            acks: [0, 1, 2].map(|i| self.acks[i] & ((1 << clock[i]) - 1)),
        }
    }

    /// All causally closed clocks that hold everything `me` has written and seen.
    fn clocks_for(&self, me: usize) -> Vec<Clock> {
        let floor = self.logs[me].last().map_or([0; 3], |last| clock_of(*last));
        let top = self.top();
        let mut clocks = Vec::new();
        for a in floor[0]..=top[0] {
            for b in floor[1]..=top[1] {
                for c in floor[2]..=top[2] {
                    let clock = [a, b, c];
                    let is_closed = (0..3).all(|i| {
                        clock[i].checked_sub(1).is_none_or(|last| {
                            let past = clock_of(self.logs[i][last]);
                            (0..3).all(|j| past[j] <= clock[j])
                        })
                    });
                    if is_closed {
                        clocks.push(clock);
                    }
                }
            }
        }
        clocks
    }

    fn append(&mut self, me: usize, mut clock: Clock, wave: u64, is_ack: bool) {
        clock[me] = self.logs[me].len() + 1;
        let wave = u16::try_from(wave).unwrap();
        assert!(wave < 16 && clock.iter().all(|length| *length < 16), "the graph outgrows its sixteen bits");
        self.acks[me] |= u16::from(is_ack) << self.logs[me].len();
        self.logs[me].push(clock[0] as u16 | (clock[1] as u16) << 4 | (clock[2] as u16) << 8 | wave << 12);
    }

    /// What decides how the graph goes on once everybody has all of it; `last` is the indexer who wrote the last write.
    fn outlook(&self, last: usize) -> Outlook {
        let write = (0..self.logs[last].len()).find(|seq| self.acks[last] >> seq & 1 == 0).unwrap();
        let waves = [0, 1, 2].map(|i| self.wave(i));
        let vote = |i: usize, wave| self.logs[i].iter().copied().find(|entry| u64::from(entry >> 12) > wave);
        let proposals = (0..*waves.iter().max().unwrap()).map(|wave| {
            let leader = (wave % 3) as usize;
            let proposal = vote(leader, wave).filter(|entry| u64::from(entry >> 12) == wave + 1)?;
            let seq = clock_of(proposal)[leader];
            let supporters =
                [0, 1, 2].map(|i| vote(i, wave).is_some_and(|vote| clock_of(vote)[leader] >= seq));
            Some((supporters, clock_of(proposal)[last] > write))
        });
        Outlook { waves, proposals: proposals.collect() }
    }

    fn linearize(&self) -> Linearizer {
        let mut linearizer = Linearizer::new((0..3).map(writer).collect());
        let mut log = Log::default();
        let mut done = [0; 3];
        while let Some(me) = (0..3).find(|i| {
            self.logs[*i].get(done[*i]).is_some_and(|entry| {
                let past = clock_of(*entry);
                (0..3).all(|j| past[j] <= done[j] + usize::from(*i == j))
            })
        }) {
            let entry = self.logs[me][done[me]];
            let mut past = clock_of(entry);
            past[me] -= 1;
            let parents =
                (0..3).filter_map(|i| log.numbers.get(&(i, past[i].checked_sub(1)?)).copied()).collect();
            let number = EntryNumber(log.nodes.len() as u64);
            let node = Node {
                number,
                hash: EntryHash::from_bytes([number.0 as u8; 32]),
                writer: writer(me as u8),
                seq: done[me] as u64,
                time: 0,
                epoch: 0,
                wave: u64::from(entry >> 12),
                parents,
                is_ack: self.acks[me] >> done[me] & 1 == 1,
                is_fork: false,
            };
            let standing = linearizer.check(&node, &log).expect("what the rule gives is legal");
            linearizer.add(&node, &standing, &log).unwrap();
            log.numbers.insert((me, done[me]), number);
            log.nodes.push((node, standing));
            while linearizer.next_part(&log).is_some() {
                linearizer.finish_part(&[], &log).unwrap();
            }
            done[me] += 1;
        }
        assert_eq!(done, self.top());
        linearizer
    }
}

/// A graph that everybody has, as far as the rule and confirmation ask for it: what is still to come will have all of it in its past.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Outlook {
    /// How far each indexer has come.
    waves: [u64; 3],
    /// By wave the proposal, if there is one: who supports it, and whether it has the last write in its past.
    proposals: Vec<Option<([bool; 3], bool)>>,
}

#[derive(Default)]
struct Log {
    nodes: Vec<(Node, Standing)>,
    numbers: BTreeMap<(usize, usize), EntryNumber>,
}

impl Past for Log {
    fn standing(&self, number: EntryNumber) -> Option<Standing> {
        self.nodes.get(number.0 as usize).map(|(_, standing)| standing.clone())
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        self.nodes.get(number.0 as usize).map(|(node, _)| node.parents.clone()).unwrap_or_default()
    }

    fn facts(&self, number: EntryNumber) -> Option<Facts> {
        self.nodes.get(number.0 as usize).map(|(node, standing)| Facts::of(node, standing))
    }
}

/// Every graph of up to `entries_max` entries, each to a higher wave, that writing and syncing in any order can make, waves by the
/// rule, any others at any time taken for gone or not.
fn reachable(entries_max: usize) -> Vec<BTreeSet<Graph>> {
    let mut waves: BTreeMap<Graph, [Vec<u64>; 3]> = BTreeMap::new();
    let mut levels = vec![BTreeSet::from([Graph::default()])];
    for _ in 0..entries_max {
        let mut next = BTreeSet::new();
        for graph in &levels[levels.len() - 1] {
            for me in 0..3 {
                for clock in graph.clocks_for(me) {
                    let seen = graph.cut(clock);
                    let waves = &waves.entry(seen.clone()).or_insert_with(|| due_waves(&seen))[me];
                    for wave in waves.iter().filter(|wave| **wave > graph.wave(me)) {
                        let mut grown = graph.clone();
                        grown.append(me, clock, *wave, true);
                        next.insert(grown);
                    }
                }
            }
        }
        levels.push(next);
    }
    levels
}

/// By indexer, what it may carry that has seen `graph`, whomever it waits for.
fn due_waves(graph: &Graph) -> [Vec<u64>; 3] {
    let linearizer = graph.linearize();
    [0, 1, 2].map(|me| {
        let waves: BTreeSet<u64> = (0..8_u8)
            .filter(|gone| gone >> me & 1 == 0)
            .map(|gone| {
                let gone = (0..3).filter(|other| gone >> other & 1 == 1).map(writer).collect();
                linearizer.next_position(&writer(me), &gone).wave
            })
            .collect();
        waves.into_iter().collect()
    })
}

/// Who of `live` wants to append an ack, and with which wave, everybody having seen all of `graph`; `None` once it is quiet.
/// Quiet with something unconfirmed is the failure looked for.
fn wishes(graph: &Graph, live: &[usize]) -> Option<Vec<(usize, u64)>> {
    let linearizer = graph.linearize();
    let gone: BTreeSet<_> = (0..3).filter(|i| !live.contains(i)).map(|i| writer(i as u8)).collect();
    let wishes: Vec<_> = live
        .iter()
        .copied()
        .filter(|me| linearizer.wants_ack(&writer(*me as u8), &gone))
        .map(|me| (me, linearizer.next_position(&writer(me as u8), &gone).wave))
        .collect();
    if wishes.is_empty() {
        assert!(!linearizer.has_unconfirmed_writes(), "quiet, and not all confirmed: {live:?} on {graph:?}");
        return None;
    }
    Some(wishes)
}

/// Fires acks in every order, one after the other and several at once, from each of `graphs`. Of graphs with one key only one is
/// followed.
fn fire_all<'a, K: Ord>(
    graphs: impl IntoIterator<Item = &'a Graph>,
    live: &[usize],
    key: impl Fn(&Graph) -> K,
) {
    let mut known = BTreeSet::new();
    let mut open: Vec<(Graph, usize)> = Vec::new();
    for graph in graphs {
        let mut written = graph.clone();
        written.append(live[0], graph.top(), graph.wave(live[0]), false);
        if known.insert(key(&written)) {
            open.push((written, 0));
        }
    }
    while let Some((graph, fired)) = open.pop() {
        assert!(fired < 12, "acks do not end: {graph:?}");
        let Some(wishes) = wishes(&graph, live) else { continue };
        let top = graph.top();
        for chosen in 1..1_u8 << wishes.len() {
            let mut next = graph.clone();
            for (at, (me, wave)) in wishes.iter().enumerate() {
                if chosen >> at & 1 == 1 {
                    next.append(*me, top, *wave, true);
                }
            }
            if known.insert(key(&next)) {
                open.push((next, fired + 1));
            }
        }
    }
}

/// Whoever is there: everybody, or all but one.
const LIVE: [&[usize]; 4] = [&[0, 1, 2], &[0, 1], &[0, 2], &[1, 2]];

#[test]
fn from_every_small_state_acks_confirm_all_and_end() {
    let levels = reachable(5);
    for live in LIVE {
        fire_all(levels.iter().flatten(), live, Graph::clone);
    }
}

#[test]
fn from_every_state_of_up_to_eight_entries_acks_confirm_all_and_end() {
    let levels = reachable(8);
    let graphs: usize = levels.iter().map(BTreeSet::len).sum();
    assert!(graphs > 100_000, "the search has lost its way: {graphs} graphs");
    for live in LIVE {
        fire_all(levels.iter().flatten(), live, |graph| graph.outlook(live[0]));
    }
}

#[test]
fn graphs_of_one_outlook_go_on_alike() {
    let levels = reachable(6);
    for live in LIVE {
        let mut known = BTreeMap::new();
        let mut met_again = 0;
        for graph in levels.iter().flatten() {
            let mut written = graph.clone();
            written.append(live[0], graph.top(), graph.wave(live[0]), false);
            let wishes = wishes(&written, live);
            let outlook = written.outlook(live[0]);
            let same = known.entry(outlook).or_insert_with(|| (wishes.clone(), written.clone()));
            assert_eq!(same.0, wishes, "{:?} and {written:?}", same.1);
            met_again += usize::from(same.1 != written);
        }
        assert!(met_again > known.len(), "an outlook rarely stands for more than one graph");
    }
}
