//! `aquatint nodes`: the members of a cluster, as one of them sees it.
//!
//! Only asks and shows: what is known, the node says.

use super::CommandError;
use super::access::{Access, PATIENCE, text};
use super::client::{Method, Repeat, Request};
use super::exit::Exit;
use super::screen::{Table, left, right};
use clap::Args;
use serde_json::Value;
use std::io::Write;

#[derive(Args, Debug)]
pub(super) struct Nodes {
    #[command(flatten)]
    access: Access,
}

pub(super) async fn run(nodes: &Nodes, output: &mut impl Write) -> Result<Exit, CommandError> {
    let Nodes { access } = nodes;
    let request = Request {
        method: Method::Get,
        path: "/api/v1/cluster",
        headers: Vec::new(),
        body: b"",
        repeat: Repeat::Harmless,
    };
    let answer = access.client()?.ask(&request, PATIENCE).await;
    let answer = answer.map_err(|failed| access.unanswered(failed))?;
    let told = access.told(&answer, "members")?;
    match access.json {
        true => output.write_all(&answer.body)?,
        false => table(&told).print(output)?,
    }
    Ok(Exit::Done)
}

fn table(told: &Value) -> Table {
    let members = told["members"].as_array().map_or(&[][..], Vec::as_slice);
    Table {
        title: vec![title(told), lease(told)],
        columns: vec![
            left("node"),
            left("state"),
            left("address"),
            left("zone"),
            left("pool"),
            left("roles"),
            right("weight"),
            right("share"),
            right("load"),
            left("version"),
        ],
        rows: members.iter().map(row).collect(),
    }
}

fn title(told: &Value) -> String {
    let (node, view) = (text(&told["node"]), &told["view"]);
    let replication = &told["replication"];
    let voters = joined(&told["voters"], ", ");
    format!("seen by {node}, view {view}; {replication} owners a key; voters: {voters}")
}

fn lease(told: &Value) -> String {
    match told["lease_held"] == true {
        true => String::new(),
        false => "no lease of the log of purges: nothing stored is served here".to_owned(),
    }
}

fn row(member: &Value) -> Vec<String> {
    let share = member["share"].as_f64().unwrap_or_default();
    vec![
        text(&member["node"]).to_owned(),
        text(&member["state"]).to_owned(),
        text(&member["address"]).to_owned(),
        text(&member["zone"]).to_owned(),
        text(&member["pool"]).to_owned(),
        joined(&member["roles"], ","),
        member["weight"].to_string(),
        format!("{:.1}%", share * 100.0),
        member["load"].to_string(),
        text(&member["version"]).to_owned(),
    ]
}

fn joined(texts: &Value, between: &str) -> String {
    let texts = texts.as_array().into_iter().flatten().map(text);
    texts.collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printed(told: &Value) -> String {
        let mut output = Vec::new();
        table(told).print(&mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn each_member_is_a_row_and_a_lost_lease_is_said_above_them() {
        let mut told = json!({
            "node": "edge-1", "view": 12, "replication": 2, "voters": ["edge-1"], "lease_held": true,
            "members": [
                {"node": "edge-1", "state": "up", "address": "192.0.2.1:7946", "zone": "a", "pool": "default",
                 "roles": ["edge", "cache", "voter"], "weight": 100, "share": 0.5, "load": 3, "version": "0.1.0"},
                {"node": "edge-2\u{1b}[2J", "state": "down", "address": "192.0.2.2:7946", "zone": "", "pool": "default",
                 "roles": ["cache"], "weight": 100, "share": 0.0, "load": 0, "version": "0.1.0"},
            ],
        });
        let text = printed(&told);
        assert!(
            text.contains("seen by edge-1, view 12; 2 owners a key; voters: edge-1"),
            "{text}"
        );
        assert!(
            text.contains("50.0%") && text.contains("edge,cache,voter") && text.contains("down"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}') && !text.contains("no lease"), "{text}");
        told["lease_held"] = json!(false);
        assert!(printed(&told).contains("no lease of the log of purges"));
    }
}
