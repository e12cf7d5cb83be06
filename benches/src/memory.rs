//! How much memory this process takes, as Linux tells it; 0 where it cannot be told.

/// The memory that is resident now, in MiB.
pub fn resident_mib() -> u64 {
    field("VmRSS:")
}

/// The most that was resident since [`forget_peak`], in MiB.
pub fn peak_mib() -> u64 {
    field("VmHWM:")
}

/// Lets the peak begin anew with what is resident now.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5"); // without it the peak is the process's
}

fn field(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}
