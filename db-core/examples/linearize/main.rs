//! Reads graphs of entries, one JSON object a line, and prints what the engine's linearizer makes of each.
//!
//! ```text
//! cargo run -p db-core --example linearize < scenarios.jsonl
//! ```
//!
//! A graph has a `name`, the genesis `indexers` and `entries` in an order in which parents come first; an entry has `id`,
//! `writer`, `seq`, `parents`, `time`, `epoch`, `wave` and, where it changes the indexers, `set_indexers`. The answer names
//! the entries `confirmed` and in the `tail`, in order, and the `epoch` with its `indexers`.

mod graph;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done =
        run(io::stdin().lock(), &mut out).and_then(|()| out.flush().map_err(|error| error.to_string()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("linearize: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(input: impl BufRead, out: &mut impl Write) -> Result<(), String> {
    for (number, line) in (1..).zip(input.lines()) {
        let line = line.map_err(|error| format!("line {number}: {error}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = match graph::linearize(&line) {
            Ok(answer) => answer,
            Err(error) => {
                // What was right before the bad line is still an answer.
                out.flush().map_err(|error| error.to_string())?;
                return Err(format!("line {number}: {error}"));
            }
        };
        writeln!(out, "{answer}").map_err(|error| error.to_string())?;
    }
    Ok(())
}
