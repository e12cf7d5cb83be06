//! What many writers cost who have written a few entries each: the heads, an entry of somebody who has seen all of them, a
//! meeting of two peers that know them, opening the store, memory.
//!
//! `cargo bench -p combdb-benches --bench writers`; numbers behind `--` are other numbers of writers.
#![allow(clippy::print_stdout)] // the tables are what it is for

use std::time::{Duration, Instant};

use combdb_benches::memory;
use db_core::simulation::{Acquaintance, Crowd};

const WRITERS: [u64; 2] = [1_000, 20_000];
/// How many entries each writer has.
const EACH: u64 = 3;
const ROUNDS: u32 = 21;

fn main() {
    // cargo hands the benchmark `--bench`.
    let counts: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let counts = if counts.is_empty() { WRITERS.to_vec() } else { counts };
    println!(
        "| writers | each has seen | taking in an entry, µs | an own write: ms | bytes written | opening it: ms | memory, MiB |\n\
         | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    );
    let mut meetings = Vec::new();
    for writers in counts {
        for acquaintance in [Acquaintance::Strangers, Acquaintance::Successors] {
            measure(writers, acquaintance, &mut meetings);
        }
    }
    println!(
        "\n| writers | each has seen | meeting with as much: ms | bytes | with an entry more on both: ms | bytes |\n\
         | ---: | --- | ---: | ---: | ---: | ---: |"
    );
    for row in meetings {
        println!("{row}");
    }
}

fn measure(writers: u64, acquaintance: Acquaintance, meetings: &mut Vec<String>) {
    let seen = match acquaintance {
        Acquaintance::Strangers => "nothing",
        Acquaintance::Successors => "all before it",
    };
    let before_mib = memory::resident_mib();
    let mut peer = Crowd::new(0);
    let begin = Instant::now();
    peer.hear(writers, EACH, acquaintance);
    let heard = begin.elapsed();

    // The first own entries take up the heads, as many as an entry may name.
    peer.write(u64::from(ROUNDS));
    let mut written = 0;
    let own = median(|| written = peer.write(1));
    peer.switch_off();
    let begin = Instant::now();
    peer.switch_on();
    let opening = begin.elapsed();
    let memory_mib = memory::resident_mib().saturating_sub(before_mib);
    println!(
        "| {writers} | {seen} | {:.1} | {:.2} | {written} | {:.1} | {memory_mib} |",
        heard.as_secs_f64() * 1e6 / (writers * EACH) as f64,
        own.as_secs_f64() * 1e3,
        opening.as_secs_f64() * 1e3,
    );

    let mut other = peer.twin(1);
    let mut talk = peer.meet(&mut other);
    let equal = median(|| talk = peer.meet(&mut other));
    let bytes = talk.bytes;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS {
        peer.write(1);
        other.write(1);
        let begin = Instant::now();
        talk = peer.meet(&mut other);
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    meetings.push(format!(
        "| {writers} | {seen} | {:.2} | {bytes} | {:.2} | {} |",
        equal.as_secs_f64() * 1e3,
        times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64) * 1e3,
        talk.bytes,
    ));
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            work();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
