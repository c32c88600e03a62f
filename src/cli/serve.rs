//! `aquatint serve`: a proven configuration and a log, then the edge.

use super::CommandError;
use crate::app::{self, Start};
use crate::config::{Log, LogFilter, LogFormat, Overrides, Source};
use std::path::Path;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

pub(super) fn run(file: Option<&Path>, overrides: Overrides) -> Result<(), CommandError> {
    let source = Source {
        file: file.map(Path::to_owned),
        overrides,
    };
    let config = source.load()?;
    let filter = start_logging(&config.log);
    app::serve(Start {
        config,
        source,
        filter,
    })?;
    Ok(())
}

/// To stderr: stdout is the access log's.
fn start_logging(log: &Log) -> LogFilter {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&log.filter));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    // Fails only where the log itself has ended.
    LogFilter::new(move |filter| drop(handle.reload(filter)))
}
