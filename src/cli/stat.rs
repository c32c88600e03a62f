//! `aquatint stat`: the numbers of a running edge, now and on average.
//!
//! Invariant: a rate is of two looks at one process; after a restart there is none until the next look. It does not know what
//! the numbers mean, but for their names' endings.

use super::CommandError;
use super::access::{Access, PATIENCE, text};
use super::client::{Client, Method, Repeat, Request, Response};
use super::exit::Exit;
use super::screen::{self, Table, left, right};
use clap::Args;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

const REFRESH: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(super) struct Stat {
    #[command(flatten)]
    access: Access,
    /// Print the numbers once and end, as without a terminal.
    #[arg(long)]
    once: bool,
    /// Only names that hold this text; several may be given.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Also what is zero, and the buckets of histograms.
    #[arg(long)]
    all: bool,
}

/// What the edge said at one moment.
struct Look {
    node: String,
    version: String,
    is_ready: bool,
    uptime_s: f64,
    at_s: f64,
    samples: Vec<Sample>,
}

struct Sample {
    /// With its labels.
    series: String,
    name: String,
    value: f64,
}

pub(super) async fn run(stat: &Stat, output: &mut impl Write) -> Result<Exit, CommandError> {
    let mut client = stat.access.client()?;
    let (answer, mut look) = stat.look(&mut client).await?;
    if stat.access.json {
        output.write_all(&answer.body)?;
        output.flush()?;
        return Ok(Exit::Done);
    }
    if stat.once || !screen::is_terminal() {
        stat.table(&look, None).print(output)?;
        return Ok(Exit::Done);
    }
    let mut before: Option<Look> = None;
    loop {
        let table = stat.table(&look, before.as_ref());
        table.draw(output, screen::size(), before.is_none())?;
        tokio::time::sleep(REFRESH).await;
        let (_, next) = stat.look(&mut client).await?;
        before = Some(std::mem::replace(&mut look, next));
    }
}

impl Stat {
    async fn look(&self, client: &mut Client) -> Result<(Response, Look), CommandError> {
        let request = Request {
            method: Method::Get,
            path: "/api/v1/stat",
            headers: Vec::new(),
            body: b"",
            repeat: Repeat::Harmless,
        };
        let answer = client.ask(&request, PATIENCE).await;
        let answer = answer.map_err(|failed| self.access.unanswered(failed))?;
        let look = Look::of(&self.access.told(&answer, "samples")?);
        Ok((answer, look))
    }

    fn table(&self, look: &Look, before: Option<&Look>) -> Table {
        let before = before.filter(|before| before.uptime_s <= look.uptime_s);
        let known: HashMap<&str, f64> = before
            .into_iter()
            .flat_map(|before| before.samples.iter())
            .map(|sample| (sample.series.as_str(), sample.value))
            .collect();
        let passed_s = before.map_or(0.0, |before| look.at_s - before.at_s);
        let (mut rows, mut zeros) = (Vec::new(), 0);
        for sample in look.samples.iter().filter(|sample| self.wants(sample)) {
            if sample.value == 0.0 && !self.all {
                zeros += 1;
                continue;
            }
            let grown = known
                .get(sample.series.as_str())
                .map(|value| sample.value - value);
            rows.push(vec![
                sample.series.clone(),
                shown_value(&sample.name, sample.value),
                rate(sample, grown.filter(|_| passed_s > 0.0), passed_s),
                rate(
                    sample,
                    Some(sample.value).filter(|_| look.uptime_s > 0.0),
                    look.uptime_s,
                ),
            ]);
        }
        Table {
            title: vec![look.title(), zeros_told(zeros)],
            columns: vec![left("name"), right("value"), right("now/s"), right("average/s")],
            rows,
        }
    }

    fn wants(&self, sample: &Sample) -> bool {
        let is_named = self.filter.is_empty() || self.filter.iter().any(|text| sample.series.contains(text));
        is_named && (self.all || !sample.name.ends_with("_bucket"))
    }
}

impl Look {
    fn of(answer: &Value) -> Self {
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let samples = answer["samples"].as_array().into_iter().flatten();
        Look {
            node: text(&answer["node"]).to_owned(),
            version: text(&answer["version"]).to_owned(),
            is_ready: answer["ready"] == true,
            uptime_s: number(&answer["uptime_seconds"]),
            at_s: number(&answer["at_seconds"]),
            samples: samples
                .map(|sample| Sample {
                    series: series(sample),
                    name: text(&sample["name"]).to_owned(),
                    value: number(&sample["value"]),
                })
                .collect(),
        }
    }

    fn title(&self) -> String {
        let uptime = Duration::from_secs(self.uptime_s.max(0.0) as u64);
        let uptime = humantime::format_duration(uptime);
        let ready = if self.is_ready { "ready" } else { "not ready" };
        format!("{} {}, {ready}, up {uptime}", self.node, self.version)
    }
}

fn zeros_told(zeros: usize) -> String {
    match zeros {
        0 => String::new(),
        zeros => format!("{zeros} at zero are not shown (--all)"),
    }
}

/// As Prometheus writes it, but for the quotes.
fn series(sample: &Value) -> String {
    let labels = sample["labels"].as_object().into_iter().flatten();
    let labels: Vec<_> = labels
        .map(|(name, value)| format!("{name}={}", text(value)))
        .collect();
    let name = text(&sample["name"]);
    match &labels[..] {
        [] => name.to_owned(),
        labels => format!("{name}{{{}}}", labels.join(",")),
    }
}

/// Only what grows has a rate.
fn rate(sample: &Sample, grown: Option<f64>, seconds: f64) -> String {
    let grows = ["_total", "_sum", "_count", "_bucket"]
        .iter()
        .any(|end| sample.name.ends_with(end));
    match grown {
        Some(grown) if grows => shown_value(&sample.name, grown / seconds),
        _ => "-".to_owned(),
    }
}

fn shown_value(name: &str, value: f64) -> String {
    match value {
        value if name.contains("_bytes") && !name.ends_with("_count") => {
            bytesize::ByteSize(value.max(0.0) as u64).to_string()
        }
        value if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.0}"),
        value => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        stat: Stat,
    }

    fn stat(arguments: &[&str]) -> Stat {
        Line::parse_from(["stat"].iter().chain(arguments)).stat
    }

    fn look(at_s: f64, uptime_s: f64, requests: f64) -> Look {
        Look::of(&json!({
            "node": "edge-1", "version": "0.1.0", "ready": true, "uptime_seconds": uptime_s, "at_seconds": at_s,
            "samples": [
                {"name": "a_requests_total", "labels": {"outcome": "miss"}, "value": requests},
                {"name": "a_memory_bytes", "labels": {}, "value": 2097152.0},
                {"name": "a_zero", "labels": {}, "value": 0.0},
                {"name": "a_seconds_bucket", "labels": {"le": "1"}, "value": 7.0},
            ],
        }))
    }

    #[test]
    fn what_grows_has_a_rate_of_two_looks_and_an_average_of_all_time() {
        let (before, now) = (look(10.0, 100.0, 50.0), look(12.0, 102.0, 60.0));
        let table = stat(&[]).table(&now, Some(&before));
        let expected = [
            ["a_requests_total{outcome=miss}", "60", "5", "0.588"],
            ["a_memory_bytes", "2.0 MiB", "-", "-"],
        ];
        assert_eq!(table.rows, expected);
        assert!(
            table.title[0].starts_with("edge-1 0.1.0, ready, up 1m 42s"),
            "{:?}",
            table.title
        );
        assert_eq!(table.title[1], "1 at zero are not shown (--all)");
    }

    #[test]
    fn after_a_restart_there_is_no_rate() {
        let table = stat(&[]).table(&look(12.0, 1.0, 3.0), Some(&look(10.0, 100.0, 50.0)));
        assert_eq!(table.rows[0][2], "-");
    }

    #[test]
    fn filters_choose_by_name_and_all_shows_all() {
        let table = stat(&["--filter", "memory", "--filter", "zero"]).table(&look(1.0, 1.0, 1.0), None);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(stat(&["--all"]).table(&look(1.0, 1.0, 1.0), None).rows.len(), 4);
    }
}
