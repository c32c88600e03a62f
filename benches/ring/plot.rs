//! The simulation's plot, as SVG: how many nodes have how many keys, and how busy the busiest is with one hot key.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const BINS: usize = 24;
/// In proportion to the mean, from the left edge to the right.
const RANGE: (f64, f64) = (0.88, 1.12);
const INK: &str = "#8a8f98";
const BAR: &str = "#3d7ea6";

pub(crate) fn svg(shares: &[f64], busiest: &[(String, f64)]) -> String {
    let height = 300.0 + 24.0 * busiest.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"{INK}\">\n"
    );
    let title = format!(
        "{} nodes of one weight, by their number of keys / mean",
        shares.len()
    );
    text(&mut svg, (10.0, 18.0), &title);
    histogram(&mut svg, shares);
    text(
        &mut svg,
        (10.0, 270.0),
        "One key with half of all requests: the busiest node / mean",
    );
    let most = busiest.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    for (index, (name, value)) in busiest.iter().enumerate() {
        let y = 282.0 + 24.0 * index as f64;
        text(&mut svg, (10.0, y + 13.0), name);
        bar(&mut svg, (290.0, y), (value / most * 380.0, 18.0));
        text(
            &mut svg,
            (296.0 + value / most * 380.0, y + 13.0),
            &format!("{value:.2}"),
        );
    }
    svg + "</svg>\n"
}

fn histogram(svg: &mut String, shares: &[f64]) {
    let (from, to) = RANGE;
    let mut counts = [0.0; BINS];
    for share in shares {
        let bin = ((share - from) / (to - from) * BINS as f64).clamp(0.0, BINS as f64 - 1.0);
        counts[bin as usize] += 1.0;
    }
    let most = counts.iter().copied().fold(1.0, f64::max);
    let width = (WIDTH - 20.0) / BINS as f64;
    for (bin, count) in counts.iter().enumerate() {
        let height = count / most * 190.0;
        bar(
            svg,
            (10.0 + width * bin as f64, 225.0 - height),
            (width - 2.0, height),
        );
    }
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let label = format!("{:.2}", from + (to - from) * part);
        text(svg, (10.0 + (WIDTH - 46.0) * part, 242.0), &label);
    }
}

fn bar(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64)) {
    let written = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{BAR}\"/>"
    );
    written.expect("a string takes what is written");
}

fn text(svg: &mut String, (x, y): (f64, f64), text: &str) {
    let written = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    written.expect("a string takes what is written");
}
