//! The graph of the log as a picture: places of the order from left to right, a lane for every writer.

use std::fmt::Write;

use proto::v1::{LogBallot, LogState};

use super::graph::{Drawing, Edge, Node, details};

/// How far places, and lanes, are apart.
const STEP: usize = 40;
const LANE: usize = 58;
/// Where the first place and the first lane are.
const LEFT: usize = 150;
const TOP: usize = 72;
/// What the legend takes.
const LEGEND: usize = 44;
const LEGEND_WIDTH: usize = 860;

const STYLE: &str = "text{font:11px sans-serif;fill:#3b4454}.name{font:12px monospace;fill:#1b2330}.small{font-size:10px;fill:#7a8496}\
.area{fill:#edf3fa}.lane{stroke:#e1e5ec}.prev{stroke:#1d5fa8;stroke-width:2;fill:none}.parent{stroke:#8a94a6;stroke-width:1.2;fill:none;opacity:.75}\
.cut{stroke-dasharray:2 3}.entry{stroke:#1d5fa8;stroke-width:2}.confirmed{fill:#1d5fa8}.tail{fill:#fff}.unordered{fill:#f4f4f4;stroke:#98a1b0;stroke-dasharray:3 2}\
.ring{fill:none;stroke:#e08a00}.anchor{stroke-width:3}.proposal{stroke-width:1.5;stroke-dasharray:3 2}.anchorline{stroke:#e08a00;stroke-dasharray:1 4}\
.edge{stroke:#1d5fa8;stroke-width:1.5;stroke-dasharray:6 4}.rejected{fill:#c62828;stroke:#fff}";

/// The picture.
pub(super) fn draw(drawing: &Drawing) -> String {
    let columns = drawing.nodes.len().max(1);
    let width = (LEFT + columns * STEP + 30).max(LEGEND_WIDTH);
    let bottom = TOP + drawing.lanes.len().max(1) * LANE;
    let mut svg = String::new();
    put(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
             <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            height = bottom + LEGEND,
        ),
    );
    background(&mut svg, drawing, bottom);
    for edge in &drawing.edges {
        draw_edge(&mut svg, drawing, edge);
    }
    for (at, node) in drawing.nodes.iter().enumerate() {
        draw_node(&mut svg, at, node);
    }
    legend(&mut svg, bottom + LEGEND / 2);
    svg.push_str("</svg>\n");
    svg
}

fn background(svg: &mut String, drawing: &Drawing, bottom: usize) {
    let right = LEFT + drawing.nodes.len() * STEP;
    let split = LEFT + drawing.confirmed * STEP - STEP / 2;
    if drawing.confirmed > 0 {
        let left = LEFT - STEP / 2;
        put(
            svg,
            format_args!(
                "<rect class=\"area\" x=\"{left}\" y=\"26\" width=\"{}\" height=\"{}\"/>\n<text x=\"{}\" y=\"20\">confirmed</text>\n",
                split - left,
                bottom - 26 - LANE / 4,
                left + 2,
            ),
        );
    }
    if drawing.confirmed < drawing.nodes.len() {
        put(
            svg,
            format_args!(
                "<line class=\"edge\" x1=\"{split}\" y1=\"8\" x2=\"{split}\" y2=\"{}\"/>\n<text x=\"{}\" y=\"20\">{}</text>\n",
                bottom - LANE / 4,
                split + 6,
                "tail",
            ),
        );
    }
    for (at, lane) in drawing.lanes.iter().enumerate() {
        let y = TOP + at * LANE;
        put(
            svg,
            format_args!(
                "<line class=\"lane\" x1=\"{}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\"/>\n<text class=\"name\" x=\"14\" y=\"{}\">{}</text>\n",
                LEFT - STEP / 2,
                y + 1,
                escape(&lane.writer),
            ),
        );
        if lane.is_indexer {
            put(svg, format_args!("<text class=\"small\" x=\"14\" y=\"{}\">indexer</text>\n", y + 14));
        }
    }
    for (at, node) in drawing.nodes.iter().enumerate() {
        let x = x_of(at);
        if let Some(place) = node.entry.place.filter(|place| at == 0 || place.is_multiple_of(5)) {
            put(
                svg,
                format_args!(
                    "<text class=\"small\" x=\"{x}\" y=\"40\" text-anchor=\"middle\">{place}</text>\n"
                ),
            );
        }
        if node.entry.ballot() == LogBallot::Anchor {
            put(
                svg,
                format_args!(
                    "<line class=\"anchorline\" x1=\"{x}\" y1=\"46\" x2=\"{x}\" y2=\"{}\"/>\n",
                    bottom - LANE / 4
                ),
            );
        }
    }
}

fn draw_edge(svg: &mut String, drawing: &Drawing, edge: &Edge) {
    let (Some(child), Some(parent)) = (drawing.nodes.get(edge.child), drawing.nodes.get(edge.parent)) else {
        return;
    };
    let (x1, y1) = (x_of(edge.parent), y_of(parent));
    let (x2, y2) = (x_of(edge.child), y_of(child));
    let class = if edge.is_prev { "prev" } else { "parent" };
    let path = if y1 == y2 {
        format!("M{x1} {y1}L{x2} {y2}")
    } else {
        // The bend is near the child, so that what comes from one parent runs together.
        let bend = STEP * 3 / 4;
        format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2.saturating_sub(bend))
    };
    put(svg, format_args!("<path class=\"{class}\" d=\"{path}\"/>\n"));
}

fn draw_node(svg: &mut String, at: usize, node: &Node) {
    let (x, y) = (x_of(at), y_of(node));
    let entry = &node.entry;
    if node.has_unseen_prev {
        let from = x - STEP / 2 - 4;
        put(svg, format_args!("<path class=\"prev cut\" d=\"M{from} {y}L{x} {y}\"/>\n"));
    }
    let is_ack = entry.operations_count == 0 && entry.unreadable.is_empty();
    let radius = if is_ack { 5 } else { 10 };
    let state = match entry.state() {
        LogState::Confirmed => "confirmed",
        LogState::Tail => "tail",
        _ => "unordered",
    };
    let title = escape(&details(entry));
    put(
        svg,
        format_args!(
            "<g><title>{title}</title><circle class=\"entry {state}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>"
        ),
    );
    let ring = match entry.ballot() {
        LogBallot::Anchor => Some("anchor"),
        LogBallot::Proposal => Some("proposal"),
        _ => None,
    };
    if let Some(ring) = ring {
        put(svg, format_args!("<circle class=\"ring {ring}\" cx=\"{x}\" cy=\"{y}\" r=\"{}\"/>", radius + 4));
    }
    if !entry.rejected.is_empty() {
        put(svg, format_args!("<circle class=\"rejected\" cx=\"{}\" cy=\"{}\" r=\"5\"/>", x + 8, y - 8));
    }
    if entry.ballot() != LogBallot::Unspecified {
        put(
            svg,
            format_args!(
                "<text class=\"small\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}.{}</text>",
                y + 26,
                entry.epoch,
                entry.wave
            ),
        );
    }
    svg.push_str("</g>\n");
}

fn legend(svg: &mut String, y: usize) {
    let items = [
        ("<circle class=\"entry confirmed\" cx=\"X\" cy=\"Y\" r=\"9\"/>", "confirmed", 100),
        ("<circle class=\"entry tail\" cx=\"X\" cy=\"Y\" r=\"9\"/>", "tail", 66),
        ("<circle class=\"entry unordered\" cx=\"X\" cy=\"Y\" r=\"9\"/>", "not yet ordered", 126),
        ("<circle class=\"entry confirmed\" cx=\"X\" cy=\"Y\" r=\"5\"/>", "ack", 62),
        ("<circle class=\"ring anchor\" cx=\"X\" cy=\"Y\" r=\"9\"/>", "anchor", 84),
        ("<circle class=\"ring proposal\" cx=\"X\" cy=\"Y\" r=\"9\"/>", "proposal", 92),
        ("<circle class=\"rejected\" cx=\"X\" cy=\"Y\" r=\"5\"/>", "something rejected", 138),
        ("", "0.3: epoch and wave of a vote", 0),
    ];
    let mut x = 24;
    for (shape, words, width) in items {
        svg.push_str(&shape.replace('X', &x.to_string()).replace('Y', &y.to_string()));
        put(svg, format_args!("<text x=\"{}\" y=\"{}\">{words}</text>\n", x + 15, y + 4));
        x += width;
    }
}

fn x_of(at: usize) -> usize {
    LEFT + at * STEP
}

fn y_of(node: &Node) -> usize {
    TOP + node.lane * LANE
}

/// Text for XML; control characters are replaced already.
fn escape(text: &str) -> String {
    text.replace(['\u{FFFE}', '\u{FFFF}'], "\u{FFFD}")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(what);
}
