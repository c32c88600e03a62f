//! What must hold between values that each can stand alone, and between the configuration and this machine's files.
//!
//! Looks, and never creates: `aquatint check` leaves no trace.

use super::Config;
use super::doubts::Doubts;
use crate::base::problem::Problems;
use crate::cluster;
use crate::cluster::config::is_name;
use crate::cluster::secret::ClusterSecret;
use crate::edge::config::Tls;
use crate::edge::listen::{self, CertificateError};
use crate::serve::config::{Keep, Route};
use crate::serve::variants;
use crate::spec;
use rustix::fs::Access;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;

pub(super) fn check(config: &Config, doubts: &Doubts, problems: &mut Problems) {
    check_origins_exist(config, doubts, problems);
    check_routes_differ(config, doubts, problems);
    check_watermarks_exist(config, doubts, problems);
    check_names_clash(config, doubts, problems);
    check_sizes_can_be_made(config, doubts, problems);
    check_purges_fit_in_fills(config, doubts, problems);
    check_listeners_differ(config, doubts, problems);
    check_node_has_a_name(config, doubts, problems);
    check_files(config, problems);
}

fn check_origins_exist(config: &Config, doubts: &Doubts, problems: &mut Problems) {
    let names: Vec<&str> = config.origins.keys().map(String::as_str).collect();
    let allowed = if names.is_empty() {
        "a name under origins, which has none: name one there or give --origin".into()
    } else {
        format!("a name under origins: {}", names.join(", "))
    };
    for (index, Route { origin, .. }) in config.routes.iter().enumerate() {
        let known = config.origins.contains_key(origin) || doubts.about(&format!("origins.{origin}"));
        if !known {
            problems.refuse(&format!("routes[{index}].origin"), origin, allowed.clone());
        }
    }
}

fn check_watermarks_exist(config: &Config, doubts: &Doubts, problems: &mut Problems) {
    let watermarks = &config.serve.watermarks;
    let names: Vec<&str> = watermarks.keys().map(String::as_str).collect();
    let allowed = if names.is_empty() {
        "a name under serve.watermarks, which has none".into()
    } else {
        format!("a name under serve.watermarks: {}", names.join(", "))
    };
    for (index, route) in config.routes.iter().enumerate() {
        for (key, name) in route.transform.watermarks() {
            if !watermarks.contains_key(&name) && !doubts.about(&format!("serve.watermarks.{name}")) {
                let key = format!("routes[{index}].transform.{key}");
                problems.refuse(&key, format!("wm={name}"), allowed.clone());
            }
        }
    }
}

/// The routes that certainly make variants, with their keys.
fn transforming<'a>(config: &'a Config, doubts: &Doubts) -> impl Iterator<Item = (String, &'a Route)> {
    let keyed = config.routes.iter().enumerate();
    let keyed = keyed.map(|(index, route)| (format!("routes[{index}]"), route));
    keyed.filter(|(key, route)| {
        let switch = doubts.as_written(&format!("{key}.transform.enabled"));
        route.transform.enabled && !doubts.about(&switch)
    })
}

/// A transform parameter is taken out of a query before the rest of it becomes the source's.
fn check_names_clash(config: &Config, doubts: &Doubts, problems: &mut Problems) {
    let allowed = "a name that is none of the transform parameters, or transform: {enabled: false}";
    for (route_key, route) in transforming(config, doubts) {
        let mut check = |key: String, name: &str| {
            if spec::is_parameter(name) {
                problems.refuse(&format!("{route_key}.{key}"), name, allowed);
            }
        };
        if let Some(name) = &route.version_parameter {
            check("version_parameter".into(), name);
        }
        if let Keep::Include(names) = &route.query.keep {
            let numbered = names.iter().enumerate();
            numbered.for_each(|(at, name)| check(format!("query.keep.include[{at}]"), name));
        }
    }
}

/// A size that is never made would be served as another one.
fn check_sizes_can_be_made(config: &Config, doubts: &Doubts, problems: &mut Problems) {
    let limit = "serve.transform.limits.output_side";
    if doubts.about(limit) {
        return;
    }
    let most = config.serve.transform.limits.output_side;
    for (key, route) in transforming(config, doubts) {
        if let Some(largest) = route.transform.sizes.iter().max().filter(|size| **size > most) {
            let allowed = format!("sizes up to {limit}, {most}");
            problems.refuse(&format!("{key}.transform.sizes"), largest, allowed);
        }
    }
}

/// A fill that asks for as long as it may live would never come to answer with what it has.
fn check_purges_fit_in_fills(config: &Config, doubts: &Doubts, problems: &mut Problems) {
    let (key, limit) = ("purge.minimum_patience", "serve.fill_deadline");
    let (patience, deadline) = (config.purge.minimum_patience, config.serve.fill_deadline);
    if patience >= deadline && !doubts.about(key) && !doubts.about(limit) {
        problems.refuse(key, patience, format!("less than {limit}, {deadline}"));
    }
}

fn check_routes_differ(config: &Config, doubts: &Doubts, problems: &mut Problems) {
    if config.routes.is_empty() {
        problems.refuse(
            "routes",
            "[]",
            "at least one route; without the key there is a default one",
        );
    }
    let mut seen = BTreeMap::new();
    for (index, route) in config.routes.iter().enumerate() {
        let [here, host, path] =
            ["", ".host", ".path"].map(|key| doubts.as_written(&format!("routes[{index}]{key}")));
        if doubts.about(&host) || doubts.about(&path) {
            continue;
        }
        if let Some(first) = seen.insert(place_of(route), here) {
            let allowed = format!("a path of its own: {first} has this host and path");
            problems.refuse(&format!("routes[{index}].path"), &route.path, allowed);
        }
    }
}

/// Host and path as requests are matched against them: `/a` and `/a/` cover the same paths.
fn place_of(route: &Route) -> (String, String) {
    let path = route.path.trim_end_matches('/');
    (route.host.to_ascii_lowercase(), path.into())
}

fn check_listeners_differ(config: &Config, doubts: &Doubts, problems: &mut Problems) {
    let mut listeners = vec![("edge.listen", config.edge.listen)];
    listeners.extend(config.edge.tls.iter().map(|tls| ("edge.tls.listen", tls.listen)));
    listeners.push(("admin.listen", config.admin.listen));
    listeners.extend(config.cluster.listen.map(|listen| ("cluster.listen", listen)));
    listeners.retain(|(key, _)| !doubts.about(key));
    for (index, (key, address)) in listeners.iter().enumerate() {
        let earlier = &listeners[..index];
        if let Some((taken_by, _)) = earlier.iter().find(|(_, other)| collide(*address, *other)) {
            problems.refuse(key, address, format!("an address of its own: {taken_by} has it"));
        }
    }
}

/// The other nodes know this one by it.
fn check_node_has_a_name(config: &Config, doubts: &Doubts, problems: &mut Problems) {
    let named_by_edge = config.cluster.listen.is_some() && config.cluster.node.is_none();
    let doubted = doubts.about("edge.name") || doubts.about("cluster.node");
    if named_by_edge && !is_name(&config.edge.name) && !doubted {
        let allowed = format!(
            "a name of its own: edge.name is {}, which is none",
            config.edge.name
        );
        problems.refuse("cluster.node", "(none)", allowed);
    }
}

/// An unspecified address takes the port on every address. Port 0 is another port each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let one_covers_the_other = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && one_covers_the_other
}

fn check_files(config: &Config, problems: &mut Problems) {
    if let Some(tls) = &config.edge.tls {
        problems.below("edge.tls", |p| check_certificate(tls, p));
    }
    for (name, origin) in &config.origins {
        problems.below(format!("origins.{name}"), |p| {
            if let Some(ca) = &origin.tls.ca {
                check_roots("tls.ca", ca, p);
            }
            if let Some(directory) = &origin.directory {
                check_is_directory("directory", directory, p);
            }
        });
    }
    for (name, watermark) in &config.serve.watermarks {
        let key = format!("serve.watermarks.{name}.file");
        let opened = || variants::check(watermark, &config.serve.transform.limits);
        if check_readable(&key, &watermark.file, problems)
            && let Err(error) = opened()
        {
            let allowed = format!("a picture ({error})");
            problems.refuse(&key, watermark.file.display(), allowed);
        }
    }
    if let Some(directory) = &config.store.directory {
        check_can_be_made("store.directory", directory, problems);
    }
    if let Some(directory) = &config.purge.directory {
        check_can_be_made("purge.directory", directory, problems);
    }
    problems.below("cluster", |p| check_cluster(&config.cluster, p));
    check_access_log(&config.edge.access_log.to, problems);
}

fn check_cluster(config: &cluster::config::Config, problems: &mut Problems) {
    if let Some(file) = &config.secret_file
        && config.secret.is_none()
        && check_readable("secret_file", file, problems)
        && let Err(error) = ClusterSecret::of(config)
    {
        let allowed = format!("a file with a secret as `aquatint key --cluster` prints it ({error})");
        problems.refuse("secret_file", file.display(), allowed);
    }
    if let Some(of_cluster) = &config.tls {
        problems.below("tls", |p| {
            let own = Tls {
                listen: ([127, 0, 0, 1], 0).into(),
                certificate: of_cluster.certificate.clone(),
                key: of_cluster.key.clone(),
            };
            check_roots("ca", &of_cluster.ca, p);
            check_certificate(&own, p);
        });
    }
}

fn check_access_log(to: &str, problems: &mut Problems) {
    if matches!(to, "off" | "stdout") {
        return;
    }
    let parent = Path::new(to).parent().unwrap_or(Path::new(""));
    if !parent.as_os_str().is_empty() && !parent.is_dir() {
        problems.refuse(
            "edge.access_log.to",
            to,
            "off, stdout, or a file in a directory that exists",
        );
    }
}

fn check_certificate(tls: &Tls, problems: &mut Problems) {
    let Tls { certificate, key, .. } = tls;
    // Not short of the second: both files are looked at.
    if !check_readable("certificate", certificate, problems) | !check_readable("key", key, problems) {
        return;
    }
    match listen::certified_key(tls) {
        Ok(_) => {}
        Err(error @ CertificateError::Chain(_)) => {
            problems.refuse("certificate", certificate.display(), pem("certificates", &error));
        }
        Err(error @ CertificateError::Key(_)) => {
            problems.refuse("key", key.display(), pem("a private key", &error))
        }
        Err(error @ CertificateError::Pair(_)) => {
            let allowed = format!(
                "the key of the first certificate in {} ({error})",
                certificate.display()
            );
            problems.refuse("key", key.display(), allowed);
        }
    }
}

fn check_roots(key: &str, file: &Path, problems: &mut Problems) {
    if check_readable(key, file, problems)
        && let Err(error) = listen::check_roots(file)
    {
        problems.refuse(key, file.display(), pem("certificates", &error));
    }
}

fn pem(what: &str, error: &CertificateError) -> String {
    format!("a PEM file with {what} ({error})")
}

/// Whether there is no problem.
fn check_readable(key: &str, file: &Path, problems: &mut Problems) -> bool {
    let readable = File::open(file).and_then(|file| file.metadata());
    match &readable {
        Ok(metadata) if metadata.is_file() => return true,
        Ok(_) => problems.refuse(key, file.display(), "a file"),
        Err(error) => problems.refuse(key, file.display(), format!("a readable file ({error})")),
    }
    false
}

fn check_is_directory(key: &str, directory: &Path, problems: &mut Problems) {
    if !directory.is_dir() {
        problems.refuse(key, directory.display(), "a directory that exists");
    }
}

/// The directory itself, or else the nearest one above it that exists, has to take new files.
fn check_can_be_made(key: &str, directory: &Path, problems: &mut Problems) {
    let here = Path::new(".");
    let above = directory.ancestors().find(|path| path.exists());
    let existing = above.filter(|path| !path.as_os_str().is_empty()).unwrap_or(here);
    let may_write = rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    if !existing.is_dir() || !may_write {
        let allowed = format!(
            "a directory that can be made; {} does not allow it",
            existing.display()
        );
        problems.refuse(key, directory.display(), allowed);
    }
}
