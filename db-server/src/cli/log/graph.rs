//! `combdb log graph`: what is drawn, whatever the format.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use proto::v1::{LogEntry, LogState};

use super::show::{ballot, state};
use super::{Pages, dot, outcome_words, short, svg, time, words};
use crate::cli::Common;
use crate::cli::output::Output;
use crate::error::CliError;

/// Which entries to draw, and how.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb log graph --output log.svg                      the last entries, as a picture for a browser
  combdb log graph --format dot | dot -Tpdf -o log.pdf   drawn by Graphviz
  combdb log graph --from 0 --limit 500 --output log.svg")]
pub(crate) struct Graph {
    /// The place in the order to begin at; left out: the last entries
    #[arg(long, value_name = "PLACE")]
    from: Option<u64>,
    /// How many entries to draw at the most
    #[arg(long, value_name = "COUNT", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    limit: u64,
    /// The format
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
    /// The file to write; left out: stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A picture that browsers show
    Svg,
    /// Graphviz
    Dot,
}

impl Graph {
    /// Draws the graph.
    ///
    /// # Errors
    /// If the server refuses or the output cannot be written.
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let mut pages = Pages::new(common, self.from, self.limit, None).await?;
        let (mut entries, mut indexers) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await? {
            entries.extend(page.entries);
            indexers = page.indexers;
        }
        let drawing = Drawing::new(&entries, &indexers);
        let text = match self.format {
            Format::Svg => svg::draw(&drawing),
            Format::Dot => dot::draw(&drawing),
        };
        if let Some(path) = self.output {
            return std::fs::write(&path, text).map_err(CliError::io(path.display().to_string()));
        }
        let mut output = Output::new();
        output.line(text.trim_end())?;
        output.flush()
    }
}

/// Entries in their order, each in the lane of its writer, and what they hang on.
pub(super) struct Drawing {
    pub(super) lanes: Vec<Lane>,
    pub(super) nodes: Vec<Node>,
    /// Which node follows which: the child, its parent.
    pub(super) edges: Vec<Edge>,
    /// How many of the nodes, from the first, are confirmed.
    pub(super) confirmed: usize,
}

/// One writer.
pub(super) struct Lane {
    /// The first digits of its key.
    pub(super) writer: String,
    /// Whether it votes in the present epoch.
    pub(super) is_indexer: bool,
}

/// One entry.
pub(super) struct Node {
    pub(super) entry: LogEntry,
    pub(super) lane: usize,
    /// Whether its log goes on before it, outside of the picture.
    pub(super) has_unseen_prev: bool,
}

/// One entry having another as its parent, by their places in the picture.
pub(super) struct Edge {
    pub(super) child: usize,
    pub(super) parent: usize,
    /// Whether the parent is the entry before in the same log.
    pub(super) is_prev: bool,
}

impl Drawing {
    /// Lays out entries that are given in their order.
    pub(super) fn new(entries: &[LogEntry], indexers: &[String]) -> Self {
        let mut lanes: BTreeMap<(bool, String), usize> = BTreeMap::new();
        for entry in entries {
            // Indexers come first.
            lanes.insert((!indexers.contains(&entry.writer), entry.writer.clone()), 0);
        }
        for (at, lane) in lanes.values_mut().enumerate() {
            *lane = at;
        }
        let by_hash: BTreeMap<&str, usize> =
            entries.iter().enumerate().map(|(at, entry)| (entry.entry.as_str(), at)).collect();
        let mut edges = Vec::new();
        for (child, entry) in entries.iter().enumerate() {
            let named = std::iter::once((&entry.prev, true))
                .chain(entry.parents.iter().map(|parent| (parent, false)));
            for (name, is_prev) in named {
                if let Some(parent) = by_hash.get(name.as_str()) {
                    edges.push(Edge { child, parent: *parent, is_prev });
                }
            }
        }
        let unseen: Vec<bool> = entries
            .iter()
            .map(|entry| !entry.prev.is_empty() && !by_hash.contains_key(entry.prev.as_str()))
            .collect();
        let confirmed = entries.iter().filter(|entry| entry.state() == LogState::Confirmed).count();
        let lane_of = |entry: &LogEntry| {
            lanes.get(&(!indexers.contains(&entry.writer), entry.writer.clone())).copied().unwrap_or_default()
        };
        let nodes = entries.iter().zip(unseen).map(|(entry, has_unseen_prev)| Node {
            lane: lane_of(entry),
            entry: entry.clone(),
            has_unseen_prev,
        });
        let nodes = nodes.collect();
        let lanes = lanes
            .into_keys()
            .map(|(is_other, writer)| Lane { writer: short(&writer).to_owned(), is_indexer: !is_other })
            .collect();
        Self { lanes, nodes, edges, confirmed }
    }
}

/// Everything about an entry, a line each.
pub(super) fn details(entry: &LogEntry) -> String {
    let place = entry.place.map_or_else(String::new, |place| format!(" at {place}"));
    let mut lines = vec![
        format!("{} of {}, seq {}", short(&entry.entry), short(&entry.writer), entry.seq),
        format!("{}{place}", state(entry)),
        time(entry),
        words(entry),
    ];
    if entry.wave > 0 {
        lines.push(format!("epoch {}, wave {} {}", entry.epoch, entry.wave, ballot(entry)));
    }
    lines.push(format!("{} bytes", entry.bytes));
    lines.push(outcome_words(entry));
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}
