//! `aquatint drain`: a node of a cluster gives up its keys, or takes them back.
//!
//! Only asks and shows: what is handed over, the node decides.

use super::CommandError;
use super::access::{Access, PATIENCE, shown, text};
use super::client::{Method, Repeat, Request};
use super::exit::Exit;
use clap::Args;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Args, Debug)]
pub(super) struct Drain {
    /// Take the keys back.
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    access: Access,
}

pub(super) async fn run(drain: &Drain, output: &mut impl Write) -> Result<Exit, CommandError> {
    let Drain { undo, access } = drain;
    let body = json!({ "drain": !undo }).to_string();
    let request = Request {
        method: Method::Post,
        path: "/api/v1/cluster/drain",
        headers: vec![("Content-Type", "application/json")],
        body: body.as_bytes(),
        repeat: Repeat::Harmless,
    };
    let answer = access.client()?.ask(&request, PATIENCE).await;
    let answer = answer.map_err(|failed| access.unanswered(failed))?;
    let told = access.told(&answer, "draining")?;
    match access.json {
        true => output.write_all(&answer.body)?,
        false => writeln!(output, "{}", said(&told))?,
    }
    Ok(Exit::Done)
}

fn said(told: &Value) -> String {
    let node = shown(text(&told["node"]));
    match (told["draining"] == true, told["changed"] == true) {
        (true, true) => format!("{node} gives up its keys, and goes on answering"),
        (true, false) => format!("{node} drains already"),
        (false, true) => format!("{node} takes its keys back"),
        (false, false) => format!("{node} did not drain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_and_what_does_not_is_told_apart() {
        let said =
            |draining, changed| said(&json!({"node": "edge-1", "draining": draining, "changed": changed}));
        assert_eq!(
            said(true, true),
            "edge-1 gives up its keys, and goes on answering"
        );
        assert_eq!(said(true, false), "edge-1 drains already");
        assert_eq!(said(false, true), "edge-1 takes its keys back");
        assert_eq!(said(false, false), "edge-1 did not drain");
    }
}
