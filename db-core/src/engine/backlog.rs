//! What ordering that which is stored and not yet ordered would cost.

/// What ordering all that is stored would cost now, and what has been spent before: for deciding when to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Backlog {
    /// How many entries were stored since the database was opened, those of the tail that it was opened with among them.
    pub(crate) stored: u64,
    /// How many times one of them was applied.
    pub(crate) applied: u64,
    /// How many are applied and may be undone again.
    pub(crate) tail: u64,
    /// How many are stored and not applied, those that are confirmed among them.
    pub(crate) unordered: u64,
    /// How many of the tail would have to be undone, and applied again, to order all.
    pub(crate) displaced: u64,
}
