//! An embedder's first fifty lines: `cargo run -p db-core --example embed`.
//!
//! A store in a temporary folder, typed documents, an index, a query with its plan, an update that many peers could make
//! at once without losing a count.

use bson::doc;
use db_core::{Collection, Result, Store};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Film {
    #[serde(rename = "_id")]
    id: i32,
    title: String,
    year: i32,
    seen: i64,
}

#[allow(clippy::print_stdout)] // it is what an example is for
fn main() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("combdb-embed-{}", std::process::id()));
    let store = Store::open(&directory)?;
    let database = store.create_database("demo")?;
    let films: Collection<Film> = database.collection("films");

    let film = |id, title: &str, year| Film { id, title: title.to_owned(), year, seen: 0 };
    films
        .insert_many([film(1, "Metropolis", 1927), film(2, "Alien", 1979), film(3, "Arrival", 2016)])
        .run()?;
    films.create_index(doc! { "year": -1 }).run()?;

    films.update_many(doc! { "year": { "$gte": 1970 } }, doc! { "$inc": { "seen": 1 } }).run()?;

    println!("newest first:");
    for film in films.find(doc! { "seen": { "$gt": 0 } }).sort(doc! { "year": -1 }).run()? {
        let film = film?;
        println!("  {} ({}), seen {} time", film.title, film.year, film.seen);
    }

    let plan = films.find(doc! { "year": 1979 }).explain()?;
    println!(
        "found by: {}",
        plan.get_document("queryPlanner")
            .and_then(|p| p.get_document("winningPlan"))
            .map_or_else(|e| e.to_string(), ToString::to_string)
    );
    let status = database.status();
    println!("{} entries in the log, {} of them confirmed", status.entries, status.confirmed);

    store.close();
    // What is on the disk is found again.
    let store = Store::open(&directory)?;
    let films: Collection<Film> = store.database("demo")?.collection("films");
    println!("after reopening: {} films", films.count_documents(doc! {}).run()?);
    store.close();
    let _ = std::fs::remove_dir_all(directory);
    Ok(())
}
