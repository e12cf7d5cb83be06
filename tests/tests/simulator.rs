//! The simulator's runs: many peers, one truth, whatever network, disks, clocks and members without manners do.
//!
//! `COMBDB_SIMULATOR_SEEDS=5000 cargo test -p combdb-tests --test simulator --release -- a_few_seeds` runs more seeds, from
//! `COMBDB_SIMULATOR_FIRST` on and with `COMBDB_SIMULATOR_STEPS` steps each; `an_indexer` instead of `a_few_seeds` those in which an
//! indexer forks its log. A failure names what runs its seed again. With `--features planted-faults` mistakes are planted to see that
//! they are found.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test's helpers too

use db_core::simulation::{Options, Report, run};

/// How many seeds are run where nobody asks for more.
const SEEDS: u64 = 16;

/// A run as it is asked for.
fn asked(options: Options) -> Options {
    Options { steps: number("COMBDB_SIMULATOR_STEPS").unwrap_or(options.steps), ..options }
}

fn run_or_tell(seed: u64, options: Options, test: &str) -> Report {
    run(seed, options).unwrap_or_else(|failure| {
        let steps = options.steps;
        let variables =
            format!("COMBDB_SIMULATOR_FIRST={seed} COMBDB_SIMULATOR_SEEDS=1 COMBDB_SIMULATOR_STEPS={steps}");
        panic!(
            "{failure}\nAgain: {variables} cargo test -p combdb-tests --all-features --test simulator {test}"
        )
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_few_seeds_go_well() {
    let (first, seeds) =
        (number("COMBDB_SIMULATOR_FIRST").unwrap_or(0), number("COMBDB_SIMULATOR_SEEDS").unwrap_or(SEEDS));
    let mut all = Report::default();
    for seed in first..first + seeds {
        let report = run_or_tell(seed, asked(Options::default()), "a_few_seeds");
        all.calls += report.calls;
        all.calls_meanwhile += report.calls_meanwhile;
        all.confirmed += report.confirmed;
        all.waited += report.waited;
        all.closed += report.closed;
        all.crashes += report.crashes;
        all.refused += report.refused;
        all.outlawed += report.outlawed;
        all.transactions += report.transactions;
        all.resubmitted += report.resubmitted;
        all.rotated += report.rotated;
        all.replaced += report.replaced;
        all.resolved += report.resolved;
        all.restored += report.restored;
        all.roamed += report.roamed;
        all.lost += report.lost;
        all.looked_back += report.looked_back;
        all.histories += report.histories;
        all.blamed += report.blamed;
        all.lost_keys += report.lost_keys;
        all.forked_by_backups += report.forked_by_backups;
        all.given_up += report.given_up;
    }
    println!("{seeds} seeds: {all:?}");
    if seeds >= SEEDS {
        // What never happens shows nothing.
        let happened = [all.calls, all.confirmed, all.crashes, all.refused, all.outlawed];
        assert!(happened.iter().all(|count| *count > 10), "{all:?}");
        let happened = [all.closed, all.transactions, all.rotated, all.replaced, all.restored];
        assert!(happened.iter().all(|count| *count > 5), "{all:?}");
        let happened = [all.roamed, all.lost, all.looked_back, all.histories, all.blamed];
        assert!(happened.iter().all(|count| *count > 5), "{all:?}");
        let happened = [all.resolved, all.resubmitted, all.calls_meanwhile];
        assert!(happened.iter().all(|count| *count > 0), "{all:?}");
    }
}

#[test]
fn an_indexer_that_forks_its_log_is_named_and_all_come_to_one_view() {
    let options = asked(Options { changes_indexers: false, forks_indexers: true, ..Options::default() });
    let first = number("COMBDB_SIMULATOR_FIRST").unwrap_or(0);
    let seeds = number("COMBDB_SIMULATOR_SEEDS").unwrap_or(SEEDS);
    let mut named = 0;
    for seed in first..first + seeds {
        named += run_or_tell(seed, options, "an_indexer").forked_indexers;
    }
    assert!(named > 0 || seeds < SEEDS, "no indexer has forked its log in {seeds} seeds");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 4] {
        let options = Options { steps: 200, ..Options::default() };
        assert_eq!(run(seed, options).unwrap(), run(seed, options).unwrap());
    }
}

/// How many seeds find a planted fault at the most.
#[cfg(feature = "planted-faults")]
const SEEDS_TO_FIND: u64 = 60;

#[cfg(feature = "planted-faults")]
#[test]
fn every_planted_fault_is_found() {
    use db_core::simulation::{Fault, plant};

    let all = Options::default();
    // With nobody who breaks rules on purpose it is the orders of honest peers that come apart.
    let honest = Options { has_outlaws: false, ..all };
    for (fault, options, signs) in [
        (
            Fault::MajorityLowered,
            honest,
            &["another order is confirmed", "equal sets of entries", "another epoch than its past knows"][..],
        ),
        (
            Fault::AdvanceRuleDropped,
            all,
            &["an entry that breaks a rule", "a confirmation was taken back", "another order is confirmed"],
        ),
        (Fault::IndexEntryForgotten, all, &["index entries are not those of the documents"]),
        (Fault::SyncSkipped, all, &["were durable", "an acknowledged entry is lost"]),
        (Fault::ReadTakenForGranted, all, &["would have seen something else", "is not that of a serial run"]),
        (
            Fault::UndoNotTold,
            all,
            &["the events of a local stream come to", "a live query is not", "is not as it is told"],
        ),
        (Fault::ConfirmedNotShown, all, &["what confirmed events come to"]),
        (Fault::GapsKept, all, &["what readers share hides what is confirmed"]),
    ] {
        plant(Some(fault));
        let found = (0..SEEDS_TO_FIND).find_map(|seed| run(seed, options).err());
        plant(None);
        let failure = found.unwrap_or_else(|| panic!("{fault:?} is not found in {SEEDS_TO_FIND} seeds"));
        println!("{fault:?}: {failure}");
        plant(Some(fault));
        let again = run(failure.seed, options).err();
        plant(None);
        assert_eq!(again, Some(failure.clone()), "{fault:?} does not show again");
        assert!(signs.iter().any(|sign| failure.what.contains(sign)), "{fault:?} shows otherwise: {failure}");
    }
}
