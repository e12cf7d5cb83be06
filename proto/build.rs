//! Compiles `combdb/v1/*.proto` with protox, so that no `protoc` is needed, and writes the descriptor set that the
//! server's reflection serves.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const FILES: [&str; 14] = [
    "combdb/v1/changes.proto",
    "combdb/v1/collections.proto",
    "combdb/v1/conflicts.proto",
    "combdb/v1/databases.proto",
    "combdb/v1/document.proto",
    "combdb/v1/documents.proto",
    "combdb/v1/history.proto",
    "combdb/v1/log.proto",
    "combdb/v1/peers.proto",
    "combdb/v1/receipts.proto",
    "combdb/v1/rejections.proto",
    "combdb/v1/tickets.proto",
    "combdb/v1/transactions.proto",
    "combdb/v1/writers.proto",
];

/// Messages that hold a ticket: `Debug` is written by hand for them, so that no log shows one.
const SECRET: [&str; 2] = ["combdb.v1.JoinDatabaseRequest", "combdb.v1.CreateTicketResponse"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=combdb/v1");
    let descriptors = protox::compile(FILES, ["."])?;
    let path = PathBuf::from(env::var("OUT_DIR")?).join("combdb.v1.bin");
    fs::write(path, descriptors.encode_to_vec())?;
    // `bytes` fields become `Bytes`, so that a document is not copied on its way through.
    tonic_prost_build::configure().bytes(".").skip_debug(SECRET).compile_fds(descriptors)?;
    Ok(())
}
