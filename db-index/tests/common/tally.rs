//! Counting how cases end, and holding that against what is known to fail.

use std::collections::BTreeMap;

use super::Case;

/// How a case ended.
pub enum Outcome {
    /// As expected.
    Passed,
    /// Something else, and what.
    Failed(String),
    /// It needs more than the test has: what.
    LeftOut(String),
}

impl Outcome {
    /// A failure that shows the case.
    pub fn failed(case: &Case, found: &str) -> Self {
        let json = &case.json;
        Self::Failed(format!(
            "{}\n    on {}\n    want {}\n    {found}",
            json["op"], json["docs"], json["expect"]
        ))
    }
}

/// The outcomes of many cases.
pub struct Tally {
    known: BTreeMap<&'static str, &'static str>,
    /// Passed, failed and left out, by area and tier.
    counts: BTreeMap<(String, u64), [usize; 3]>,
    left_out: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Tally {
    /// A tally with the failures that are known: `id reason` a line.
    pub fn new(known: &'static str) -> Self {
        let lines = known.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let known = lines.map(|line| line.split_once(' ').expect("`id reason`")).collect();
        Self { known, counts: BTreeMap::new(), left_out: BTreeMap::new(), wrong: Vec::new() }
    }

    /// Takes an outcome.
    pub fn count(&mut self, case: &Case, outcome: Outcome) {
        let counts = self.counts.entry((case.area().to_owned(), case.tier())).or_default();
        match (outcome, self.known.get(case.id())) {
            (Outcome::Passed, None) => counts[0] += 1,
            (Outcome::Passed, Some(_)) => {
                counts[0] += 1;
                self.wrong.push(format!("{} passes and is listed as known to fail", case.id()));
            }
            (Outcome::Failed(_), Some(_)) => counts[1] += 1,
            (Outcome::Failed(why), None) => {
                counts[1] += 1;
                self.wrong.push(format!("{} {}: {why}", case.id(), case.text("title")));
            }
            (Outcome::LeftOut(why), _) => {
                counts[2] += 1;
                *self.left_out.entry(why).or_default() += 1;
            }
        }
    }

    /// Prints the counts.
    ///
    /// # Panics
    /// If a case failed that is not known to, or passed that is, or fewer than `least` were run.
    pub fn finish(self, least: usize) {
        println!("{:16} {:>6} {:>6} {:>8}", "area, tier", "passed", "failed", "left out");
        let mut run = 0;
        for ((area, tier), [passed, failed, left_out]) in &self.counts {
            println!("{:16} {passed:>6} {failed:>6} {left_out:>8}", format!("{area}, {tier}"));
            run += passed + failed;
        }
        println!("left out: {:#?}", self.left_out);
        assert!(self.wrong.is_empty(), "{} cases:\n{}", self.wrong.len(), self.wrong.join("\n"));
        assert!(run >= least, "only {run} cases were run");
    }
}
