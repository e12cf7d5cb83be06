//! The `combdb` program, for the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    db_server::main()
}
