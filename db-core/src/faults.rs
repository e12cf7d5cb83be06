//! Faults to plant on purpose, so that the simulator can be seen to find them. Without the feature `planted-faults` there are
//! none, and asking for one costs nothing.
#![cfg_attr(not(feature = "planted-faults"), allow(unreachable_pub))] // then nothing makes it public

/// A mistake that the engine makes while it is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One indexer less than a majority confirms.
    MajorityLowered,
    /// An indexer's entry may carry any wave.
    AdvanceRuleDropped,
    /// Undoing an entry leaves one of its index entries as it is.
    IndexEntryForgotten,
    /// A commit does not wait for the disk.
    SyncSkipped,
    /// At its place a transaction takes for granted that what it read is the same there.
    ReadTakenForGranted,
    /// Those who watch are not told where undoing an entry has changed the view.
    UndoNotTold,
    /// Who was told that an entry is confirmed does not find it in what is confirmed, until its peer has ordered all it has.
    ConfirmedNotShown,
    /// Where readers have found that nothing is confirmed they still go by that once more is.
    GapsKept,
}

#[cfg(feature = "planted-faults")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in everything that this thread does from now on, or none.
#[cfg(feature = "planted-faults")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this fault is planted.
#[cfg(feature = "planted-faults")]
pub(crate) fn is_planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether this fault is planted: never.
#[cfg(not(feature = "planted-faults"))]
#[inline]
pub(crate) const fn is_planted(_: Fault) -> bool {
    false
}
