//! `query-cases`: answers the published query cases against the embedded database.
//!
//! Their runner starts this program and speaks to it in lines of JSON: `reset`, `insert`, `index`, `run` and `dump`, each
//! answered with `ok`, `error` (MongoDB's code and a message) or `unsupported`. Values are canonical Extended JSON.

mod answer;
mod embedded;
mod extended_json;
mod indexes;
mod options;
mod writes;

use std::io::{BufRead, Write};

use serde_json::{Value, json};

use answer::{Answer, Stop};
use embedded::Embedded;

/// The stack of the thread that works: documents nest, and the JSON that spells them nests deeper.
const STACK_BYTES: usize = 64 * 1024 * 1024;

fn main() -> std::io::Result<()> {
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(answer_all)?;
    worker.join().unwrap_or_else(|_| Err(std::io::Error::other("the worker has panicked")))
}

/// Answers line by line until the input ends.
fn answer_all() -> std::io::Result<()> {
    let embedded = Embedded::new().map_err(|error| std::io::Error::other(error.to_string()))?;
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    for line in input.lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(request) => answer(&embedded, &request),
            Err(error) => Err(Stop::Unsupported(format!("not JSON: {error}"))),
        };
        let reply = match answer {
            Ok(result) => json!({ "ok": result }),
            Err(Stop::Error { code, message }) => json!({ "error": { "code": code, "msg": message } }),
            Err(Stop::Unsupported(what)) => json!({ "unsupported": what }),
        };
        writeln!(output, "{reply}")?;
        output.flush()?;
    }
    Ok(())
}

fn answer(embedded: &Embedded, request: &Value) -> Answer {
    let collection = embedded.collection(request["collection"].as_str().unwrap_or_default());
    match request["do"].as_str().unwrap_or_default() {
        "reset" => embedded::reset(&collection),
        "insert" => writes::insert(&collection, &request["docs"], true),
        "index" => indexes::create(&collection, &request["key"], &request["options"]),
        "run" => embedded::run(&collection, &request["op"]),
        "dump" => embedded::dump(&collection),
        other => Err(Stop::Unsupported(format!("request {other}"))),
    }
}
