//! The command line: what can be asked of the binary, and the exit code each end has.
//!
//! Only parses, dispatches and reports; knows nothing of how a command does its work.

mod check;
mod client;
mod key;
mod purge;
mod serve;

use crate::config::{ConfigError, Overrides};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

const EXIT_SUCCESS: u8 = 0;
/// Of usage and configuration errors: `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
const EXIT_FAILURE: u8 = 1;
/// Of `aquatint purge`: the edge said no, it can not say yes yet, or it could not be asked.
const EXIT_REFUSED: u8 = 3;
const EXIT_PENDING: u8 = 4;
const EXIT_UNREACHABLE: u8 = 5;

/// An image CDN edge cache.
#[derive(Debug, Parser)]
#[command(name = "aquatint", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an edge until SIGTERM or SIGINT.
    Serve(Serve),
    /// Read a configuration and name everything that is wrong with it.
    Check {
        /// The configuration, YAML.
        file: PathBuf,
    },
    /// Have a running edge purge images, and print its receipt.
    ///
    /// Ends with 0 when the purge is applied, 3 when it is refused, 4 while it is pending, and 5 when the edge can not be
    /// reached, does not answer, or is none.
    Purge(purge::Purge),
    /// Make a key or a webhook's secret that allows purges, and print its lines of the configuration.
    Key(key::Key),
}

#[derive(Args, Debug)]
struct Serve {
    /// The configuration, YAML; the other flags win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: OverrideFlags,
}

#[derive(Args, Debug)]
struct OverrideFlags {
    /// Where the default route's images come from: an http:// or https:// URL, or a directory.
    #[arg(long, value_name = "URL|DIR")]
    origin: Option<String>,
    /// The edge's address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The admin listener's address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Where the SSD tier lives; it is made if missing.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Why a command ended without having done its work.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("aquatint: {0}")]
    App(#[from] crate::app::AppError),
    #[error("aquatint: {0}")]
    Usage(String),
    #[error("aquatint: refused with {status}: {message}")]
    Refused { status: u16, message: String },
    #[error(
        "aquatint: no answer from {admin}: {cause}; an order that arrived there may have been carried out"
    )]
    Unheard { admin: String, cause: std::io::Error },
    #[error("aquatint: {admin} can not be reached: {cause}; nothing was ordered")]
    Unreachable { admin: String, cause: std::io::Error },
    #[error(
        "aquatint: {admin}: this is no admin listener: it answers {status}, and neither a receipt nor an estimate; nothing is known to be purged"
    )]
    NoAdmin { admin: String, status: u16 },
    #[error("aquatint: {0}")]
    Random(#[from] crate::purge::keys::NoRandom),
    #[error("aquatint: standard output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs the command that `arguments` (the binary's name first) ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit_code(arguments))
}

fn exit_code(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let command_line = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(help_or_error) => return explain(&help_or_error),
    };
    let output = &mut std::io::stdout();
    let outcome = match command_line.command {
        Command::Serve(Serve { config, overrides }) => {
            serve::run(config.as_deref(), &overrides.into()).map(succeed)
        }
        Command::Check { file } => check::run(&file, output).map(succeed),
        Command::Purge(purge) => purge::run(&purge, output).map(|end| match end {
            purge::End::Applied => EXIT_SUCCESS,
            purge::End::Pending => EXIT_PENDING,
        }),
        Command::Key(key) => key::run(&key, output).map(succeed),
    };
    outcome.unwrap_or_else(|error| fail(&error))
}

fn succeed((): ()) -> u8 {
    EXIT_SUCCESS
}

/// `--help` and `--version` end here too, on stdout and well.
fn explain(help_or_error: &clap::Error) -> u8 {
    let asked_for = !help_or_error.use_stderr();
    match help_or_error.print() {
        Ok(()) if asked_for => EXIT_SUCCESS,
        Ok(()) => EXIT_USAGE,
        Err(_) => EXIT_FAILURE,
    }
}

fn fail(error: &CommandError) -> u8 {
    // With stderr gone, the exit code still tells.
    writeln!(std::io::stderr(), "{error}").ok();
    match error {
        CommandError::Config(_) | CommandError::Usage(_) => EXIT_USAGE,
        CommandError::App(_) | CommandError::Random(_) | CommandError::Output(_) => EXIT_FAILURE,
        CommandError::Refused { .. } => EXIT_REFUSED,
        CommandError::Unreachable { .. } | CommandError::Unheard { .. } | CommandError::NoAdmin { .. } => {
            EXIT_UNREACHABLE
        }
    }
}

impl From<OverrideFlags> for Overrides {
    fn from(flags: OverrideFlags) -> Self {
        Overrides {
            origin: flags.origin,
            listen: flags.listen,
            admin: flags.admin,
            data: flags.data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_with_itself() {
        <CommandLine as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn every_flag_of_serve_becomes_the_override_of_its_name() {
        let text = "aquatint serve --origin /images --listen 127.0.0.1:0 --admin 127.0.0.1:1 --data /data";
        let Command::Serve(serve) = CommandLine::try_parse_from(text.split(' ')).unwrap().command else {
            panic!("not serve");
        };
        let expected = Overrides {
            origin: Some("/images".into()),
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 1))),
            data: Some("/data".into()),
        };
        assert_eq!(Overrides::from(serve.overrides), expected);
    }

    fn exit_code_of(text: &str) -> u8 {
        exit_code(text.split(' ').map(OsString::from))
    }

    #[test]
    fn what_was_only_asked_for_ends_well() {
        for text in ["aquatint --version", "aquatint --help", "aquatint serve --help"] {
            assert_eq!(exit_code_of(text), 0, "{text}");
        }
        assert_eq!(exit_code_of("aquatint check conf/aquatint.yaml"), 0);
    }

    #[test]
    fn wrong_usage_and_wrong_configuration_end_with_64() {
        let wrong = [
            "aquatint",
            "aquatint purge",
            "aquatint purge --soft",
            "aquatint purge --admin 127.0.0.1:9090 --all",
            "aquatint purge http://a/b --min-etag ",
            "aquatint purge --all --key-file /nowhere/key",
            "aquatint key --scope url",
            "aquatint key --name a/b",
            "aquatint check",
            "aquatint serve --listen nowhere",
            "aquatint serve --origin gopher://example",
            "aquatint serve --config /nowhere/aquatint.yaml",
            "aquatint check /nowhere/aquatint.yaml",
            "aquatint check Cargo.toml",
        ];
        for text in wrong {
            assert_eq!(exit_code_of(text), 64, "{text}");
        }
    }

    #[test]
    fn a_failure_that_is_nobodys_configuration_ends_with_1() {
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(fail(&CommandError::Output(gone)), 1);
    }
}
