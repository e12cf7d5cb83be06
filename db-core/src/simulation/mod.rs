//! What tests put below and around real engines, so that chance comes from a seed: the disk.

mod chance;
mod disk;

pub(crate) use chance::Chance;
pub(crate) use disk::SimDisk;
