//! How the work is shown: a bar on a terminal, a line for each URL elsewhere, JSON where that is wanted.
//!
//! Invariant: results go to standard output and the bar to standard error, so that neither disturbs the other.

use super::list::List;
use super::tally::Tally;
use super::{Ending, Warmed};
use crate::cli::access::{Access, shown, text};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{self, IsTerminal, Write};

/// What is warmed is counted in URLs, the list's end is known in bytes.
const BAR: &str = "{wide_bar} {percent:>3}% {msg}, {eta} left";
const SPINNER: &str = "{spinner} {msg}, {elapsed}";

pub(super) enum Show {
    /// Failures stand above it.
    Bar(ProgressBar),
    Lines,
    Json,
}

impl Show {
    pub(super) fn new(access: &Access, list: &List) -> Self {
        if access.json {
            return Show::Json;
        }
        if !io::stdout().is_terminal() || !io::stderr().is_terminal() {
            return Show::Lines;
        }
        let style = |template| ProgressStyle::with_template(template).expect("the template is a literal");
        Show::Bar(match list.length {
            Some(length) => ProgressBar::new(length).with_style(style(BAR)),
            None => ProgressBar::new_spinner().with_style(style(SPINNER)),
        })
    }

    pub(super) fn one(
        &mut self,
        warmed: &Warmed,
        tally: &Tally,
        read: u64,
        output: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Show::Bar(bar) => {
                if warmed.ending != Ending::Well {
                    bar.println(line(warmed));
                }
                bar.set_message(format!("{} warmed, {} failed", tally.well, tally.failed));
                match bar.length() {
                    Some(_) => bar.set_position(read),
                    None => bar.tick(),
                }
                Ok(())
            }
            Show::Lines => writeln!(output, "{}", line(warmed)),
            Show::Json if warmed.told.is_null() => {
                let error = match &warmed.ending {
                    Ending::Failed { why } => why,
                    Ending::Well => "",
                };
                writeln!(
                    output,
                    "{}",
                    json!({"url": warmed.url, "outcome": warmed.outcome(), "note": error})
                )
            }
            Show::Json => writeln!(output, "{}", warmed.told),
        }
    }

    pub(super) fn end(self, tally: &Tally, output: &mut impl Write) -> io::Result<()> {
        match self {
            Show::Json => writeln!(output, "{}", tally.json())?,
            Show::Lines => writeln!(output, "{}", tally.for_people())?,
            Show::Bar(bar) => {
                bar.finish_and_clear();
                writeln!(output, "{}", tally.for_people())?;
            }
        }
        output.flush()
    }
}

fn line(warmed: &Warmed) -> String {
    let url = shown(&warmed.url);
    match &warmed.ending {
        Ending::Failed { why } => format!("failed {url}: {}", shown(why)),
        Ending::Well => {
            let (outcome, told) = (warmed.outcome(), &warmed.told);
            let seconds = told["duration_seconds"].as_f64().unwrap_or_default();
            let note = match text(&told["note"]) {
                "" => String::new(),
                note => format!(": {}", shown(note)),
            };
            format!(
                "{outcome} {} {} bytes {seconds:.3} s {url}{note}",
                told["status"], told["bytes"]
            )
        }
    }
}
