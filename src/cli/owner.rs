//! `aquatint owner URL`: which nodes own the source of an image, in the order in which they are asked.
//!
//! Only asks and shows: who owns what, the node says.

use super::CommandError;
use super::access::{Access, PATIENCE, text};
use super::client::{Method, Repeat, Request};
use super::exit::Exit;
use super::screen::{Table, left, right};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::Write;

#[derive(Args, Debug)]
pub(super) struct Owner {
    /// As a client would ask for it, such as https://shop.example/a.jpg?w=300.
    #[arg(value_name = "URL")]
    url: String,
    #[command(flatten)]
    access: Access,
}

pub(super) async fn run(owner: &Owner, output: &mut impl Write) -> Result<Exit, CommandError> {
    let Owner { url, access } = owner;
    let path = format!(
        "/api/v1/cluster/owner?url={}",
        utf8_percent_encode(url, NON_ALPHANUMERIC)
    );
    let request = Request {
        method: Method::Get,
        path: &path,
        headers: Vec::new(),
        body: b"",
        repeat: Repeat::Harmless,
    };
    let answer = access.client()?.ask(&request, PATIENCE).await;
    let answer = answer.map_err(|failed| access.unanswered(failed))?;
    let told = access.told(&answer, "candidates")?;
    match access.json {
        true => output.write_all(&answer.body)?,
        false => table(&told).print(output)?,
    }
    Ok(Exit::Done)
}

fn table(told: &Value) -> Table {
    let candidates = told["candidates"].as_array().map_or(&[][..], Vec::as_slice);
    Table {
        title: vec![
            format!("key     {}", text(&told["key"])),
            format!("route   {}, pool {}", text(&told["route"]), text(&told["pool"])),
            format!("primary {}, which asks the origin", text(&told["primary"])),
            here(told),
        ],
        columns: vec![
            right("rank"),
            left("node"),
            left("is"),
            left("address"),
            left("zone"),
            right("load"),
        ],
        rows: candidates.iter().enumerate().map(row).collect(),
    }
}

fn here(told: &Value) -> String {
    let node = text(&told["node"]);
    match told["served_here"] == true {
        true => format!("here    {node} serves it itself"),
        false => format!("here    {node} has an owner answer, unless its own memory can"),
    }
}

fn row((rank, candidate): (usize, &Value)) -> Vec<String> {
    let part = match (candidate["primary"] == true, candidate["owner"] == true) {
        (true, true) => "owner, primary",
        (true, false) => "primary",
        (false, true) => "owner",
        (false, false) => "next",
    };
    vec![
        (rank + 1).to_string(),
        text(&candidate["node"]).to_owned(),
        part.to_owned(),
        text(&candidate["address"]).to_owned(),
        text(&candidate["zone"]).to_owned(),
        candidate["load"].to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn candidates_are_told_in_their_order_with_what_each_is() {
        let candidate = |node: &str, owner: bool| {
            json!({"node": node, "address": "192.0.2.1:7946", "zone": "a", "load": 1, "owner": owner,
            "primary": node == "edge-2"})
        };
        let told = json!({
            "key": "https://shop.example/a.jpg", "route": "*/", "pool": "default", "node": "edge-3", "served_here": false,
            "candidates": [candidate("edge-2", true), candidate("edge-1", true), candidate("edge-3", false)],
        });
        let rows = table(&told).rows;
        let parts: Vec<_> = rows
            .iter()
            .map(|row| (row[0].as_str(), row[1].as_str(), row[2].as_str()))
            .collect();
        assert_eq!(
            parts,
            [
                ("1", "edge-2", "owner, primary"),
                ("2", "edge-1", "owner"),
                ("3", "edge-3", "next")
            ]
        );
        assert!(here(&told).contains("has an owner answer"));
    }
}
