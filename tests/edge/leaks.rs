//! Nothing that one request selected, or got for its credentials, reaches another, however the requests meet.

use crate::support::origin::Asked;
use crate::support::{Answer, Edge, Origin, Reply, Setup, request};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;

const CLIENTS: u64 = 6;
const REQUESTS: usize = 80;

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// What a request says, as its answer repeats it: the selecting header, then the credentials.
fn said(accent: Option<&str>, credentials: Option<&str>) -> String {
    format!("{}|{}", accent.unwrap_or("-"), credentials.unwrap_or("-"))
}

/// Each with whether its answers vary, and what is added to their Cache-Control.
const TARGETS: [(&str, bool, &str); 4] = [
    ("/varies", true, ""),
    ("/credentials", false, ""),
    ("/public", true, ", public"),
    ("/both", true, ""),
];

const ACCENTS: [Option<&str>; 4] = [None, Some("1"), Some("2"), Some("3")];
const CREDENTIALS: [Option<&str>; 4] = [None, None, Some("alice"), Some("bob")];
/// Ranges that every answer has: the shortest is three bytes long. Each with where it begins, and ends if not with
/// the answer.
const RANGES: [(&str, usize, Option<usize>); 4] = [
    ("bytes=0-0", 0, Some(0)),
    ("bytes=0-2", 0, Some(2)),
    ("bytes=1-2", 1, Some(2)),
    ("bytes=2-", 2, None),
];

/// Answers with what was said, or the part that was asked for, and is stale at once every third time.
fn origin() -> Origin {
    let origin = Origin::start();
    for (target, varies, extra) in TARGETS {
        origin.set_with(target, move |asked, nth| {
            let reply = reply(asked);
            let age = if nth % 3 == 0 { 0 } else { 60 };
            let reply = reply.header("cache-control", &format!("max-age={age}{extra}"));
            if varies {
                reply.header("vary", "Accent")
            } else {
                reply
            }
        });
    }
    origin
}

fn reply(asked: &Asked) -> Reply {
    if asked.method == "POST" {
        return Reply::of("done");
    }
    let text = said(asked.header("accent"), asked.header("authorization"));
    let etag = tag(&text);
    let asked_tags = asked.header("if-none-match").unwrap_or_default();
    let wanted = asked.header("if-range").is_none_or(|tag| tag == etag);
    let range = asked.header("range").filter(|_| wanted);
    let reply = if asked_tags.split(", ").any(|tag| tag == etag) {
        Reply::of("").status(304)
    } else if let Some((first, last)) = range.map(|range| bounds(range, text.len())) {
        Reply::of(&text.as_bytes()[first..=last])
            .status(206)
            .header("content-range", &format!("bytes {first}-{last}/{}", text.len()))
    } else {
        Reply::of(text)
    };
    reply.header("etag", &etag)
}

fn tag(text: &str) -> String {
    format!("\"{text}\"")
}

/// First and last byte of a `Range` with one range that has a beginning.
fn bounds(range: &str, length: usize) -> (usize, usize) {
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let last = last.parse().unwrap_or(length - 1);
    (first.parse().unwrap(), last.min(length - 1))
}

/// Every answer that this request may get: its own, and what was said without credentials where it has them.
fn allowed(target: &str, accent: Option<&str>, credentials: Option<&str>) -> Vec<String> {
    let accents = match target {
        "/credentials" => ACCENTS.to_vec(),
        _ => vec![accent],
    };
    let credentials = match target {
        "/public" => CREDENTIALS.to_vec(),
        _ => vec![credentials, None],
    };
    accents
        .iter()
        .flat_map(|accent| credentials.iter().map(|credentials| said(*accent, *credentials)))
        .collect()
}

/// Whether this is the answer with that text, to a GET of all or a part, or to a HEAD.
fn tells(answer: &Answer, text: &str, method: &str, range: Option<(usize, Option<usize>)>) -> bool {
    let bytes = text.as_bytes();
    let body = match (method, answer.status, range) {
        ("HEAD", 200, _) => &[],
        ("GET", 200, _) => bytes,
        ("GET", 206, Some((first, last))) => &bytes[first..=last.unwrap_or(bytes.len() - 1)],
        _ => return false,
    };
    answer.body == body && answer.header("etag") == Some(&tag(text))
}

fn ask_at_random(edge: &Edge, seed: u64) {
    let mut random = Random(seed);
    for _ in 0..REQUESTS {
        let (target, ..) = random.one_of(&TARGETS);
        let accent = random.one_of(&ACCENTS);
        let credentials = random.one_of(&CREDENTIALS);
        let method = random.one_of(&["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST"]);
        let mut headers = Vec::new();
        headers.extend(accent.map(|accent| ("Accent", accent)));
        headers.extend(credentials.map(|credentials| ("Authorization", credentials)));
        if random.below(8) == 0 {
            headers.push(("Cache-Control", "no-cache"));
        }
        let mut range = None;
        match method {
            "POST" => headers.push(("Content-Length", "0")),
            "GET" if random.below(3) == 0 => {
                let (header, first, last) = random.one_of(&RANGES);
                headers.push(("Range", header));
                range = Some((first, last));
            }
            _ => {}
        }
        let answer = request(edge.address(), method, target, &headers);
        if method == "POST" {
            answer.expect(200, b"done");
            continue;
        }
        let allowed = allowed(target, accent, credentials);
        assert!(
            allowed.iter().any(|text| tells(&answer, text, method, range)),
            "seed {seed}: {method} {target} {headers:?} got none of {allowed:?}: {answer:?}"
        );
    }
}

fn walk(ranges: &str) {
    let seed = RandomState::new().build_hasher().finish();
    let origin = origin();
    let edge = Setup::of(&origin).route("ranges", ranges).start();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let edge = &edge;
            scope.spawn(move || ask_at_random(edge, seed.wrapping_add(client)));
        }
    });
    assert!(
        edge.metric("aquatint_tier_hits_total{tier=\"memory\",kind=\"entries\"}") > 0.0,
        "something was shared"
    );
}

/// RFC 9111 sections 3.5 and 4.1.
#[test]
fn an_answer_never_leaks_across_vary_or_authorization() {
    walk("whole");
}

/// RFC 9111 section 3.4, too.
#[test]
fn nor_does_a_part_of_one_where_ranges_are_asked_of_the_origin() {
    walk("forward");
}
