//! `aquatint serve`: a proven configuration and a log, then the edge.

use super::CommandError;
use crate::app;
use crate::config::{self, Log, LogFormat, Overrides};
use std::path::Path;
use tracing_subscriber::EnvFilter;

pub(super) fn run(file: Option<&Path>, overrides: &Overrides) -> Result<(), CommandError> {
    let config = config::load(file, overrides)?;
    start_logging(&config.log);
    app::serve(config)?;
    Ok(())
}

/// To stderr: stdout is the access log's.
fn start_logging(log: &Log) {
    let log_lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&log.filter))
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => log_lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => log_lines.json().init(),
    }
}
