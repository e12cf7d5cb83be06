//! Against a search that remembers nothing, while entries come, are sought, and are refused.

use proptest::prelude::*;

use super::super::{Facts, Standing};
use super::*;

/// By number: the parents.
#[derive(Debug, Clone, Default)]
struct Graph(Vec<Vec<EntryNumber>>);

impl Past for Graph {
    fn standing(&self, _: EntryNumber) -> Option<Standing> {
        None
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        self.0[number.0 as usize].clone()
    }

    fn facts(&self, _: EntryNumber) -> Option<Facts> {
        None
    }
}

impl Graph {
    fn next(&self) -> EntryNumber {
        EntryNumber(self.0.len() as u64)
    }

    /// Entries as far back as such a choice says; none if nothing is there.
    fn choose(&self, choices: [u16; 2]) -> Vec<EntryNumber> {
        let len = self.0.len() as u64;
        // Mostly one of the last, sometimes any.
        let back = |choice: u16| {
            if choice.is_multiple_of(4) { u64::from(choice / 4) } else { u64::from(choice % 7) }
        };
        let mut chosen: Vec<_> = choices
            .into_iter()
            .filter_map(|choice| len.checked_sub(1 + back(choice)).map(EntryNumber))
            .collect();
        chosen.dedup();
        chosen
    }

    fn plain_search(&self, heads: &[EntryNumber], targets: &BTreeSet<EntryNumber>) -> bool {
        let (mut visited, mut open) = (BTreeSet::new(), heads.to_vec());
        while let Some(at) = open.pop() {
            if targets.contains(&at) {
                return true;
            }
            if visited.insert(at) {
                open.extend(self.parents(at));
            }
        }
        false
    }
}

/// What may be sought, which grows.
struct Searches {
    graph: Graph,
    sought: Vec<(Sought, BTreeSet<EntryNumber>)>,
    findings: SharedFindings,
}

impl Searches {
    fn agree(&self, heads: &[EntryNumber]) -> Result<(), TestCaseError> {
        let (forked, findings) = (BTreeSet::new(), &self.findings);
        let ancestry = Ancestry { forked: &forked, forks: None, findings, past: &self.graph };
        for (sought, targets) in &self.sought {
            let Some(lowest) = targets.first() else { continue };
            let found = ancestry.reaches(heads, *sought, *lowest, |at| targets.contains(&at));
            prop_assert_eq!(found, self.graph.plain_search(heads, targets), "{:?} of {:?}", heads, targets);
        }
        Ok(())
    }

    /// As the linearizer judges an entry before it is added, and as it adds it.
    fn push(&mut self, parents: Vec<EntryNumber>) {
        self.findings.lock().forget_from(self.graph.next());
        self.graph.0.push(parents);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_remembered_is_what_a_search_finds(
        acts in prop::collection::vec((any::<u8>(), any::<[u16; 2]>(), 1..24_usize), 1..40),
    ) {
        let kinds = [Sought::Proposal(EntryNumber(0)), Sought::Votes(EntryNumber(0), 0), Sought::Votes(EntryNumber(0), 1)];
        let sought = kinds.into_iter().map(|kind| (kind, BTreeSet::new())).collect();
        let mut searches = Searches { graph: Graph::default(), sought, findings: SharedFindings::default() };
        for (what, choices, count) in acts {
            let heads = searches.graph.choose(choices);
            match what % 4 {
                // They come, and the last may be sought.
                0 | 1 => {
                    for at in 0..count {
                        let parents = if at == 0 { heads.clone() } else { searches.graph.choose([1, choices[1]]) };
                        searches.push(parents);
                        searches.agree(&[EntryNumber(searches.graph.0.len() as u64 - 1)])?;
                    }
                    let (last, kind) = (searches.graph.next().0 - 1, usize::from(what / 4) % 4);
                    if let Some((_, targets)) = searches.sought.get_mut(kind) {
                        searches.findings.lock().forget_from(EntryNumber(last));
                        targets.insert(EntryNumber(last));
                    }
                }
                // They are judged one after the other, and refused.
                2 => {
                    let before = searches.graph.0.len();
                    for _ in 0..count {
                        searches.agree(&searches.graph.choose(choices))?;
                        searches.push(searches.graph.choose([1, choices[1]]));
                    }
                    searches.graph.0.truncate(before);
                }
                _ => searches.agree(&heads)?,
            }
        }
    }
}

#[test]
fn an_entry_is_asked_once_for_its_parents() {
    let mut searches = Searches {
        graph: Graph(vec![vec![]; 3]),
        sought: vec![(Sought::Proposal(EntryNumber(1)), BTreeSet::from([EntryNumber(1)]))],
        findings: SharedFindings::default(),
    };
    for last in 2..200 {
        searches.push(vec![EntryNumber(last)]);
        searches.agree(&[EntryNumber(last + 1)]).unwrap();
        let mut findings = searches.findings.lock();
        assert_eq!(findings.of(EntryNumber(last + 1), Sought::Proposal(EntryNumber(1))), Some(false));
    }
}
