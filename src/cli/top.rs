//! `aquatint top`: what is busiest at a running edge in the last minutes.
//!
//! Only asks and shows; what is counted, and over which time, is the edge's to say.

use super::CommandError;
use super::access::{Access, PATIENCE, counted, text};
use super::client::{Client, Method, Repeat, Request, Response};
use super::exit::Exit;
use super::screen::{self, Table, left, right};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::io::Write;
use std::time::Duration;

const REFRESH: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(super) struct Top {
    #[command(flatten)]
    access: Access,
    /// What is counted.
    #[arg(long, value_enum, default_value_t = By::Path)]
    by: By,
    /// Rows at most.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print the table once and end, as without a terminal.
    #[arg(long)]
    once: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Paths, by requests.
    Path,
    /// Paths, by requests that had to be fetched from the origin.
    Miss,
    /// Paths, by bytes sent.
    Bytes,
    /// Pages that ask, by requests.
    Referrer,
    /// Clients, by requests.
    Client,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            By::Path => "path",
            By::Miss => "miss",
            By::Bytes => "bytes",
            By::Referrer => "referrer",
            By::Client => "client",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            By::Bytes => "bytes",
            By::Path | By::Miss | By::Referrer | By::Client => "requests",
        }
    }
}

pub(super) async fn run(top: &Top, output: &mut impl Write) -> Result<Exit, CommandError> {
    let mut client = top.access.client()?;
    let (answer, mut told) = top.look(&mut client).await?;
    if top.access.json {
        output.write_all(&answer.body)?;
        output.flush()?;
        return Ok(Exit::Done);
    }
    if top.once || !screen::is_terminal() {
        top.table(&told).print(output)?;
        return Ok(Exit::Done);
    }
    let mut is_first = true;
    loop {
        top.table(&told).draw(output, screen::size(), is_first)?;
        is_first = false;
        tokio::time::sleep(REFRESH).await;
        (_, told) = top.look(&mut client).await?;
    }
}

impl Top {
    async fn look(&self, client: &mut Client) -> Result<(Response, Value), CommandError> {
        let path = format!("/api/v1/top?by={}&limit={}", self.by.name(), self.limit);
        let request = Request {
            method: Method::Get,
            path: &path,
            headers: Vec::new(),
            body: b"",
            repeat: Repeat::Harmless,
        };
        let answer = client.ask(&request, PATIENCE).await;
        let answer = answer.map_err(|failed| self.access.unanswered(failed))?;
        let told = self.access.told(&answer, "entries")?;
        Ok((answer, told))
    }

    fn table(&self, told: &Value) -> Table {
        let entries = told["entries"].as_array().map_or(&[][..], Vec::as_slice);
        let row = |entry: &Value| {
            let share = entry["share"].as_f64().unwrap_or_default() * 100.0;
            vec![
                self.amount(&entry["count"]),
                format!("{share:.1}%"),
                text(&entry["name"]).to_owned(),
            ]
        };
        Table {
            title: vec![self.title(told)],
            columns: vec![right(self.by.unit()), right("share"), left(self.by.name())],
            rows: entries.iter().map(row).collect(),
        }
    }

    fn title(&self, told: &Value) -> String {
        let window = Duration::from_secs(told["window_secs"].as_f64().unwrap_or_default().max(0.0) as u64);
        let estimated = match told["one_in"].as_u64() {
            Some(one_in) if one_in > 1 => format!(", estimated: one request in {one_in} was looked at"),
            _ => String::new(),
        };
        let total = match self.by {
            By::Bytes => self.amount(&told["total"]),
            By::Path | By::Miss | By::Referrer | By::Client => {
                counted(told["total"].as_u64().unwrap_or_default(), "request")
            }
        };
        let window = humantime::format_duration(window);
        format!("{total} in the last {window}{estimated}")
    }

    fn amount(&self, count: &Value) -> String {
        let count = count.as_u64().unwrap_or_default();
        match self.by {
            By::Bytes => bytesize::ByteSize(count).to_string(),
            By::Path | By::Miss | By::Referrer | By::Client => count.to_string(),
        }
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
        top: Top,
    }

    #[test]
    fn the_busiest_stand_in_their_order_with_their_share() {
        let top = Line::parse_from(["top", "--by", "bytes"]).top;
        let told = json!({
            "by": "bytes", "window_secs": 90.5, "total": 4096, "one_in": 3,
            "entries": [{"name": "shop.example/a.jpg", "count": 3072, "share": 0.75, "error": 0}],
        });
        let table = top.table(&told);
        assert_eq!(table.rows, [["3.0 KiB", "75.0%", "shop.example/a.jpg"]]);
        let expected = "4.0 KiB in the last 1m 30s, estimated: one request in 3 was looked at";
        assert_eq!(table.title, [expected]);
        assert!(Line::try_parse_from(["top", "--limit", "0"]).is_err());
    }
}
