//! The combdb program.
fn main() {}
