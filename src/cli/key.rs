//! `aquatint key`: a new key or webhook secret, and the lines of the configuration that let it purge.
//!
//! Invariant: what is printed is the only place where a key stands; the configuration gets its hash.

use super::CommandError;
use crate::purge::config::{Permission, is_callers_name};
use crate::purge::keys::{KeyHash, unused_key};
use crate::purge::webhook::unused_secret;
use clap::Args;
use std::io::Write;
use std::str::FromStr;

#[derive(Args, Debug)]
pub(super) struct Key {
    /// Who will have it: letters, digits, -, . and _.
    #[arg(long, default_value = "shop", value_parser = callers_name)]
    name: String,
    /// What it allows: purge:url, purge:tag, purge:prefix or purge:all.
    #[arg(long = "scope", value_name = "SCOPE", default_value = "purge:url")]
    scopes: Vec<Permission>,
    /// Make a secret for signed webhooks instead.
    #[arg(long)]
    webhook: bool,
}

fn callers_name(text: &str) -> Result<String, &'static str> {
    match is_callers_name(text) {
        true => Ok(text.to_owned()),
        false => Err("1 to 64 letters, digits, -, . and _"),
    }
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Permission::ALL.map(Permission::name);
        let found = Permission::ALL
            .into_iter()
            .find(|permission| permission.name() == text);
        found.ok_or_else(|| format!("one of {}", names.join(", ")))
    }
}

pub(super) fn run(key: &Key, output: &mut impl Write) -> Result<(), CommandError> {
    let Key {
        name,
        scopes,
        webhook,
    } = key;
    let scopes = scopes.iter().map(|scope| format!("\"{}\"", scope.name()));
    let scopes = scopes.collect::<Vec<_>>().join(", ");
    if *webhook {
        let secret = unused_secret()?;
        let secret = secret.expose();
        writeln!(output, "# The secret, which its sender gets too:")?;
        writeln!(output, "#   {secret}")?;
        writeln!(output, "purge:\n  webhooks:")?;
        writeln!(
            output,
            "    {name}: {{secrets: [\"{secret}\"], scopes: [{scopes}]}}"
        )?;
    } else {
        let key = unused_key()?;
        let hash = KeyHash::of(key.expose());
        writeln!(output, "# The key, which is shown here and never again:")?;
        writeln!(output, "#   {}", key.expose())?;
        writeln!(output, "purge:\n  keys:")?;
        writeln!(output, "    {name}: {{hash: \"{hash}\", scopes: [{scopes}]}}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides, load};
    use crate::purge::keys::Keys;

    fn key(name: &str, scopes: &[Permission], webhook: bool) -> Key {
        Key {
            name: name.into(),
            scopes: scopes.to_vec(),
            webhook,
        }
    }

    /// What is printed, and what a configuration with it says.
    fn printed(key: &Key) -> (String, Config) {
        let mut output = Vec::new();
        run(key, &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("aquatint.yaml");
        let origin = "\norigins: {default: {url: http://127.0.0.1:3000}}\n";
        std::fs::write(&file, text.clone() + origin).unwrap();
        let config = load(Some(&file), &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
        (text, config)
    }

    #[test]
    fn the_printed_lines_let_the_printed_key_in() {
        let scopes = [Permission::Url, Permission::Tag];
        let (text, config) = printed(&key("blog-1", &scopes, false));
        let key = text
            .split_whitespace()
            .find(|word| word.starts_with("aqk_"))
            .unwrap();
        assert_eq!(text.matches(key).count(), 1);
        let keys = Keys::new(&config.purge);
        assert_eq!(keys.find(key).unwrap().name(), "blog-1");
        assert_eq!(config.purge.keys["blog-1"].scopes, scopes);
    }

    #[test]
    fn the_printed_lines_let_the_printed_secret_sign() {
        let (text, config) = printed(&key("cms", &[Permission::All], true));
        let secret = text
            .split_whitespace()
            .find(|word| word.starts_with("whsec_"))
            .unwrap();
        assert_eq!(config.purge.webhooks["cms"].secrets[0].expose(), secret);
        assert_eq!(config.purge.webhooks["cms"].scopes, [Permission::All]);
    }

    #[test]
    fn a_permission_is_read_by_its_name() {
        for permission in Permission::ALL {
            assert_eq!(permission.name().parse(), Ok(permission));
        }
        assert!("url".parse::<Permission>().is_err());
    }
}
