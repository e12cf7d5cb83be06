//! How long many calls took, each by itself.

use std::fmt;
use std::time::Duration;

/// The times of calls.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Notes what a call took.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that this share of the calls did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// Cells of a table: how many, the median and the 99th percentile in microseconds, the longest in milliseconds.
impl fmt::Display for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |share| self.quantile(share).as_secs_f64() * 1e6;
        write!(
            formatter,
            "{} | {:.0} | {:.0} | {:.1}",
            self.0.len(),
            micros(0.5),
            micros(0.99),
            micros(1.0) / 1e3
        )
    }
}
