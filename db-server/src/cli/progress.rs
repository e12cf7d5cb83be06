//! Progress of long work: a bar where a person looks at a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use proto::v1::IndexBuild;

use super::lines::Extent;
use super::output::thousands;
use crate::error::CliError;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How many faulty lines are told one by one.
const FAULTS_TOLD_MAX: u64 = 20;

/// Progress through a file, on stderr.
pub(crate) struct Progress {
    extent: Extent,
    /// What is counted.
    what: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
    line_at: Instant,
}

impl Progress {
    /// Begins to show progress; `what` names what is counted.
    pub(crate) fn new(extent: Extent, what: &'static str) -> Self {
        let bar = is_watched().then(|| bar(extent.bytes));
        let started = Instant::now();
        Self { extent, what, bar, started, line_at: started }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, count: u64) {
        let text = || format!("{} {}, {}/s", thousands(count), self.what, thousands(self.rate(count)));
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

    /// So many a second so far.
    pub(crate) fn rate(&self, count: u64) -> u64 {
        let seconds = self.elapsed().as_secs_f64();
        if seconds > 0.0 { (count as f64 / seconds) as u64 } else { 0 }
    }
}

/// The lines of a file that could not be carried out: the first are told, all are counted.
#[derive(Default)]
pub(crate) struct FaultyLines(u64);

impl FaultyLines {
    /// Tells of one.
    pub(crate) fn tell(&mut self, line: u64, fault: &str, progress: &Progress) {
        self.0 += 1;
        if self.0 <= FAULTS_TOLD_MAX {
            progress.say(&format!("line {line}: {fault}"));
        } else if self.0 == FAULTS_TOLD_MAX + 1 {
            progress.say("further faulty lines are only counted");
        }
    }

    /// The end of a command that has met them.
    ///
    /// # Errors
    /// If there are any.
    pub(crate) fn outcome(&self) -> Result<(), CliError> {
        match self.0 {
            0 => Ok(()),
            faults => Err(CliError::Incomplete(format!("{} lines failed", thousands(faults)))),
        }
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
        let text = || describe_build(build);
        if is_watched() {
            let bar = self.bar.get_or_insert_with(|| bar(Some(0)));
            bar.set_length(build.documents_total);
            bar.set_position(build.documents);
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

/// How far the building of an index has come, in words.
pub(crate) fn describe_build(build: &IndexBuild) -> String {
    let IndexBuild { collection, index, documents, documents_total, entries } = build;
    let (documents, total) = (thousands(*documents), thousands(*documents_total));
    let entries = thousands(*entries);
    format!("{collection}.{index}: {documents} of {total} documents read, {entries} entries written")
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
