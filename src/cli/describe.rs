//! `aquatint completions` and `aquatint man`: the command line, told to shells and to `man`.
//!
//! Invariant: both are made from the command line itself, so that they can not say anything else.

use super::{CommandError, CommandLine};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct Completions {
    /// bash, elvish, fish, powershell or zsh.
    shell: Shell,
}

#[derive(Args, Debug)]
pub(super) struct Man {
    /// Write a page for each command to this folder, instead of the first to standard output.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(super) fn completions(completions: &Completions, output: &mut impl Write) -> Result<(), CommandError> {
    let mut text = Vec::new();
    clap_complete::generate(
        completions.shell,
        &mut CommandLine::command(),
        "aquatint",
        &mut text,
    );
    Ok(output.write_all(&text)?)
}

pub(super) fn man(man: &Man, output: &mut impl Write) -> Result<(), CommandError> {
    let command = CommandLine::command();
    match &man.to {
        Some(folder) => Ok(clap_mangen::generate_to(command, folder)?),
        None => Ok(clap_mangen::Man::new(command).render(output)?),
    }
}
