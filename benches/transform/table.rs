//! The result: one table in Markdown, and what it was measured on.

use crate::rounds::{Figures, Row, Scale, Setting};
use crate::sides::Sides;
use crate::sources::Sources;

const COLUMNS: [&str; 11] = [
    "job",
    "sharp's setting",
    "ms",
    "sharp ms",
    "times as fast",
    "bytes",
    "to sharp's",
    "DSSIM",
    "sharp DSSIM",
    "peak MB / sharp",
    "goals",
];

pub(crate) fn print(rows: &[Row], sides: &Sides, sources: &Sources, scale: &Scale) {
    let ours = sides.start_ours();
    let mut about = format!(
        "{} ({} MB before its first job)",
        ours.hello.version,
        mib(ours.hello.idle_kib)
    );
    if let Some(sharp) = sides.start_sharp() {
        about += &format!("; {} ({} MB)", sharp.hello.version, mib(sharp.hello.idle_kib));
    }
    say(&format!("{about}."));
    say(&sources.told());
    say(&format!(
        "One thread each, warm; medians of {} interleaved rounds of {} runs or a second, ratios by round.",
        scale.rounds, scale.runs
    ));
    say("");
    say(&line(&COLUMNS.map(str::to_owned)));
    say(&line(&COLUMNS.map(|_| "---".to_owned())));
    for row in rows {
        say(&line(&cells(row)));
    }
}

#[expect(clippy::print_stdout, reason = "its result is what it prints")]
fn say(text: &str) {
    println!("{text}");
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

fn cells(row: &Row) -> [String; 11] {
    let ours = row.ours.as_ref().ok();
    let sharp = row.sharp.as_ref().and_then(|(_, figures)| figures.as_ref().ok());
    let of = |figures: Option<&Figures>, tell: fn(&Figures) -> String| figures.map_or("-".to_owned(), tell);
    let both = ours.zip(sharp);
    let bytes_ratio =
        both.map(|(ours, sharp)| ours.worth.bytes as f64 / sharp.worth.bytes as f64 * 100.0 - 100.0);
    [
        format!("{} {}", row.job.name, row.job.title),
        setting(row),
        of(ours, |ours| format!("{:.1}", ours.ms())),
        of(sharp.filter(|sharp| !sharp.rounds.is_empty()), |sharp| {
            format!("{:.1}", sharp.ms())
        }),
        both.map_or("-".to_owned(), |_| format!("{:.2}", row.ratio())),
        of(ours, |ours| ours.worth.bytes.to_string()),
        bytes_ratio.map_or("-".to_owned(), |more| format!("{more:+.1} %")),
        of(ours, |ours| format!("{:.5}", ours.worth.dissimilarity)),
        of(sharp, |sharp| format!("{:.5}", sharp.worth.dissimilarity)),
        format!(
            "{} / {}",
            of(ours, |ours| mib(ours.peak_kib)),
            of(sharp, |sharp| mib(sharp.peak_kib))
        ),
        verdict(row),
    ]
}

fn setting(row: &Row) -> String {
    match &row.sharp {
        None => "-".to_owned(),
        Some((Setting::Default, _)) => "its default".to_owned(),
        Some((Setting::Alike(options), _)) => told(options),
        Some((Setting::NoneAsGood, _)) => "fastest of our quality".to_owned(),
        Some((Setting::Fastest(options), _)) => format!("fastest of our quality: {}", told(options)),
    }
}

fn told(options: &serde_json::Value) -> String {
    let pairs = options.as_object().into_iter().flatten();
    let words = pairs.map(|(name, value)| match value.as_str() {
        Some(text) => text.to_owned(),
        None => format!("{name} {value}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn verdict(row: &Row) -> String {
    if let Err(error) = &row.ours {
        return format!("FAILED: {error}");
    }
    match &row.sharp {
        None => String::new(),
        Some((_, Err(error))) => format!("MISSED: sharp failed: {error}"),
        Some(_) if row.missed().is_empty() => "reached".to_owned(),
        Some(_) => format!("MISSED: {}", row.missed().join(", ")),
    }
}

fn mib(kib: u64) -> String {
    format!("{:.0}", kib as f64 / 1024.0)
}
