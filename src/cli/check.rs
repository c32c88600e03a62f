//! `aquatint check FILE`: whether a configuration would start an edge, without starting one.

use super::CommandError;
use super::exit::Exit;
use crate::config::{self, ConfigError, Overrides};
use clap::Args;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct Check {
    /// The configuration, YAML.
    file: PathBuf,
    /// Print in JSON whether it can stand, and everything that is wrong with it.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(check: &Check, output: &mut impl Write) -> Result<Exit, CommandError> {
    let Check { file, json } = check;
    let loaded = config::load(Some(file), &Overrides::default()).map(drop);
    if *json {
        writeln!(output, "{}", check.told(&loaded))?;
        return Ok(match loaded {
            Ok(()) => Exit::Done,
            Err(_) => Exit::Usage,
        });
    }
    loaded?;
    writeln!(output, "{}: ok", file.display())?;
    Ok(Exit::Done)
}

impl Check {
    fn told(&self, loaded: &Result<(), ConfigError>) -> Value {
        let file = self.file.display().to_string();
        match loaded {
            Ok(()) => json!({"file": file, "ok": true}),
            Err(error) => json!({"file": file, "ok": false, "problems": problems(error)}),
        }
    }
}

/// A line for each.
fn problems(error: &ConfigError) -> Vec<String> {
    match error {
        ConfigError::Refused(refusals) => refusals.iter().map(ToString::to_string).collect(),
        unreadable @ ConfigError::Unreadable { .. } => vec![unreadable.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: Option<&str>) -> (Exit, Value) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("aquatint.yaml");
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let mut output = Vec::new();
        let check = Check {
            file: file.clone(),
            json: true,
        };
        let exit = run(&check, &mut output).unwrap();
        let told: Value = serde_json::from_slice(&output).unwrap();
        assert_eq!(told["file"], file.to_str().unwrap());
        (exit, told)
    }

    #[test]
    fn json_tells_that_a_configuration_stands_or_all_that_is_wrong() {
        let origins = "origins: {default: {url: http://127.0.0.1:3000}}\n";
        let (exit, good) = told(Some(origins));
        assert_eq!(
            (exit, &good["ok"], good.get("problems")),
            (Exit::Done, &json!(true), None)
        );
        let two = format!("{origins}edge: {{threads: 5000}}\nserve: {{read_ahead: 77}}\n");
        for (text, expected) in [
            (
                Some(two.as_str()),
                &["edge.threads: 5000", "serve.read_ahead: 77"][..],
            ),
            (None, &["cannot be read"]),
        ] {
            let (exit, bad) = told(text);
            assert_eq!((exit, &bad["ok"]), (Exit::Usage, &json!(false)));
            let problems = bad["problems"].as_array().unwrap();
            assert_eq!(problems.len(), expected.len(), "{bad}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.as_str().unwrap().contains(expected), "{problem}");
            }
        }
    }
}
