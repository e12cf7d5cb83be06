//! What meeting costs: writers that wrote apart, one late entry that goes before many, and how a peer answers its callers
//! meanwhile.
//!
//! `cargo bench -p combdb-benches --bench merge`; words behind `--` name the parts to run (`fork`, `once`, `reorder`, `bare`, `live`), and a
//! number the most entries a writer has. `fork 8x100000` has eight writers meet that wrote 100,000 entries each.
#![allow(clippy::print_stdout)] // the table is what it is for

use std::time::{Duration, Instant};

use combdb_benches::{Film, Weight, come_once, come_together, films, live, meet, reorder};
use db_core::simulation::Crowd;
use tokio::runtime::Runtime;

/// Writers, and how many entries each of them has.
const FORKS: [(usize, usize); 9] =
    [(2, 100), (2, 1_000), (2, 10_000), (2, 100_000), (8, 100), (8, 1_000), (8, 10_000), (64, 10), (64, 100)];

/// How many entries each of two has that meet while one of them goes on writing.
const TAILS: [usize; 3] = [1_000, 10_000, 100_000];

/// How many entries the late one goes before.
const DEPTHS: [usize; 3] = [1, 100, 10_000];

fn main() {
    // cargo hands the benchmark `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with('-')).collect();
    let most = words.iter().find_map(|word| word.parse().ok()).unwrap_or(usize::MAX);
    let parts: Vec<_> = words.iter().filter(|word| word.parse::<usize>().is_err()).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| *wanted == part);
    let Ok(runtime) = Runtime::new() else { return };
    let asked: Vec<_> = words.iter().filter_map(|word| pair(word)).collect();
    let forks = if asked.is_empty() { FORKS.to_vec() } else { asked };
    let forks: Vec<_> = forks.into_iter().filter(|(_, each)| *each <= most).collect();
    let films = films(
        forks.iter().map(|(writers, each)| writers * each).max().unwrap_or(0).max(20_000),
        Weight::Light,
    );
    if wanted("fork") {
        fork(&runtime, &forks, &films);
    }
    if wanted("once") {
        once(&runtime, &films, most);
    }
    if wanted("bare") {
        bare_reorders();
    }
    if wanted("reorder") {
        reorders(&runtime, &films);
    }
    if wanted("live") {
        lives(&runtime, &films, most);
    }
}

/// Writers and entries as a word says them: `8x100000`.
fn pair(word: &str) -> Option<(usize, usize)> {
    let (writers, each) = word.split_once('x')?;
    Some((writers.parse().ok()?, each.parse().ok()?))
}

fn lives(runtime: &Runtime, films: &[Film], most: usize) {
    println!(
        "\n| entries each | the other's are | seconds | applications an entry | writes meanwhile | median ms, most | reads: median µs, most | memory of both, MiB |\n\
         | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    let lengths = TAILS.into_iter().filter(|each| *each <= most && 2 * each <= films.len());
    for (each, indexer) in lengths.flat_map(|each| [(each, false), (each, true)]) {
        let done = runtime.block_on(live(&films[..2 * each], indexer));
        let state = if indexer { "confirmed" } else { "not confirmed" };
        let in_ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
        println!(
            "| {each} | {state} | {:.2} | {:.2} | {} | {:.1}, {:.1} | {:.1}, {:.1} | {} |",
            done.time.as_secs_f64(),
            done.applied as f64 / done.entries as f64,
            done.writes.len(),
            in_ms(done.writes.get(done.writes.len() / 2)),
            in_ms(done.writes.last()),
            in_ms(done.reads.get(done.reads.len() / 2)) * 1e3,
            in_ms(done.reads.last()) * 1e3,
            done.memory_most_mib,
        );
    }
}

fn fork(runtime: &Runtime, forks: &[(usize, usize)], films: &[Film]) {
    println!(
        "| writers apart | entries each | applications an entry and peer | most on a peer | seconds | entries/s and peer | bytes an entry sent |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    for &(writers, each) in forks {
        let met = runtime.block_on(meet(writers, &films[..writers * each]));
        let entries = met.entries as f64;
        // Every peer but the author has to be sent it.
        let sent = entries * (writers - 1) as f64;
        println!(
            "| {writers} | {each} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} |",
            met.applied / entries,
            met.applied_most as f64 / entries,
            met.time.as_secs_f64(),
            entries * writers as f64 / met.time.as_secs_f64(),
            met.bytes as f64 / sent,
        );
    }
}

/// Meeting beside taking the same number of entries that somebody else has written.
fn once(runtime: &Runtime, films: &[Film], most: usize) {
    println!(
        "\n| entries | how | seconds | ratio | applications an entry | memory before, MiB | at most | more | ratio |\n\
         | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    for each in TAILS.into_iter().filter(|each| *each <= most && 2 * each <= films.len()) {
        let films = &films[..2 * each];
        let alone = runtime.block_on(come_once(films));
        let together = runtime.block_on(come_together(films));
        let more =
            |coming: &combdb_benches::Coming| coming.memory_most_mib.saturating_sub(coming.memory_before_mib);
        for (how, coming) in [("another's, applied once", &alone), ("half written apart, met", &together)] {
            println!(
                "| {} | {how} | {:.2} | {:.2} | {:.2} | {} | {} | {} | {:.2} |",
                films.len(),
                coming.time.as_secs_f64(),
                coming.time.as_secs_f64() / alone.time.as_secs_f64(),
                coming.applied as f64 / films.len() as f64,
                coming.memory_before_mib,
                coming.memory_most_mib,
                more(coming),
                more(coming) as f64 / more(&alone).max(1) as f64,
            );
        }
    }
}

/// The ordering alone: an entry that goes before the last ones of a log of 12,000 is stored, and then the order is mended.
fn bare_reorders() {
    const ENTRIES: u64 = 12_000;
    const ROUNDS: u32 = 5;
    println!(
        "\n| late entry before | undone | applied | ms to order it | µs an entry undone and applied |\n| ---: | ---: | ---: | ---: | ---: |"
    );
    for depth in DEPTHS {
        let (mut time, mut undone, mut applied) = (Duration::MAX, 0, 0);
        for _ in 0..ROUNDS {
            let mut peer = Crowd::new(0);
            for _ in 0..ENTRIES / 250 {
                peer.write_together(250);
            }
            peer.hear_late(depth as u64);
            let before = peer.applications();
            let begin = Instant::now();
            peer.settle();
            time = time.min(begin.elapsed());
            let after = peer.applications();
            (undone, applied) = (after.undone - before.undone, after.applied - before.applied);
        }
        println!(
            "| {depth} | {undone} | {applied} | {:.2} | {:.1} |",
            time.as_secs_f64() * 1e3,
            time.as_secs_f64() * 1e6 / applied as f64,
        );
    }
}

fn reorders(runtime: &Runtime, films: &[Film]) {
    const ENTRIES: usize = 12_000;
    println!(
        "\n| late entry before | undone | applied | ms | µs an entry applied |\n| ---: | ---: | ---: | ---: | ---: |"
    );
    for depth in DEPTHS {
        let done = runtime.block_on(reorder(&films[..ENTRIES], depth));
        let seconds = done.time.as_secs_f64();
        println!(
            "| {depth} | {} | {} | {:.1} | {:.1} |",
            done.undone,
            done.applied,
            seconds * 1e3,
            seconds * 1e6 / done.applied as f64
        );
    }
}
