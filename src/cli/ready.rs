//! `aquatint ready`: whether a running edge wants requests, for a container's health check.
//!
//! Invariant: it ends soon, and once it has been understood with 0 or 1: Docker knows no other codes.

use super::access::Access;
use super::client::{Client, Method, NoAnswer, Repeat, Request};
use super::exit::Exit;
use super::{CommandError, access};
use clap::Args;
use serde_json::json;
use std::io::Write;

#[derive(Args, Debug)]
pub(super) struct Ready {
    #[command(flatten)]
    access: Access,
    /// How long to wait for the answer.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    timeout: humantime::Duration,
}

pub(super) async fn run(ready: &Ready, output: &mut impl Write) -> Result<Exit, CommandError> {
    let Ready { access, timeout } = ready;
    let request = Request {
        method: Method::Get,
        path: "/readyz",
        headers: Vec::new(),
        body: b"",
        repeat: Repeat::Harmless,
    };
    // No key: anybody may know.
    let mut client = Client::new(access.admin.clone(), None);
    let answer = client.ask(&request, (*timeout).into()).await;
    let (is_ready, told) = match answer {
        Ok(answer) if answer.status == 200 && answer.body == b"ready\n" => (true, "ready".to_owned()),
        Ok(answer) if answer.status == 503 => (false, "not ready".to_owned()),
        Ok(answer) => (
            false,
            format!("{} answers {}: this is no edge", access.admin, answer.status),
        ),
        Err(NoAnswer::Unsent(cause) | NoAnswer::Unheard(cause)) => {
            (false, format!("no answer from {}: {cause}", access.admin))
        }
    };
    match access.json {
        true => writeln!(output, "{}", json!({"ready": is_ready, "told": told}))?,
        false => writeln!(output, "{}", access::shown(&told))?,
    }
    Ok(if is_ready { Exit::Done } else { Exit::Failure })
}
