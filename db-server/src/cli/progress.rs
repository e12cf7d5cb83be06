//! Progress of long work: a bar where a person looks at a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use proto::v1::IndexBuild;

use super::lines::Extent;
use super::output::thousands;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress of an import, on stderr.
pub(crate) struct Progress {
    extent: Extent,
    bar: Option<ProgressBar>,
    started: Instant,
    line_at: Instant,
}

impl Progress {
    /// Begins to show progress.
    pub(crate) fn new(extent: Extent) -> Self {
        let bar = is_watched().then(|| bar(extent.bytes));
        let started = Instant::now();
        Self { extent, bar, started, line_at: started }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, documents: u64) {
        let text = || format!("{} documents, {}/s", thousands(documents), thousands(self.rate(documents)));
        if let Some(bar) = &self.bar {
            bar.set_position(self.extent.read.load(Ordering::Relaxed));
            bar.set_message(text());
        } else if self.line_at.elapsed() >= LINE_EVERY {
            eprintln!("{}", text());
            self.line_at = Instant::now();
        }
    }

    /// Writes a line to stderr without tearing the bar.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// How long it has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Documents a second so far.
    pub(crate) fn rate(&self, documents: u64) -> u64 {
        let seconds = self.elapsed().as_secs_f64();
        if seconds > 0.0 { (documents as f64 / seconds) as u64 } else { 0 }
    }
}

/// Progress of the building of indexes, on stderr.
pub(crate) struct BuildProgress {
    bar: Option<ProgressBar>,
    line_at: Instant,
}

impl BuildProgress {
    /// Begins to show progress as soon as there is some.
    pub(crate) fn new() -> Self {
        Self { bar: None, line_at: Instant::now() }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, build: &IndexBuild) {
        let IndexBuild { collection, index, documents, documents_total } = build;
        let text = || {
            let (documents, total) = (thousands(*documents), thousands(*documents_total));
            format!("{collection}.{index}: {documents} of {total} documents")
        };
        if is_watched() {
            let bar = self.bar.get_or_insert_with(|| bar(Some(0)));
            bar.set_length(*documents_total);
            bar.set_position(*documents);
            bar.set_message(text());
        } else if self.line_at.elapsed() >= LINE_EVERY {
            eprintln!("{}", text());
            self.line_at = Instant::now();
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Whether a person looks at stderr.
fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

fn bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:40} {percent:>3}%  {msg}  {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {msg}  {elapsed}"),
    };
    // The templates are fixed and right; a bar in the default style is no reason to fail either.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}
