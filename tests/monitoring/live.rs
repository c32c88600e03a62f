//! A real Prometheus that watches a real edge: every panel shows something, every rule can be evaluated.
//!
//! It is the configuration of `prometheus/` that it runs with, but for how often it looks.

use crate::dashboards::{Shown, all_shown};
use crate::support::{Edge, eventually, get};
use crate::text_of;
use crate::tools::tool;
use crate::traffic::{OUTCOMES, Site};
use aquatint::base::clock::monotonic;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Until the last panel shows something; on an idle machine it takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two rounds of traffic, and of queries.
const PACE: Duration = Duration::from_millis(50);

/// What Grafana puts in the place of a variable. A rate needs two looks, which are a second apart.
const VARIABLES: [(&str, &str); 5] = [
    ("$__rate_interval", "10s"),
    ("$__range", "30s"),
    ("$instance", ".*"),
    ("$route", ".*"),
    ("$origin", ".*"),
];

struct Prometheus {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Prometheus {
    fn watching(edge: &Edge) -> Prometheus {
        let mut starts = (0..5).filter_map(|_| Prometheus::start(edge));
        starts.next().expect("Prometheus starts on a port that was free")
    }

    /// Nothing when somebody else has taken its port meanwhile.
    fn start(edge: &Edge) -> Option<Prometheus> {
        let directory = TempDir::new().unwrap();
        configure(&directory, edge.admin_address());
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(tool("prometheus"));
        command
            .current_dir(directory.path())
            .args([
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                "--log.level=warn",
            ])
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut prometheus = Prometheus {
            child: command.spawn().unwrap(),
            address,
            directory,
        };
        eventually("Prometheus is ready or has ended", || prometheus.has_started())?;
        Some(prometheus)
    }

    /// Nothing as long as it can not be told; nothing inside where it has ended.
    fn has_started(&mut self) -> Option<Option<()>> {
        if self.child.try_wait().unwrap().is_some() {
            return Some(None);
        }
        TcpStream::connect(self.address).ok()?;
        (get(self.address, "/-/ready").status == 200).then_some(Some(()))
    }

    fn api(&self, target: &str) -> Value {
        let answer = get(self.address, target);
        let said: Value =
            serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        assert_eq!(said["status"], "success", "{target}: {said}");
        said["data"].clone()
    }

    /// The values of the series that come of it.
    fn values(&self, query: &str) -> Vec<f64> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let data = self.api(&format!("/api/v1/query?query={query}"));
        let series = data["result"].as_array().unwrap().iter();
        series
            .map(|series| series["value"][1].as_str().unwrap().parse().unwrap())
            .collect()
    }

    fn shows(&self, shown: &Shown) -> bool {
        let replace = |query: String, (variable, value): &(&str, &str)| query.replace(variable, value);
        let query = VARIABLES.iter().fold(shown.query.clone(), replace);
        // The edge is alone: that nothing took no time is no number.
        let is_of_nodes = query.contains("aquatint_cluster_");
        self.values(&query)
            .iter()
            .any(|value| value.is_finite() || is_of_nodes)
    }

    /// Name, health and last error of each rule.
    fn rules(&self) -> Vec<(String, String, String)> {
        let data = self.api("/api/v1/rules");
        let groups = data["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rules
            .map(|rule| {
                (
                    text(&rule["name"]),
                    text(&rule["health"]),
                    text(&rule["lastError"]),
                )
            })
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already, for want of its port.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            eprintln!("--- Prometheus\n{log}---");
        }
    }
}

fn configure(directory: &TempDir, admin: SocketAddr) {
    let configuration = text_of("prometheus/prometheus.yml");
    let (often, target) = (configuration.replace("15s", "1s"), admin.to_string());
    let configuration = often.replace(
        r#"["edge1:9090", "edge2:9090", "edge3:9090"]"#,
        &format!("[\"{target}\"]"),
    );
    assert!(configuration.contains("scrape_interval: 1s") && configuration.contains(&target));
    fs::write(directory.path().join("prometheus.yml"), configuration).unwrap();
    for rules in ["recording.yml", "alerts.yml"] {
        fs::write(
            directory.path().join(rules),
            text_of(&format!("prometheus/{rules}")),
        )
        .unwrap();
    }
}

/// Has rounds of traffic pass for as long as `work` takes.
fn under_traffic(site: &Site, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    /// Ends the traffic also when the work fails.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..).take_while(|_| !over.load(Ordering::Relaxed)) {
                site.round(number);
                thread::sleep(PACE);
            }
        });
        let _over = Over(&over);
        work();
    });
}

fn wait_until_every_panel_shows_something(prometheus: &Prometheus) {
    let mut blank = all_shown();
    let deadline = monotonic() + PATIENCE;
    while !blank.is_empty() {
        blank.retain(|shown| !prometheus.shows(shown));
        assert!(
            blank.is_empty() || monotonic() < deadline,
            "nothing to be seen after {PATIENCE:?}: {blank:#?}"
        );
        thread::sleep(PACE);
    }
}

fn wait_until_every_rule_is_evaluated(prometheus: &Prometheus) {
    let rules = eventually("every rule is evaluated", || {
        let rules = prometheus.rules();
        let is_evaluated = rules.iter().all(|(_, health, _)| health != "unknown");
        is_evaluated.then_some(rules)
    });
    assert!(rules.len() > 20, "{rules:?}");
    for (name, health, error) in rules {
        assert_eq!(health, "ok", "{name}: {error}");
    }
}

fn wait_until_pending(prometheus: &Prometheus, alert: &str) {
    let query = format!("ALERTS{{alertname=\"{alert}\"}}");
    eventually(alert, || (!prometheus.values(&query).is_empty()).then_some(()));
}

#[test]
fn after_traffic_every_panel_shows_something_and_rules_see_trouble() {
    let site = Site::open();
    let prometheus = Prometheus::watching(&site.edge);
    under_traffic(&site, || {
        wait_until_every_panel_shows_something(&prometheus);
        for outcome in OUTCOMES {
            let selector = format!("aquatint_requests_total{{outcome=\"{outcome}\"}}");
            site.edge.wait_for_metric(&selector, |count| count > 0.0);
        }
    });
    wait_until_every_rule_is_evaluated(&prometheus);
    // One in some twenty requests of the traffic failed.
    wait_until_pending(&prometheus, "AquatintErrors");
    site.edge.kill9();
    wait_until_pending(&prometheus, "AquatintDown");
}
