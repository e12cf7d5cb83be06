//! The `combdb` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    db_server::main()
}
