//! Caches to judge the checker by: one that keeps nothing, one that forgets what is purged as most caches do, and one that
//! also keeps nothing that was asked for before a purge.
//!
//! They are as small as they can be, and know of HTTP what the checker's readers ask.

use crate::order::Node;
use crate::origin::{Origin, bounds};
use crate::run::{Fault, Subject};
use crate::wire::{Answer, Connection, Request, Server};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    KeepNothing,
    /// What arrives is kept, though it was asked for before a purge.
    ForgetWhatIsPurged,
    /// What arrives after any purge that was submitted since it was asked for is not kept.
    MindFillsInFlight,
}

pub(crate) struct Fake {
    policy: Policy,
    server: Option<Server>,
}

struct Cache {
    policy: Policy,
    origin: SocketAddr,
    kept: Mutex<HashMap<String, Kept>>,
    purges: AtomicU64,
}

#[derive(Clone)]
struct Kept {
    place: String,
    tags: Vec<String>,
    answer: Answer,
}

impl Fake {
    pub(crate) fn new(policy: Policy) -> Fake {
        Fake { policy, server: None }
    }
}

impl Subject for Fake {
    fn start(&mut self, origin: &Origin) {
        let cache = Arc::new(Cache {
            policy: self.policy,
            origin: origin.address(),
            kept: Mutex::default(),
            purges: AtomicU64::new(0),
        });
        self.server = Some(Server::start(move |request| cache.answer(request)));
    }

    fn nodes(&self) -> Vec<Node> {
        let address = self.server.as_ref().map(Server::address);
        address
            .map(|address| Node {
                edge: address,
                admin: address,
            })
            .into_iter()
            .collect()
    }

    fn stop(&mut self, _: Fault) {
        self.server = None;
    }

    fn hand_over(&mut self) {}
}

impl Cache {
    fn answer(&self, request: &Request) -> Answer {
        let host = request.headers.get("host").unwrap_or_default();
        match (&*request.method, &*request.target) {
            ("PURGE", target) => self.purge(&json!({"files": [format!("http://{host}{target}")]})),
            ("POST", "/api/v1/purge") => self.purge(&parsed(&request.body)),
            ("POST", _) => self.purge(&parsed(&request.body)["data"]),
            _ => self.serve(request, host),
        }
    }

    fn serve(&self, request: &Request, host: &str) -> Answer {
        let target = without_parameters(&request.target);
        let alternate = request.headers.get("x-variant").unwrap_or_default();
        let key = format!("{host}{target} {alternate}");
        if let Some(kept) = self.kept.lock().get(&key) {
            let answer = kept.answer.clone().with("cache-status", "fake; hit");
            return to_client(answer, request);
        }
        let purges = self.purges.load(Ordering::SeqCst);
        let asked = Request::new("GET", host, &target).with("x-variant", alternate);
        let Ok(answer) = Connection::open(self.origin).and_then(|mut origin| origin.ask(&asked)) else {
            return Answer::new(502);
        };
        let fresh = answer
            .header("cache-control")
            .is_some_and(|said| !said.contains("no-"));
        let kept = Kept {
            place: format!("{host}{target}"),
            tags: tags(&answer),
            answer: answer.clone(),
        };
        let mut all = self.kept.lock();
        let keeps = match self.policy {
            Policy::KeepNothing => false,
            Policy::ForgetWhatIsPurged => true,
            Policy::MindFillsInFlight => self.purges.load(Ordering::SeqCst) == purges,
        };
        if keeps && fresh && answer.status == 200 {
            all.insert(key, kept);
        }
        drop(all);
        to_client(answer.with("cache-status", "fake; fwd=uri-miss"), request)
    }

    fn purge(&self, order: &Value) -> Answer {
        let texts = |name: &str| -> Vec<String> {
            let all = order[name].as_array().into_iter().flatten();
            all.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let files: Vec<String> = texts("files")
            .iter()
            .filter_map(|url| Some(url.split_once("://")?.1.to_owned()))
            .collect();
        let path = |place: &str| place.split('?').next().unwrap_or_default().to_owned();
        let (prefixes, hosts) = (texts("prefixes"), texts("hosts"));
        let purged: Vec<String> = texts("tags").iter().map(|tag| tag.to_lowercase()).collect();
        let covers = |kept: &Kept| {
            let place = &kept.place;
            order["purge_everything"] == true
                || order["exact"] == true && files.contains(place)
                || order["exact"] != true && files.iter().any(|file| path(file) == path(place))
                || prefixes
                    .iter()
                    .any(|prefix| place.starts_with(&format!("{}/", prefix.trim_end_matches('/'))))
                || hosts.iter().any(|host| place.starts_with(&format!("{host}/")))
                || kept.tags.iter().any(|tag| purged.contains(tag))
        };
        let mut all = self.kept.lock();
        let index = self.purges.fetch_add(1, Ordering::SeqCst);
        all.retain(|_, kept| !covers(kept));
        let receipt = json!({"purge_id": index.to_string(), "index": index, "state": "applied"});
        let body = receipt.to_string().into_bytes();
        Answer {
            body,
            ..Answer::new(200)
        }
    }
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

fn tags(answer: &Answer) -> Vec<String> {
    let said = [("surrogate-key", ' '), ("cache-tag", ',')];
    let lines = said
        .iter()
        .filter_map(|(name, separator)| Some((answer.header(name)?, separator)));
    let tags = lines.flat_map(|(line, separator)| line.split(*separator));
    tags.map(|tag| tag.trim().to_lowercase()).collect()
}

/// It makes nothing of images: the original is a variant, too.
fn without_parameters(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let kept = query
        .split('&')
        .filter(|pair| pair.starts_with("k=") || pair.starts_with("v="));
    match kept.collect::<Vec<_>>().join("&") {
        none if none.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

fn to_client(answer: Answer, request: &Request) -> Answer {
    if answer.status != 200 {
        return answer;
    }
    let matches = |name: &str| {
        request
            .headers
            .get(name)
            .is_some_and(|tag| answer.header("etag") == Some(tag))
    };
    if matches("if-none-match") {
        return Answer {
            status: 304,
            body: Vec::new(),
            ..answer
        };
    }
    let range = request
        .headers
        .get("range")
        .and_then(|range| bounds(range, answer.body.len()));
    let Some((from, to)) = range.filter(|_| request.headers.get("if-range").is_none() || matches("if-range"))
    else {
        return answer;
    };
    let said = format!("bytes {from}-{to}/{}", answer.body.len());
    let body = answer.body[from..=to].to_vec();
    Answer {
        status: 206,
        body,
        ..answer
    }
    .with("content-range", said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Plan, Until};

    #[test]
    fn without_a_cache_nothing_is_violated() {
        let plan = Plan {
            reads_max: 3_000,
            time_max: std::time::Duration::from_secs(5),
            ..Plan::short(1)
        };
        let found = plan.run(&mut Fake::new(Policy::KeepNothing));
        found.expect_none();
        assert_eq!(found.shared.tally.count("outcomes", "hit"), 0);
    }

    #[test]
    fn a_cache_that_forgets_what_is_purged_and_keeps_what_was_under_way_is_found_out() {
        let plan = Plan {
            until: Until::AViolation,
            ..Plan::short(2)
        };
        let found = plan.run(&mut Fake::new(Policy::ForgetWhatIsPurged));
        assert!(found.violations > 0, "nothing found");
        assert!(found.told.contains("was acknowledged before"), "{}", found.told);
        assert!(
            found.told.contains("acknowledged: {"),
            "the purge's receipt is told: {}",
            found.told
        );
    }

    #[test]
    fn a_cache_that_minds_fills_in_flight_is_not_accused() {
        let plan = Plan {
            reads_max: 20_000,
            time_max: std::time::Duration::from_secs(8),
            ..Plan::short(3)
        };
        let found = plan.run(&mut Fake::new(Policy::MindFillsInFlight));
        found.expect_none();
        found.shared.tally.expect("outcomes", "hit", 500);
        found.shared.tally.expect("reads", "conditional", 50);
        found.shared.tally.expect("purges", "", 50);
    }
}
