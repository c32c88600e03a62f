//! `aquatint reload`: a running edge reads its configuration again.

use super::CommandError;
use super::access::{Access, PATIENCE, shown, text};
use super::client::{Method, Repeat, Request};
use super::exit::Exit;
use clap::Args;
use std::io::Write;

#[derive(Args, Debug)]
pub(super) struct Reload {
    #[command(flatten)]
    access: Access,
}

pub(super) async fn run(reload: &Reload, output: &mut impl Write) -> Result<Exit, CommandError> {
    let Reload { access } = reload;
    let request = Request {
        method: Method::Post,
        path: "/api/v1/reload",
        headers: Vec::new(),
        body: b"",
        repeat: Repeat::Never,
    };
    let answer = access.client()?.ask(&request, PATIENCE).await;
    let answer = answer.map_err(|failed| access.unanswered(failed))?;
    let told = access.told(&answer, "changed");
    if access.json && !matches!(told, Err(CommandError::NoAdmin { .. })) {
        output.write_all(&answer.body)?;
    }
    let told = told?;
    if access.json {
        return Ok(Exit::Done);
    }
    let changed = told["changed"].as_array().map_or(&[][..], Vec::as_slice);
    if changed.is_empty() {
        writeln!(output, "nothing has changed")?;
    }
    for line in changed {
        writeln!(output, "{}", shown(text(line)))?;
    }
    Ok(Exit::Done)
}
