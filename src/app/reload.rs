//! A changed configuration, put in force while requests are answered.
//!
//! 1. read and prove it as at a start;
//! 2. what differs from the one in force has to be what can change while serving;
//! 3. open what is new of it: origins, certificate, access log;
//! 4. from there on nothing fails: routes, settings, certificate and origins change places.
//!
//! Invariant: all of it or nothing; a request ends under the rules it began with. An origin that stays as it is keeps its
//! connections and what is known of its health. It does not know who asks for it.

use super::alarm::{Alarm, Lasts};
use super::prepared::{Origins, open_origin};
use super::{AppError, notify};
use crate::base::clock::{self, Timestamp};
use crate::base::digest::Digest;
use crate::base::metrics::{Metrics, ReloadResult, TlsListener};
use crate::config::{Config, ConfigError, LogFilter, Source, differences};
use crate::edge;
use crate::edge::access_log::AccessLog;
use crate::edge::admin::reload::{Reload, ReloadRefused, ReloadReport};
use crate::edge::listen::{Certificate, ListenError};
use crate::edge::purging::Orderer;
use crate::edge::settings::{InForce, Settings};
use crate::purge::Purges;
use crate::serve::Engine;
use crate::serve::route::Routes;
use crate::trace::Tracer;
use async_trait::async_trait;
use sd_notify::NotifyState;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::MutexGuard;
use tokio::task::AbortHandle;

/// What can change while serving, and all below it.
const CHANGEABLE: [&str; 21] = [
    "edge.tls.certificate",
    "edge.tls.key",
    "edge.header_deadline",
    "edge.write_deadline",
    "edge.read_deadline",
    "edge.url_bytes_max",
    "edge.header_bytes_max",
    "edge.headers_max",
    "edge.body_bytes_max",
    "edge.ranges_max",
    "edge.drain_delay",
    "edge.drain_deadline",
    "edge.handover_deadline",
    "edge.access_log",
    "purge.keys",
    "purge.webhooks",
    "purge.rate_max",
    "purge.burst_max",
    "log.filter",
    "origins",
    "routes",
];

/// Why the configuration stays as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    #[error("another process has taken over; ask that one")]
    HandedOver,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{} can not change while serving: restart the edge, or have it hand over to a new process (SIGQUIT)", .0.join(", "))]
    Fixed(Vec<String>),
    #[error(transparent)]
    Open(#[from] AppError),
    #[error(transparent)]
    Certificate(#[from] ListenError),
}

pub(super) struct Reloader {
    pub(super) source: Source,
    pub(super) filter: LogFilter,
    pub(super) engine: Arc<Engine>,
    pub(super) settings: InForce,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) log: Arc<AccessLog>,
    pub(super) tracer: Tracer,
    pub(super) purges: Purges,
    pub(super) watermarks: HashMap<String, Digest>,
    pub(super) alarm: Alarm,
    pub(super) metrics: Arc<Metrics>,
    /// Held by whoever changes it.
    pub(super) in_force: tokio::sync::Mutex<Probed>,
}

/// The configuration in force, and its origins with what probes them.
pub(super) struct Probed {
    config: Config,
    origins: Origins,
    probes: HashMap<String, AbortHandle>,
    /// Whether another process serves by now.
    is_handed_over: bool,
}

impl Probed {
    pub(super) fn new(config: &Config, origins: Origins, alarm: &Alarm) -> Self {
        let mut probed = Probed {
            config: Config::default(),
            origins: HashMap::new(),
            probes: HashMap::new(),
            is_handed_over: false,
        };
        probed.put_in_force(config.clone(), origins, alarm);
        probed
    }

    fn put_in_force(&mut self, config: Config, origins: Origins, alarm: &Alarm) {
        let is_same = |name: &str| match (self.origins.get(name), origins.get(name)) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            _ => false,
        };
        self.probes.retain(|name, probe| {
            let stays = is_same(name);
            if !stays {
                probe.abort();
            }
            stays
        });
        for (name, origin) in &origins {
            self.probes.entry(name.clone()).or_insert_with(|| {
                let origin = origin.clone();
                let probing = async move { origin.run_health().await };
                alarm.watch("an origin's health probe", Lasts::AsLongAsItHasWork, probing)
            });
        }
        (self.config, self.origins) = (config, origins);
    }

    /// The origins of `config`: those that have not changed are the same.
    fn origins_of(&self, config: &Config, metrics: &Arc<Metrics>) -> Result<Origins, AppError> {
        let open = |(name, origin): (&String, _)| {
            let known = self.origins.get(name);
            let same = known.filter(|_| self.config.origins.get(name) == Some(origin));
            let origin = same.map_or_else(|| open_origin(config, name, metrics), |same| Ok(same.clone()))?;
            Ok((name.clone(), origin))
        };
        config.origins.iter().map(open).collect()
    }
}

/// The configuration in force, as it stays.
pub(super) struct Held<'a>(MutexGuard<'a, Probed>);

impl Held<'_> {
    pub(super) fn edge(&self) -> &edge::config::Config {
        &self.0.config.edge
    }

    /// It is another process's to change from here on.
    pub(super) fn for_good(mut self) {
        self.0.is_handed_over = true;
    }
}

impl Reloader {
    pub(super) async fn edge_config(&self) -> edge::config::Config {
        self.in_force.lock().await.config.edge.clone()
    }

    /// Lets nobody change the configuration for as long as this is held.
    pub(super) async fn hold(&self) -> Held<'_> {
        Held(self.in_force.lock().await)
    }

    /// Puts the configuration in force as its source says it now, and returns the keys whose values have changed.
    pub(super) async fn reload(&self) -> Result<Vec<String>, ReloadError> {
        let mut states = vec![NotifyState::Reloading];
        states.extend(NotifyState::monotonic_usec_now().ok());
        notify(&states);
        let reloaded = self.reload_at_once().await;
        notify(&[NotifyState::Ready]);
        self.tell(&reloaded);
        reloaded
    }

    fn tell(&self, reloaded: &Result<Vec<String>, ReloadError>) {
        match reloaded {
            Ok(changed) => {
                self.metrics.reloads[ReloadResult::Applied].inc();
                self.count_in_force();
                let changed = changed.join(", ");
                tracing::info!(changed, "the configuration was reloaded");
            }
            Err(error) => {
                self.metrics.reloads[ReloadResult::Refused].inc();
                self.metrics.last_reload_successful.set(0);
                tracing::error!(%error, "not reloaded: the configuration stays as it was");
            }
        }
    }

    /// What is in force is what was last applied.
    pub(super) fn count_in_force(&self) {
        let metrics = &self.metrics;
        metrics.last_reload_successful.set(1);
        metrics.last_reload_success_timestamp.set(seconds(clock::now()));
        if let Some(end) = self
            .certificate
            .as_ref()
            .and_then(|certificate| certificate.not_after())
        {
            metrics.certificate_not_after[TlsListener::EdgeTls].set(seconds(end));
        }
    }

    async fn reload_at_once(&self) -> Result<Vec<String>, ReloadError> {
        let mut in_force = self.in_force.lock().await;
        if in_force.is_handed_over {
            return Err(ReloadError::HandedOver);
        }
        let reloaded = self.change(&mut in_force);
        if reloaded.is_err() {
            // Whoever has renamed the file does not wait for a better configuration.
            if let Err(error) = self.reopen_log(&in_force.config) {
                tracing::error!(%error, "the access log goes on as it was");
            }
        }
        reloaded
    }

    fn change(&self, in_force: &mut Probed) -> Result<Vec<String>, ReloadError> {
        let config = self.source.load()?;
        let changed = differences(&in_force.config, &config);
        let fixed: Vec<String> = changed
            .iter()
            .filter(|key| !is_changeable(key))
            .cloned()
            .collect();
        if !fixed.is_empty() {
            return Err(ReloadError::Fixed(fixed));
        }
        let origins = in_force.origins_of(&config, &self.metrics)?;
        let routes = Routes::compile(&config.routes, &origins, &self.watermarks, &self.metrics)
            .map_err(AppError::from)?;
        let certified = config.edge.tls.as_ref().map(Certificate::read).transpose()?;
        self.reopen_log(&config)?;
        self.engine.put_in_force(routes);
        let orderer = match in_force.config.purge == config.purge {
            true => self.settings.load().orderer.clone(),
            false => Arc::new(self.orderer(&config)),
        };
        self.settings
            .store(Arc::new(Settings::new(&config.edge, orderer)));
        if let (Some(certificate), Some(certified)) = (&self.certificate, certified) {
            certificate.put_in_force(certified);
        }
        self.filter.set(&config.log.filter);
        in_force.put_in_force(config, origins, &self.alarm);
        Ok(changed)
    }

    fn orderer(&self, config: &Config) -> Orderer {
        let (purges, engine) = (self.purges.clone(), self.engine.clone());
        let orderer = Orderer::new(&config.purge, purges, engine, self.metrics.clone());
        orderer.traced_by(self.tracer.clone())
    }

    fn reopen_log(&self, config: &Config) -> Result<(), AppError> {
        let log = &config.edge.access_log;
        self.log.reopen(log).map_err(|cause| AppError::AccessLog {
            path: log.to.clone(),
            cause,
        })
    }
}

#[async_trait]
impl Reload for Reloader {
    async fn reload(&self) -> Result<ReloadReport, ReloadRefused> {
        let reloaded = Reloader::reload(self).await;
        match reloaded {
            Ok(changed) => Ok(ReloadReport { changed }),
            Err(ReloadError::Config(ConfigError::Refused(refusals))) => {
                let problems = refusals.iter().map(ToString::to_string);
                Err(ReloadRefused::Problems(problems.collect()))
            }
            Err(error) => Err(ReloadRefused::Problems(vec![error.to_string()])),
        }
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.as_secs().cast_signed()
}

fn is_changeable(key: &str) -> bool {
    CHANGEABLE.iter().any(|changeable| {
        key.strip_prefix(changeable)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_key_that_can_change_exists_and_is_told() {
        let mut config = Config::default();
        config.edge.tls = Some(edge::config::Tls {
            listen: config.edge.listen,
            certificate: "certificate".into(),
            key: "key".into(),
        });
        let values = serde_json::to_value(&config).unwrap();
        let document = include_str!("../../docs/operations.md");
        for key in CHANGEABLE {
            let value = key.split('.').try_fold(&values, |value, name| value.get(name));
            assert!(value.is_some_and(|value| *value != Value::Null), "{key}");
            let name = key.strip_prefix("edge.").unwrap_or(key);
            assert!(
                document.contains(&format!("`{key}`")) || document.contains(&format!("`{name}`")),
                "{key}"
            );
        }
    }

    #[test]
    fn what_lies_below_a_changeable_key_can_change_and_what_begins_like_one_can_not() {
        for (key, expected) in [
            ("routes", true),
            ("edge.access_log.to", true),
            ("purge.keys.shop.scopes", true),
            ("edge.tls.listen", false),
            ("edge.tls", false),
            ("edge.listen", false),
            ("routes_of_others", false),
        ] {
            assert_eq!(is_changeable(key), expected, "{key}");
        }
    }
}
