//! `query-cases`: answers the published query cases, against a database in memory or, with `--grpc ADDRESS`, against a
//! running server.
//!
//! Their runner starts this program and speaks to it in lines of JSON: `reset`, `insert`, `index`, `run` and `dump`, each
//! answered with `ok`, `error` (MongoDB's code and a message) or `unsupported`. Values are canonical Extended JSON.

mod answer;
mod commands;
mod embedded;
mod extended_json;
mod grpc;
mod options;
mod target;

use std::io::{BufRead, Write};

use serde_json::{Value, json};

use answer::{Answer, Stop};
use embedded::Embedded;
use grpc::Grpc;
use target::Target;

/// The stack of the thread that works: documents nest, and the JSON that spells them nests deeper.
const STACK_BYTES: usize = 64 * 1024 * 1024;

fn main() -> std::io::Result<()> {
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(answer_all)?;
    worker.join().unwrap_or_else(|_| Err(std::io::Error::other("the worker has panicked")))
}

/// The target that the command line names.
fn target() -> Result<Box<dyn Target>, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Ok(Box::new(Embedded::new().map_err(|error| error.to_string())?)),
        ["--grpc", address] => match Grpc::connect(address) {
            Ok(grpc) => Ok(Box::new(grpc)),
            Err(Stop::Error { message, .. } | Stop::Unsupported(message)) => Err(message),
        },
        _ => Err("usage: query-cases [--grpc ADDRESS]".to_owned()),
    }
}

/// Answers line by line until the input ends.
fn answer_all() -> std::io::Result<()> {
    let target = target().map_err(std::io::Error::other)?;
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    for line in input.lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(request) => answer(&*target, &request),
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

fn answer(target: &dyn Target, request: &Value) -> Answer {
    let collection = request["collection"].as_str().unwrap_or_default();
    match request["do"].as_str().unwrap_or_default() {
        "reset" => commands::reset(target, collection),
        "insert" => commands::insert(target, collection, &request["docs"], true),
        "index" => commands::create_index(target, collection, &request["key"], &request["options"]),
        "run" => commands::run(target, collection, &request["op"]),
        "dump" => commands::dump(target, collection),
        other => Err(Stop::Unsupported(format!("request {other}"))),
    }
}
