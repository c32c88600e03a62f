//! Flags that win over the file.
//!
//! What a flag does not name keeps the file's value. Which keys were set by which flag comes back, so that a
//! problem can name the flag.

use super::Config;
use crate::base::problem::Problems;
use crate::serve::config::Route;
use crate::upstream;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// An `http://` or `https://` URL, or a directory: where the default route's images come from.
    pub origin: Option<String>,
    pub listen: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    /// Where the SSD tier lives.
    pub data: Option<PathBuf>,
}

/// A key whose value came from a flag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overridden {
    pub(super) flag: &'static str,
    pub(super) key: String,
}

impl Overrides {
    pub(super) fn apply(&self, config: &mut Config, problems: &mut Problems) -> Vec<Overridden> {
        let mut overridden = Vec::new();
        let mut note = |flag, key: &str| {
            let key = key.into();
            overridden.push(Overridden { flag, key });
        };
        if let Some(listen) = self.listen {
            config.edge.listen = listen;
            note("--listen", "edge.listen");
        }
        if let Some(admin) = self.admin {
            config.admin.listen = admin;
            note("--admin", "admin.listen");
        }
        if let Some(data) = &self.data {
            config.store.directory = Some(data.clone());
            note("--data", "store.directory");
        }
        if let Some(origin) = &self.origin {
            let name = default_route(&mut config.routes).origin.clone();
            for key in ["", ".url", ".directory"] {
                note("--origin", &format!("origins.{name}{key}"));
            }
            let place = Place::parse(origin);
            if place == Place::Unknown {
                let allowed = "an http:// or https:// URL, or a directory";
                problems.refuse(&format!("origins.{name}.url"), origin, allowed);
            }
            place.replace(config.origins.entry(name).or_default());
        }
        overridden
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Url(String),
    Directory(PathBuf),
    /// A URL of another scheme.
    Unknown,
}

impl Place {
    fn parse(text: &str) -> Self {
        match text.split_once("://") {
            Some(("http" | "https", _)) => Place::Url(text.into()),
            Some(_) => Place::Unknown,
            None => Place::Directory(text.into()),
        }
    }

    /// Puts the origin here. What belongs to the former place goes with it, patience and limits stay.
    fn replace(self, origin: &mut upstream::config::Config) {
        origin.url = None;
        origin.directory = None;
        origin.addresses.clear();
        origin.tls = Default::default();
        match self {
            Place::Directory(directory) => origin.directory = Some(directory),
            Place::Url(url) => origin.url = Some(url),
            // Keeps "exactly one place" from being reported on top of the place that was refused.
            Place::Unknown => origin.url = Some("http://unknown.invalid".into()),
        }
    }
}

/// The route for any host and any path; a file without one gets it.
fn default_route(routes: &mut Vec<Route>) -> &mut Route {
    let found = routes.iter().position(|r| r.host == "*" && r.path == "/");
    let index = found.unwrap_or(routes.len());
    if found.is_none() {
        routes.push(Route::default());
    }
    &mut routes[index]
}
