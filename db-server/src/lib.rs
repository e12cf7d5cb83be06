//! The `combdb` program: a server that holds databases and meets other peers, and the command line that talks to it.
//!
//! This is a library of one function, so that the tests of the workspace run the very program that users run. To put
//! CombDB into a program of your own, take the crate `db-core`.

mod cli;
mod convert;
mod error;
mod extended_json;
mod grpc;
mod node;
mod peering;
mod running;
mod serve;
mod transactions;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Runs the program with the arguments of this process, and tells how it ended.
///
/// Ends the process itself where the command line asks for help or is wrong.
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli::start_log(&cli);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Decoding BSON recurses as deep as documents nest: a stack for that, with room to spare.
        .thread_stack_size(4 * 1024 * 1024)
        .max_blocking_threads(node::CALLS_MAX * 2)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(cli::run(cli));
    // Calls that outlive the patience of a clean stop are left behind; each commits whole or not at all.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
