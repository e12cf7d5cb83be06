//! One table: what CombDB does in a second beside raw redb, and what lies on the disk.
//!
//! `cargo bench -p combdb-benches --bench compare`; words behind `--` name the parts to run (`insert`, `write`, `get`,
//! `find`, `scan`, `apply`, `history`, `disk`), none of them for all.
#![allow(clippy::print_stdout)] // the table is what it is for

use std::hint::black_box;
use std::time::{Duration, Instant};

use combdb_benches::{
    CombDb, Film, FilmSource, Indexes, RawRedb, SHELF_FILMS, Weight, arrive, film_source, films,
};

const FILMS: usize = 10_000;
const BATCH: usize = 1_000;
const ROUNDS: usize = 5;
/// How many films are inserted one by one in a round.
const SINGLES: usize = 200;

/// One line of the table.
struct Line {
    operation: String,
    /// Operations a second, the median of the rounds.
    ours: f64,
    raw: Option<f64>,
}

fn main() {
    // cargo hands the benchmark `--bench`.
    let parts: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let source = match film_source() {
        FilmSource::DataSet => "the data set",
        FilmSource::Seed => "a fixed seed",
    };
    let (whole, light) = (films(FILMS, Weight::Whole), films(FILMS, Weight::Light));
    println!(
        "{FILMS} films from {source}: {} bytes each, light ones {}; medians of {ROUNDS} rounds\n",
        mean_bytes(&whole),
        mean_bytes(&light)
    );
    println!("| operation | CombDB/s | raw redb/s | ratio |\n| --- | ---: | ---: | ---: |");
    if wanted("insert") {
        inserts(&whole);
    }
    if wanted("write") {
        writes(&whole);
    }
    if wanted("get") || wanted("find") {
        let (store, raw) = (CombDb::with(Indexes::Three, &whole), RawRedb::with(Indexes::Three, &whole));
        if wanted("get") {
            gets(&store, &raw);
        }
        if wanted("find") {
            finds(&store, &raw);
        }
    }
    if wanted("scan") {
        scans(&light);
    }
    if wanted("apply") {
        arrivals(&whole);
    }
    if wanted("history") {
        history(&whole);
    }
    if wanted("disk") {
        disk(&whole);
    }
}

/// What keeping confirmed changes for streams to resume from costs inserts.
fn history(films: &[Film]) {
    println!("\n| operation | as it is/s | no change history/s | ratio |\n| --- | ---: | ---: | ---: |");
    for indexes in [Indexes::None, Indexes::Three] {
        let fill = |store: &CombDb| films.chunks(BATCH).for_each(|batch| store.insert_batch(batch));
        Line::measured_after(
            format!("insert batches of {BATCH}, {} indexes", indexes.count()),
            films.len(),
            || CombDb::new(indexes),
            fill,
            || {
                let store = CombDb::new(indexes);
                store.database().set_change_history(0);
                store
            },
            fill,
        )
        .print();
    }
}

fn inserts(films: &[Film]) {
    for indexes in [Indexes::None, Indexes::Three] {
        let with = format!("{} indexes", indexes.count());
        // One at a time on a store that holds the rest.
        let (held, singles) = films.split_at(FILMS - ROUNDS * SINGLES);
        let (store, raw) = (CombDb::with(indexes, held), RawRedb::with(indexes, held));
        let (mut shares, mut raw_shares) = (singles.chunks(SINGLES), singles.chunks(SINGLES));
        Line::measured(
            format!("insert one, {with}"),
            SINGLES,
            || shares.next().into_iter().flatten().for_each(|film| store.insert_one(film)),
            || raw_shares.next().into_iter().flatten().for_each(|film| raw.insert_one(film)),
        )
        .print();
        let fill = |insert: &dyn Fn(&[Film])| films.chunks(BATCH).for_each(insert);
        Line::measured_after(
            format!("insert batches of {BATCH}, {with}"),
            films.len(),
            || CombDb::new(indexes),
            |store| fill(&|batch| store.insert_batch(batch)),
            || RawRedb::new(indexes),
            |raw| fill(&|batch| raw.insert_batch(batch)),
        )
        .print();
        Line::measured_after(
            format!("insert batches of {BATCH}, {with}; redb keeping a log too"),
            films.len(),
            || CombDb::new(indexes),
            |store| fill(&|batch| store.insert_batch(batch)),
            || RawRedb::with_log(indexes),
            |raw| fill(&|batch| raw.insert_batch(batch)),
        )
        .print();
    }
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return };
    let store = CombDb::new(Indexes::Three);
    let share = films.len() / ROUNDS;
    let mut shares = films.chunks(share);
    let mut insert = || {
        let films = shares.next().unwrap_or_default();
        runtime.block_on(store.insert_together(films, 64));
    };
    Line::alone("insert one, 3 indexes, 64 callers at once".to_owned(), share, &mut insert).print();
}

fn writes(films: &[Film]) {
    const CALLS: usize = 200;
    let (store, raw) = (CombDb::with(Indexes::Three, films), RawRedb::with(Indexes::Three, films));
    let ids = || films.iter().cycle().step_by(37).take(CALLS);
    Line::measured(
        "$inc by _id, 3 indexes".to_owned(),
        CALLS,
        || ids().for_each(|film| store.increment(film.id)),
        || ids().for_each(|film| raw.increment(film)),
    )
    .print();
    let mut gone = films.chunks(CALLS);
    let mut raw_gone = films.chunks(CALLS);
    Line::measured(
        "delete by _id, 3 indexes".to_owned(),
        CALLS,
        || gone.next().into_iter().flatten().for_each(|film| store.delete(film.id)),
        || raw_gone.next().into_iter().flatten().for_each(|film| raw.delete(film)),
    )
    .print();
}

/// Numbers of films in an order that is neither theirs nor repeats before all have come.
fn scattered() -> impl Iterator<Item = i32> {
    (0..FILMS).map(|n| (n * 7_919 % FILMS) as i32)
}

fn gets(store: &CombDb, raw: &RawRedb) {
    Line::measured(
        "get by _id".to_owned(),
        FILMS,
        || scattered().for_each(|id| keep(store.get(id))),
        || scattered().for_each(|id| keep(raw.get(id))),
    )
    .print();
}

fn finds(store: &CombDb, raw: &RawRedb) {
    const FINDS: usize = 1_000;
    let shelves = || scattered().take(FINDS).map(|id| id % (FILMS / SHELF_FILMS) as i32);
    Line::measured(
        format!("find {SHELF_FILMS} by index"),
        FINDS,
        || shelves().for_each(|shelf| keep(store.find_shelf(shelf))),
        || shelves().for_each(|shelf| keep(raw.find_shelf(shelf))),
    )
    .print();
}

fn scans(films: &[Film]) {
    const SCANS: usize = 20;
    let (store, raw) = (CombDb::with(Indexes::None, films), RawRedb::with(Indexes::None, films));
    Line::measured(
        "scan with a filter, light documents".to_owned(),
        SCANS * FILMS,
        || (0..SCANS).for_each(|_| keep(store.scan(2_021))),
        || (0..SCANS).for_each(|_| keep(raw.scan())),
    )
    .print();
}

/// A newcomer takes, checks, orders and applies what a peer wrote; raw redb keeping a log puts the same.
fn arrivals(films: &[Film]) {
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return };
    for an_entry in [1, 100] {
        let store = CombDb::new(Indexes::Three);
        if an_entry == 1 {
            runtime.block_on(store.insert_together(films, 250));
        } else {
            films.chunks(an_entry).for_each(|films| store.insert_batch(films));
        }
        // One more creates the indexes.
        let entries = films.len().div_ceil(an_entry) as u64 + 1;
        Line::timed(
            format!("apply a peer's entries, 3 indexes, films an entry: {an_entry}; redb keeping a log too"),
            films.len(),
            || {
                let arrival = runtime.block_on(arrive(&store, entries));
                assert_eq!(arrival.applied, entries, "an entry was applied twice");
                arrival.time
            },
            || {
                let raw = RawRedb::with_log(Indexes::Three);
                let begin = Instant::now();
                films.chunks(BATCH).for_each(|batch| raw.insert_batch(batch));
                begin.elapsed()
            },
        )
        .print();
    }
}

fn disk(films: &[Film]) {
    println!("\n| bytes on the disk a document | CombDB | raw redb |\n| --- | ---: | ---: |");
    for indexes in [Indexes::None, Indexes::Three] {
        let ours = CombDb::with(indexes, films).close_and_measure() / FILMS as u64;
        let raw = RawRedb::with(indexes, films).close_and_measure() / FILMS as u64;
        println!("| {} indexes, batches of {BATCH} | {ours} | {raw} |", indexes.count());
    }
}

impl Line {
    /// Ours and raw in turn, so that the machine's moods meet both.
    fn measured(operation: String, count: usize, mut ours: impl FnMut(), mut raw: impl FnMut()) -> Self {
        Self::measured_after(operation, count, || (), |()| ours(), || (), |()| raw())
    }

    /// The same where each round begins with something made for it.
    fn measured_after<A, B>(
        operation: String,
        count: usize,
        mut make_ours: impl FnMut() -> A,
        mut ours: impl FnMut(&A),
        mut make_raw: impl FnMut() -> B,
        mut raw: impl FnMut(&B),
    ) -> Self {
        let (mut our_speeds, mut raw_speeds) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let made = make_ours();
            our_speeds.push(speed(count, || ours(&made)));
            drop(made);
            let made = make_raw();
            raw_speeds.push(speed(count, || raw(&made)));
        }
        Self { operation, ours: median(our_speeds), raw: Some(median(raw_speeds)) }
    }

    /// The same where either side tells its time itself.
    fn timed(
        operation: String,
        count: usize,
        mut ours: impl FnMut() -> Duration,
        mut raw: impl FnMut() -> Duration,
    ) -> Self {
        let (mut our_speeds, mut raw_speeds) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            our_speeds.push(per_second(count, ours()));
            raw_speeds.push(per_second(count, raw()));
        }
        Self { operation, ours: median(our_speeds), raw: Some(median(raw_speeds)) }
    }

    fn alone(operation: String, count: usize, ours: &mut impl FnMut()) -> Self {
        let speeds = (0..ROUNDS).map(|_| speed(count, &mut *ours)).collect();
        Self { operation, ours: median(speeds), raw: None }
    }

    fn print(&self) {
        let Self { operation, ours, raw } = self;
        match raw {
            Some(raw) => println!("| {operation} | {ours:.0} | {raw:.0} | {:.2} |", ours / raw),
            None => println!("| {operation} | {ours:.0} | | |"),
        }
    }
}

/// Takes a result, so that the work for it is not left out.
fn keep(result: usize) {
    black_box(result);
}

fn speed(count: usize, work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    per_second(count, begin.elapsed())
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn median(mut speeds: Vec<f64>) -> f64 {
    speeds.sort_unstable_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied().unwrap_or_default()
}

fn mean_bytes(films: &[Film]) -> usize {
    films.iter().map(|film| film.document.as_bytes().len()).sum::<usize>() / films.len()
}
