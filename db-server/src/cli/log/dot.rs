//! The graph of the log for Graphviz.

use std::fmt::Write;

use proto::v1::{LogBallot, LogState};

use super::graph::{Drawing, Node, details};
use super::short;

/// The graph in Graphviz's language; entries point at what they follow.
pub(super) fn draw(drawing: &Drawing) -> String {
    let mut text = String::from(
        "digraph log {\n  rankdir=RL;\n  node [fontname=\"sans-serif\", fontsize=10, shape=box, style=\"rounded,filled\"];\n  edge [color=\"#8a94a6\", arrowsize=0.6];\n",
    );
    for (at, lane) in drawing.lanes.iter().enumerate() {
        let role = if lane.is_indexer { " (indexer)" } else { "" };
        let label = quote(&format!("{}{role}", lane.writer));
        put(
            &mut text,
            format_args!(
                "  subgraph cluster_{at} {{\n    label={label}; fontname=\"sans-serif\"; color=\"#d5dae3\";\n"
            ),
        );
        for (number, node) in drawing.nodes.iter().enumerate().filter(|(_, node)| node.lane == at) {
            put(&mut text, format_args!("    n{number} [{}];\n", attributes(node)));
        }
        text.push_str("  }\n");
    }
    for edge in &drawing.edges {
        let style = if edge.is_prev { " [color=\"#1d5fa8\", penwidth=1.6]" } else { "" };
        put(&mut text, format_args!("  n{} -> n{}{style};\n", edge.child, edge.parent));
    }
    text.push_str("}\n");
    text
}

fn attributes(node: &Node) -> String {
    let entry = &node.entry;
    let mut label = format!(
        "{}\n{}",
        entry.place.map_or_else(|| "?".to_owned(), |place| place.to_string()),
        short(&entry.entry)
    );
    if entry.wave > 0 {
        put(&mut label, format_args!("\ne{} w{}", entry.epoch, entry.wave));
    }
    let (fill, font) = match entry.state() {
        LogState::Confirmed => ("#1d5fa8", "white"),
        LogState::Tail => ("#dcebfb", "black"),
        _ => ("#f2f2f2", "#666666"),
    };
    let mut line = match entry.ballot() {
        LogBallot::Anchor => "color=\"#e08a00\", penwidth=3".to_owned(),
        LogBallot::Proposal => "color=\"#e08a00\", penwidth=1.5".to_owned(),
        _ => "color=\"#1d5fa8\"".to_owned(),
    };
    if !entry.rejected.is_empty() {
        "color=\"#c62828\", penwidth=2".clone_into(&mut line);
    }
    let tooltip = quote(&details(entry));
    format!("label={}, tooltip={tooltip}, fillcolor=\"{fill}\", fontcolor=\"{font}\", {line}", quote(&label))
}

/// A string of Graphviz's language.
fn quote(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{text}\"")
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_named_leaves_its_quotes() {
        assert_eq!(quote("a\"];\\ x\nb"), r#""a\"];\\ x\nb""#);
    }
}
