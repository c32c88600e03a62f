//! `aquatint key`: a new key or webhook secret, and the lines of the configuration that let it purge; or a new secret for a
//! cluster.
//!
//! Invariant: what is printed is the only place where a key stands; the configuration gets its hash.

use super::CommandError;
use crate::base::secret::Secret;
use crate::cluster::identity::ProgramCertificate;
use crate::cluster::secret::ClusterSecret;
use crate::purge::config::{Permission, is_callers_name};
use crate::purge::keys::{KeyHash, NoRandom, unused_key};
use crate::purge::webhook::unused_secret;
use clap::Args;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[derive(Args, Debug)]
pub(super) struct Key {
    /// Who will have it: letters, digits, -, . and _.
    #[arg(long, default_value = "shop", value_parser = callers_name)]
    name: String,
    /// What it allows: purge:url, purge:tag, purge:prefix, purge:all; or admin and cache, of keys alone.
    #[arg(long = "scope", value_name = "SCOPE", default_value = "purge:url")]
    scopes: Vec<Permission>,
    /// Make a secret for signed webhooks instead.
    #[arg(long)]
    webhook: bool,
    /// Make a secret for the nodes of a cluster instead.
    #[arg(long, conflicts_with_all = ["name", "scopes", "webhook"])]
    cluster: bool,
    /// Make a certificate for a program of this name that speaks gRPC to a cluster, with its key and the authority's
    /// certificate, in PEM.
    #[arg(long, value_name = "NAME", value_parser = callers_name, requires = "secret_file")]
    #[arg(conflicts_with_all = ["name", "scopes", "webhook", "cluster", "json"])]
    client_certificate: Option<String>,
    /// The file with the cluster's secret, for --client-certificate.
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    secret_file: Option<PathBuf>,
    /// Print it in JSON, with its part of the configuration.
    #[arg(long)]
    json: bool,
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
    if key.webhook && key.scopes.iter().any(|scope| !scope.is_of_purges()) {
        return Err(CommandError::Usage(
            "a webhook can not have the scopes admin and cache".into(),
        ));
    }
    if key.cluster {
        let unused = ClusterSecret::unused().map_err(|_| NoRandom)?;
        return Ok(of_cluster(key, &unused, output)?);
    }
    if let (Some(name), Some(file)) = (&key.client_certificate, &key.secret_file) {
        return of_program(name, file, output);
    }
    match (key.webhook, key.json) {
        (true, true) => webhook_in_json(key, &unused_secret()?, output)?,
        (true, false) => webhook_in_yaml(key, &unused_secret()?, output)?,
        (false, true) => key_in_json(key, &unused_key()?, output)?,
        (false, false) => key_in_yaml(key, &unused_key()?, output)?,
    }
    Ok(())
}

fn of_program(name: &str, file: &Path, output: &mut impl Write) -> Result<(), CommandError> {
    let usage =
        |error: &dyn fmt::Display| CommandError::Usage(format!("--secret-file {}: {error}", file.display()));
    let secret = ClusterSecret::in_file(file).map_err(|error| usage(&error))?;
    let made = ProgramCertificate::new(&secret, name).map_err(|error| usage(&error))?;
    let ProgramCertificate {
        certificate,
        key,
        authority,
    } = made;
    Ok(write!(output, "{certificate}{}{authority}", key.expose())?)
}

/// Either form is a part of the configuration.
fn of_cluster(key: &Key, secret: &Secret, output: &mut impl Write) -> io::Result<()> {
    let secret = secret.expose();
    if key.json {
        let told = json!({"secret": secret, "cluster": {"secret": secret}});
        return writeln!(output, "{told}");
    }
    writeln!(
        output,
        "# The same on all nodes; or in a file, which secret_file names."
    )?;
    writeln!(output, "cluster:\n  secret: {secret}")
}

fn webhook_in_yaml(key: &Key, secret: &Secret, output: &mut impl Write) -> io::Result<()> {
    let (name, scopes, secret) = (&key.name, key.scopes(), secret.expose());
    writeln!(output, "# The secret, which its sender gets too:")?;
    writeln!(output, "#   {secret}")?;
    writeln!(output, "purge:\n  webhooks:")?;
    writeln!(
        output,
        "    {name}: {{secrets: [\"{secret}\"], scopes: {scopes}}}"
    )
}

fn key_in_yaml(key: &Key, unused: &Secret, output: &mut impl Write) -> io::Result<()> {
    let (name, scopes, hash) = (&key.name, key.scopes(), KeyHash::of(unused.expose()));
    writeln!(output, "# The key, which is shown here and never again:")?;
    writeln!(output, "#   {}", unused.expose())?;
    writeln!(output, "purge:\n  keys:")?;
    writeln!(output, "    {name}: {{hash: \"{hash}\", scopes: {scopes}}}")
}

/// `purge` as it goes into the configuration.
fn webhook_in_json(key: &Key, secret: &Secret, output: &mut impl Write) -> io::Result<()> {
    let secret = secret.expose();
    let caller = json!({"secrets": [secret], "scopes": key.scopes()});
    let told = json!({"secret": secret, "purge": {"webhooks": {&key.name: caller}}});
    writeln!(output, "{told}")
}

/// `purge` as it goes into the configuration.
fn key_in_json(key: &Key, unused: &Secret, output: &mut impl Write) -> io::Result<()> {
    let hash = KeyHash::of(unused.expose()).to_string();
    let caller = json!({"hash": hash, "scopes": key.scopes()});
    let told = json!({"key": unused.expose(), "purge": {"keys": {&key.name: caller}}});
    writeln!(output, "{told}")
}

impl Key {
    fn scopes(&self) -> Value {
        self.scopes.iter().map(|scope| json!(scope.name())).collect()
    }
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
            cluster: false,
            client_certificate: None,
            secret_file: None,
            json: false,
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
    fn json_tells_the_same_and_is_a_configuration_of_its_own() {
        for (webhook, told, begins) in [(false, "key", "aqk_"), (true, "secret", "whsec_")] {
            let key = Key {
                json: true,
                ..key("blog-1", &[Permission::Url, Permission::Tag], webhook)
            };
            let mut output = Vec::new();
            run(&key, &mut output).unwrap();
            let printed: Value = serde_json::from_slice(&output).unwrap();
            let secret = printed[told].as_str().unwrap();
            assert!(secret.starts_with(begins), "{told}");
            let config: crate::purge::config::Config =
                serde_json::from_value(printed["purge"].clone()).unwrap();
            if webhook {
                assert_eq!(config.webhooks["blog-1"].secrets[0].expose(), secret);
                assert_eq!(config.webhooks["blog-1"].scopes, key.scopes);
            } else {
                assert_eq!(Keys::new(&config).find(secret).unwrap().name(), "blog-1");
                assert_eq!(config.keys["blog-1"].scopes, key.scopes);
            }
        }
    }

    #[test]
    fn a_program_gets_a_certificate_under_the_secret_that_was_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let mut secret = Vec::new();
        let of_cluster = Key {
            cluster: true,
            ..key("shop", &[Permission::Url], false)
        };
        run(&of_cluster, &mut secret).unwrap();
        std::fs::write(&file, secret).unwrap();
        let of_program = Key {
            client_certificate: Some("app".into()),
            secret_file: Some(file.clone()),
            ..key("shop", &[Permission::Url], false)
        };
        let mut printed = Vec::new();
        run(&of_program, &mut printed).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        assert_eq!(printed.matches("BEGIN CERTIFICATE").count(), 2, "{printed}");
        // RFC 8410 section 7, without the public key, which not every library reads.
        let key = printed.split("-----BEGIN PRIVATE KEY-----").nth(1).unwrap();
        assert!(key.trim_start().starts_with("MC4CAQAwBQYDK2VwBCIEI"), "{printed}");
        std::fs::write(&file, "no secret").unwrap();
        assert!(matches!(
            run(&of_program, &mut Vec::new()),
            Err(CommandError::Usage(_))
        ));
    }

    #[test]
    fn a_webhook_can_not_administer() {
        let refused = run(&key("cms", &[Permission::Admin], true), &mut Vec::new());
        assert!(matches!(refused, Err(CommandError::Usage(_))));
        let (_, config) = printed(&key("operators", &[Permission::Admin], false));
        assert_eq!(config.purge.keys["operators"].scopes, [Permission::Admin]);
    }

    #[test]
    fn the_printed_lines_give_a_cluster_its_secret() {
        let of_cluster = Key {
            cluster: true,
            ..key("shop", &[], false)
        };
        let (text, config) = printed(&of_cluster);
        let secret = config.cluster.secret.clone().unwrap();
        assert!(text.contains(secret.expose()) && secret.expose().starts_with("aqc_"));
        assert!(ClusterSecret::of(&config.cluster).unwrap().is_some());
        let in_json = Key {
            json: true,
            ..of_cluster
        };
        let mut output = Vec::new();
        run(&in_json, &mut output).unwrap();
        let printed: Value = serde_json::from_slice(&output).unwrap();
        assert_eq!(printed["secret"], printed["cluster"]["secret"]);
        assert_ne!(printed["secret"], secret.expose());
    }

    #[test]
    fn a_permission_is_read_by_its_name() {
        for permission in Permission::ALL {
            assert_eq!(permission.name().parse(), Ok(permission));
        }
        assert!("url".parse::<Permission>().is_err());
    }
}
