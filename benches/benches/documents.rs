//! Documents in and out, CombDB beside raw redb doing the same puts of the same bytes, and entries from a peer.

use std::hint::black_box;
use std::time::Duration;

use combdb_benches::{CombDb, Film, Indexes, RawRedb, SHELF_FILMS, Weight, arrive, films};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const FILMS: usize = 10_000;
const BATCH: usize = 1_000;

/// Gives films with `_id`s that were never given before.
struct Fresh {
    films: Vec<Film>,
    next: i32,
}

impl Fresh {
    fn take(&mut self, count: usize) -> Vec<Film> {
        (0..count)
            .map(|_| {
                let film = &self.films[self.next as usize % self.films.len()];
                self.next += 1;
                film.renumbered(self.next)
            })
            .collect()
    }
}

fn inserts(criterion: &mut Criterion) {
    let films = films(FILMS, Weight::Whole);
    for (name, count) in [("insert_one", 1), ("insert_1000", BATCH)] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20).measurement_time(Duration::from_secs(4));
        group.throughput(Throughput::Elements(count as u64));
        for indexes in [Indexes::None, Indexes::Three] {
            let mut fresh = Fresh { films: films.clone(), next: 0 };
            let store = CombDb::new(indexes);
            group.bench_function(BenchmarkId::new("combdb", indexes.count()), |bench| {
                bench.iter_batched(
                    || fresh.take(count),
                    |films| match films.as_slice() {
                        [film] => store.insert_one(film),
                        films => store.insert_batch(films),
                    },
                    BatchSize::PerIteration,
                );
            });
            let mut fresh = Fresh { films: films.clone(), next: 0 };
            let raw = RawRedb::new(indexes);
            group.bench_function(BenchmarkId::new("raw", indexes.count()), |bench| {
                bench.iter_batched(
                    || fresh.take(count),
                    |films| raw.insert_batch(&films),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

fn reads(criterion: &mut Criterion) {
    let films = films(FILMS, Weight::Whole);
    let shelves = FILMS / SHELF_FILMS;
    let (store, raw) = (CombDb::with(Indexes::Three, &films), RawRedb::with(Indexes::Three, &films));
    let mut at = (0..FILMS).map(|n| (n * 7_919 % FILMS) as i32).cycle();
    let mut next = || at.next().unwrap_or_default();
    let mut group = criterion.benchmark_group("get");
    group.bench_function("combdb", |bench| bench.iter(|| black_box(store.get(next()))));
    group.bench_function("raw", |bench| bench.iter(|| black_box(raw.get(next()))));
    group.finish();

    let mut group = criterion.benchmark_group("find_100");
    group.throughput(Throughput::Elements(SHELF_FILMS as u64));
    group.bench_function("combdb", |bench| {
        bench.iter(|| black_box(store.find_shelf(next() % shelves as i32)));
    });
    group.bench_function("raw", |bench| {
        bench.iter(|| black_box(raw.find_shelf(next() % shelves as i32)));
    });
    group.finish();
}

fn scans(criterion: &mut Criterion) {
    let films = films(FILMS, Weight::Light);
    let (store, raw) = (CombDb::with(Indexes::None, &films), RawRedb::with(Indexes::None, &films));
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(FILMS as u64));
    group.bench_function("combdb", |bench| bench.iter(|| black_box(store.scan(2_021))));
    group.bench_function("raw", |bench| bench.iter(|| black_box(raw.scan())));
    group.finish();
}

fn arrivals(criterion: &mut Criterion) {
    let films = films(FILMS, Weight::Whole);
    let store = CombDb::new(Indexes::Three);
    for batch in films.chunks(100) {
        store.insert_batch(batch);
    }
    // One more creates the indexes.
    let entries = (FILMS / 100) as u64 + 1;
    let runtime = tokio::runtime::Runtime::new();
    let Ok(runtime) = runtime else { return };
    let mut group = criterion.benchmark_group("arrive");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    group.throughput(Throughput::Elements(FILMS as u64));
    group.bench_function("combdb", |bench| {
        bench.iter_custom(|times| (0..times).map(|_| runtime.block_on(arrive(&store, entries)).time).sum());
    });
    group.finish();
}

criterion_group!(benches, inserts, reads, scans, arrivals);
criterion_main!(benches);
