//! Prometheus and promtool: those in PATH, or those that `scripts/packages monitoring` has unpacked.
//!
//! Invariant: without them a test fails and says which line brings them.

use crate::repository;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the tool of that name is.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools/prometheus/usr/bin");
    let mut places = std::env::split_paths(&path).chain([unpacked]);
    places
        .find_map(|place| Some(place.join(name)).filter(|found| found.is_file()))
        .unwrap_or_else(|| {
            panic!("{name} is neither in PATH nor unpacked; this brings it: scripts/packages monitoring")
        })
}

/// Runs promtool in `prometheus/`, and shows what it says when it is not content.
#[track_caller]
pub(crate) fn promtool(arguments: &[&str]) {
    let mut command = Command::new(tool("promtool"));
    command.args(arguments).current_dir(repository("prometheus"));
    let output = command.output().unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "promtool {}:\n{said}{complained}",
        arguments.join(" ")
    );
}
