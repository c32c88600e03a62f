//! The command line: what can be asked of the binary, and the exit code each end has.
//!
//! Only parses, dispatches and reports; knows nothing of how a command does its work.

mod access;
mod check;
mod client;
mod describe;
mod drain;
mod exit;
mod get;
mod key;
mod log;
mod nodes;
mod owner;
mod purge;
mod ready;
mod reload;
mod screen;
mod serve;
mod stat;
mod top;
mod warm;

use crate::config::{ConfigError, Overrides};
use clap::{Args, Parser, Subcommand};
use exit::{Exit, for_as_long_as_read};
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// An image CDN edge cache.
#[derive(Debug, Parser)]
#[command(name = "aquatint", version, arg_required_else_help = true, after_help = exit::HELP)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an edge until SIGTERM or SIGINT.
    Serve(Serve),
    /// Read a configuration and name everything that is wrong with it.
    Check(check::Check),
    /// Have a running edge purge images, and print its receipt.
    ///
    /// Ends with 0 when the purge is applied, 3 when it is refused, 4 while it is pending, and 5 when the edge can not be
    /// reached, does not answer, or is none.
    Purge(purge::Purge),
    /// Make a key or a webhook's secret that allows purges, and print its lines of the configuration.
    Key(key::Key),
    /// Show the numbers of a running edge: what they are, how fast they grow now and on average.
    Stat(stat::Stat),
    /// Show what is busiest at a running edge in the last minutes.
    Top(top::Top),
    /// Print what a running edge answers, as it answers.
    Log(log::Log),
    /// Have a running edge answer for one image, or explain how it would.
    Get(get::Get),
    /// Have a running edge fetch the images of a list, so that clients find them stored.
    ///
    /// Ends with 0 when all went well, and with 1 when one did not, or when it was interrupted.
    Warm(warm::Warm),
    /// Have a running edge read its configuration again: all of it or nothing.
    Reload(reload::Reload),
    /// Show the members of a cluster, as a running node sees them.
    Nodes(nodes::Nodes),
    /// Show which nodes of a cluster own the source of an image.
    Owner(owner::Owner),
    /// Have a running node of a cluster give up its keys and hand its hottest images over; it goes on answering.
    Drain(drain::Drain),
    /// End with 0 when a running edge is ready, and with 1 when it is not: a container's health check.
    Ready(ready::Ready),
    /// Print what makes a shell complete this command line.
    Completions(describe::Completions),
    /// Print the manual's page.
    Man(describe::Man),
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
    #[error("aquatint: {admin} broke off: {cause}")]
    CutOff { admin: String, cause: std::io::Error },
    #[error(
        "aquatint: {admin}: this is no admin listener: it answers {status}, and not as one; nothing is known to be done"
    )]
    NoAdmin { admin: String, status: u16 },
    #[error("aquatint: {0}")]
    Random(#[from] crate::purge::keys::NoRandom),
    #[error("aquatint: standard output cannot be written: {0}")]
    Output(#[from] io::Error),
    #[error("aquatint: the system refuses what is needed: {0}")]
    System(io::Error),
}

/// Runs the command that `arguments` (the binary's name first) ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit_code(arguments))
}

fn exit_code(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let command_line = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(help_or_error) => return explain(&help_or_error).code(),
    };
    carry_out(command_line.command, &mut io::stdout())
        .unwrap_or_else(|error| fail(&error))
        .code()
}

fn carry_out(command: Command, output: &mut impl Write) -> Result<Exit, CommandError> {
    let done = |()| Exit::Done;
    match command {
        Command::Serve(Serve { config, overrides }) => {
            serve::run(config.as_deref(), overrides.into()).map(done)
        }
        Command::Check(check) => check::run(&check, output),
        Command::Key(key) => key::run(&key, output).map(done),
        Command::Completions(completions) => describe::completions(&completions, output).map(done),
        Command::Man(man) => describe::man(&man, output).map(done),
        Command::Purge(purge) => asking(purge::run(&purge, output)),
        Command::Stat(stat) => for_as_long_as_read(asking(stat::run(&stat, output))),
        Command::Top(top) => for_as_long_as_read(asking(top::run(&top, output))),
        Command::Log(log) => for_as_long_as_read(asking(log::run(&log, output))),
        Command::Get(get) => asking(get::run(&get, output)),
        Command::Warm(warm) => asking(warm::run(&warm, output)),
        Command::Reload(reload) => asking(reload::run(&reload, output)),
        Command::Nodes(nodes) => asking(nodes::run(&nodes, output)),
        Command::Owner(owner) => asking(owner::run(&owner, output)),
        Command::Drain(drain) => asking(drain::run(&drain, output)),
        Command::Ready(ready) => asking(ready::run(&ready, output)),
    }
}

/// Runs what asks an edge. A look-up of a name that the system has not ended is left behind.
fn asking(work: impl Future<Output = Result<Exit, CommandError>>) -> Result<Exit, CommandError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().map_err(CommandError::System)?;
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

/// `--help` and `--version` end here too, on stdout and well.
fn explain(help_or_error: &clap::Error) -> Exit {
    let asked_for = !help_or_error.use_stderr();
    match help_or_error.print() {
        Ok(()) if asked_for => Exit::Done,
        Ok(()) => Exit::Usage,
        Err(_) => Exit::Failure,
    }
}

fn fail(error: &CommandError) -> Exit {
    // With stderr gone, the exit code still tells.
    writeln!(io::stderr(), "{error}").ok();
    Exit::of(error)
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
            "aquatint key --client-certificate app",
            "aquatint key --secret-file secret",
            "aquatint key --client-certificate app --secret-file /nowhere/secret",
            "aquatint check",
            "aquatint serve --listen nowhere",
            "aquatint serve --origin gopher://example",
            "aquatint serve --config /nowhere/aquatint.yaml",
            "aquatint check /nowhere/aquatint.yaml",
            "aquatint check Cargo.toml",
            "aquatint check Cargo.toml --json",
            "aquatint stat --admin 127.0.0.1:9090",
            "aquatint top --by colour",
            "aquatint top --limit 0",
            "aquatint log --sttus 5xx",
            "aquatint get",
            "aquatint get http://a/b --method POST",
            "aquatint get http://a/b -H Accept",
            "aquatint get http://a/b -H Accept:image/avif -H accept:image/webp",
            "aquatint warm",
            "aquatint warm /nowhere/list",
            "aquatint warm - --concurrency 0",
            "aquatint warm - --rate 0",
            "aquatint reload --key-file /nowhere/key",
            "aquatint nodes --admin 127.0.0.1:9090",
            "aquatint owner",
            "aquatint drain --redo",
            "aquatint ready --timeout soon",
            "aquatint completions sh",
        ];
        for text in wrong {
            assert_eq!(exit_code_of(text), 64, "{text}");
        }
    }

    #[test]
    fn shells_and_man_are_told_every_command() {
        use clap::CommandFactory;
        let (mut completions, mut page) = (Vec::new(), Vec::new());
        clap_complete::generate(
            clap_complete::Shell::Bash,
            &mut CommandLine::command(),
            "aquatint",
            &mut completions,
        );
        clap_mangen::Man::new(CommandLine::command())
            .render(&mut page)
            .unwrap();
        let texts = [completions, page].map(|text| String::from_utf8(text).unwrap());
        for command in CommandLine::command().get_subcommands() {
            let name = command.get_name();
            assert!(texts.iter().all(|text| text.contains(name)), "{name}");
        }
    }

    #[test]
    fn the_help_tells_every_exit_code() {
        for exit in [
            Exit::Done,
            Exit::Failure,
            Exit::Refused,
            Exit::Pending,
            Exit::Unreachable,
            Exit::Usage,
        ] {
            let begins = format!("  {:<3} ", exit.code());
            assert!(
                exit::HELP.lines().any(|line| line.starts_with(&begins)),
                "{exit:?}"
            );
        }
    }

    #[test]
    fn who_closes_the_pipe_has_read_enough_of_what_is_printed_for_ever() {
        let gone = || Err(CommandError::Output(io::ErrorKind::BrokenPipe.into()));
        assert!(matches!(for_as_long_as_read(gone()), Ok(Exit::Done)));
        let full = Err(CommandError::Output(io::ErrorKind::StorageFull.into()));
        assert!(for_as_long_as_read(full).is_err());
    }

    #[test]
    fn a_failure_that_is_nobodys_configuration_ends_with_1() {
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(fail(&CommandError::Output(gone)).code(), 1);
    }
}
