//! `aquatint check FILE`: whether a configuration would start an edge, without starting one.

use super::CommandError;
use crate::config::{self, Overrides};
use std::io::Write;
use std::path::Path;

pub(super) fn run(file: &Path, output: &mut impl Write) -> Result<(), CommandError> {
    config::load(Some(file), &Overrides::default())?;
    writeln!(output, "{}: ok", file.display())?;
    Ok(())
}
