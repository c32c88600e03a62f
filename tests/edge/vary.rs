//! One URL, several alternates: each request gets the one its headers select, and never another's (RFC 9111 section
//! 4.1).

use crate::support::origin::Asked;
use crate::support::{Answer, Client, Edge, Gate, Origin, Reply, Setup, picture};

const TARGET: &str = "/a.png";

/// What the request's language is, as the body, with a tag of the same name.
fn in_its_language(asked: &Asked) -> Reply {
    let language = asked.header("accept-language").unwrap_or("none");
    let tag = language.replace([' ', ',', ';'], "-");
    Reply::fresh(language)
        .header("vary", "Accept-Language")
        .header("etag", &format!("\"{tag}\""))
}

fn by_language() -> Origin {
    let origin = Origin::start();
    origin.set_with(TARGET, |asked, _| in_its_language(asked));
    origin
}

#[track_caller]
fn get_in(edge: &Edge, language: &str) -> Answer {
    edge.get_with(TARGET, &[("Accept-Language", language)])
}

/// The origin was asked because no stored alternate suited.
#[track_caller]
fn expect_alternate_miss(answer: &Answer, body: &[u8]) {
    answer.expect(200, body);
    assert_eq!(answer.cache_status().forwarded(), Some("vary-miss"), "{answer:?}");
}

#[test]
fn alternates_are_stored_side_by_side_and_each_answers_its_own_requests() {
    let origin = by_language();
    let edge = Edge::before(&origin);
    get_in(&edge, "de").expect_miss(b"de");
    expect_alternate_miss(&get_in(&edge, "en"), b"en");
    expect_alternate_miss(&get_in(&edge, "fr"), b"fr");
    for language in ["en", "de", "fr", "de"] {
        get_in(&edge, language).expect_hit(language.as_bytes());
    }
    assert_eq!(origin.count(TARGET), 3);
}

#[test]
fn a_request_without_the_header_gets_no_alternate_of_those_who_sent_it() {
    let origin = by_language();
    let edge = Edge::before(&origin);
    get_in(&edge, "de").expect_miss(b"de");
    expect_alternate_miss(&edge.get(TARGET), b"none");
    edge.get(TARGET).expect_hit(b"none");
    get_in(&edge, "de").expect_hit(b"de");
}

#[test]
fn every_listed_header_has_to_match() {
    let origin = Origin::start();
    origin.set_with(TARGET, |asked, nth| {
        let seen = [asked.header("x-a"), asked.header("x-b")].map(Option::unwrap_or_default);
        Reply::fresh(format!("{seen:?} {nth}"))
            .header("vary", "X-A")
            .and_header("vary", "X-B")
    });
    let edge = Edge::before(&origin);
    let requests: [&[(&str, &str)]; 4] = [
        &[("X-A", "1"), ("X-B", "2")],
        &[("X-A", "1"), ("X-B", "3")],
        &[("X-A", "1")],
        &[("X-B", "1")],
    ];
    let bodies = requests.map(|headers| edge.get_with(TARGET, headers).body);
    assert_eq!(origin.count(TARGET), 4, "none matches another");
    for (headers, body) in requests.iter().zip(bodies) {
        edge.get_with(TARGET, headers).expect_hit(&body);
    }
}

#[test]
fn a_list_with_a_star_is_shared_with_nobody() {
    for vary in ["*", "*, *", "Accept-Language, *", "*, Accept-Language"] {
        let origin = Origin::with(TARGET, Reply::fresh("image").header("vary", vary));
        let edge = Edge::before(&origin);
        for _ in 0..2 {
            let answer = get_in(&edge, "de");
            answer.expect_fetched(b"image");
            assert!(!answer.cache_status().has("stored"), "{vary}: {answer:?}");
        }
        assert_eq!(origin.count(TARGET), 2, "{vary}");
    }
}

#[test]
fn a_star_on_a_line_of_its_own_counts_too() {
    let reply = Reply::fresh("image")
        .header("vary", "Accept-Language")
        .and_header("vary", "*");
    let origin = Origin::with(TARGET, reply);
    let edge = Edge::before(&origin);
    for _ in 0..2 {
        get_in(&edge, "de").expect_fetched(b"image");
    }
}

/// What waits for a flight does not know yet that its response varies.
#[test]
fn those_who_waited_for_another_alternate_each_get_their_own() {
    let gate = Gate::closed();
    let origin = Origin::start();
    let held = gate.clone();
    origin.set_with(TARGET, move |asked, _| {
        in_its_language(asked).header_held_by(&held)
    });
    let edge = Edge::before(&origin);
    let languages = ["de", "en", "en", "fr", "de", "none"];
    let mut clients: Vec<_> = languages
        .iter()
        .map(|_| Client::connect(edge.address()))
        .collect();
    for (client, language) in clients.iter_mut().zip(languages) {
        match language {
            "none" => client.send_request("GET", TARGET, &[]),
            _ => client.send_request("GET", TARGET, &[("Accept-Language", language)]),
        };
    }
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| {
        requests >= languages.len() as f64
    });
    gate.open();
    for (client, language) in clients.iter_mut().zip(languages) {
        client.answer().expect(200, language.as_bytes());
    }
    edge.wait_for_fills();
    for language in ["de", "en", "fr"] {
        get_in(&edge, language).expect_hit(language.as_bytes());
    }
}

#[test]
fn order_case_and_spaces_of_accept_language_make_no_alternates() {
    let origin = by_language();
    let edge = Edge::before(&origin);
    get_in(&edge, "en, de").expect_miss(b"en, de");
    for spelling in ["de, en", "EN, dE", " en ,   de", "de,en"] {
        get_in(&edge, spelling).expect_hit(b"en, de");
    }
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn weights_of_accept_language_make_alternates() {
    let origin = by_language();
    let edge = Edge::before(&origin);
    get_in(&edge, "en;q=0.5, de").expect_miss(b"en;q=0.5, de");
    get_in(&edge, "en, de;q=0.5").expect_fetched(b"en, de;q=0.5");
}

#[test]
fn a_route_may_take_each_spelling_for_an_alternate() {
    let origin = by_language();
    let edge = Setup::of(&origin).route("vary", "{default: passthrough}").start();
    get_in(&edge, "en, de").expect_miss(b"en, de");
    expect_alternate_miss(&get_in(&edge, "de, en"), b"de, en");
    get_in(&edge, "en, de").expect_hit(b"en, de");
}

#[test]
fn what_varies_by_a_header_that_the_route_bypasses_is_not_stored() {
    let origin = Origin::with(TARGET, Reply::fresh("image").header("vary", "User-Agent"));
    let edge = Edge::before(&origin);
    for _ in 0..2 {
        let answer = edge.get_with(TARGET, &[("User-Agent", "browser/1")]);
        answer.expect_fetched(b"image");
        assert!(!answer.cache_status().has("stored"), "{answer:?}");
    }
    assert_eq!(origin.count(TARGET), 2);
}

/// It does not reach the origin, so that nothing can vary by it.
#[test]
fn accept_encoding_makes_no_alternates() {
    let origin = Origin::with(TARGET, Reply::fresh("image").header("vary", "Accept-Encoding"));
    let edge = Edge::before(&origin);
    edge.get_with(TARGET, &[("Accept-Encoding", "gzip")])
        .expect_miss(b"image");
    edge.get_with(TARGET, &[("Accept-Encoding", "br")])
        .expect_hit(b"image");
    edge.get(TARGET).expect_hit(b"image");
}

/// RFC 9111 section 4.3.1: the tags of all stored alternates go in one field, and a 304 names the one that suits.
#[test]
fn an_alternate_miss_asks_whether_one_of_the_stored_alternates_suits() {
    let origin = Origin::start();
    origin.set_with(TARGET, |asked, _| match asked.header("accept-language") {
        // Swiss German has no image of its own.
        Some("gsw") => Reply::fresh("de")
            .header("vary", "Accept-Language")
            .header("etag", "\"de\""),
        _ => in_its_language(asked),
    });
    let edge = Edge::before(&origin);
    get_in(&edge, "de").expect_miss(b"de");
    expect_alternate_miss(&get_in(&edge, "en"), b"en");
    let received = edge.metric("aquatint_origin_body_bytes_total");
    let answer = get_in(&edge, "gsw");
    expect_alternate_miss(&answer, b"de");
    assert_eq!(
        answer.cache_status().value("fwd-status"),
        Some("304"),
        "{answer:?}"
    );
    let tags = origin.last(TARGET).header("if-none-match").map(str::to_owned);
    let mut tags: Vec<_> = tags.as_deref().unwrap_or_default().split(", ").collect();
    tags.sort_unstable();
    assert_eq!(tags, ["\"de\"", "\"en\""]);
    assert_eq!(edge.metric("aquatint_origin_body_bytes_total"), received);
    get_in(&edge, "gsw").expect_hit(b"de");
    get_in(&edge, "en").expect_hit(b"en");
    assert_eq!(origin.count(TARGET), 3);
}

#[test]
fn a_response_that_varies_by_something_else_leaves_no_old_alternate_in_reach() {
    let origin = by_language();
    let edge = Edge::before(&origin);
    get_in(&edge, "de").expect_miss(b"de");
    origin.set_with(TARGET, |asked, _| {
        let width = asked.header("x-width").unwrap_or("none");
        Reply::fresh(width).header("vary", "X-Width")
    });
    edge.get_with(TARGET, &[("Accept-Language", "en"), ("X-Width", "100")])
        .expect(200, b"100");
    edge.get_with(TARGET, &[("Accept-Language", "de"), ("X-Width", "200")])
        .expect(200, b"200");
    edge.get_with(TARGET, &[("Accept-Language", "de"), ("X-Width", "100")])
        .expect_hit(b"100");
}

/// The image of a language: of the same length as the others, and nowhere the same.
fn picture_in(language: &str) -> Vec<u8> {
    let seed = language.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte));
    picture(seed, 100)
}

fn part_in_its_language(asked: &Asked) -> Reply {
    let language = asked.header("accept-language").unwrap_or("none");
    let whole = picture_in(language);
    let reply = match asked.header("range") {
        Some("bytes=10-19") => Reply::fresh(&whole[10..20])
            .status(206)
            .header("content-range", "bytes 10-19/100"),
        _ => Reply::fresh(whole),
    };
    reply
        .header("vary", "Accept-Language")
        .header("etag", &format!("\"{language}\""))
}

#[test]
fn a_range_of_an_alternate_never_reaches_who_selects_another() {
    const RANGE: (&str, &str) = ("Range", "bytes=10-19");
    for stored in [&["de", "en"][..], &[]] {
        let origin = Origin::start();
        origin.set_with(TARGET, |asked, _| part_in_its_language(asked));
        let edge = Setup::of(&origin).route("ranges", "forward").start();
        for language in stored {
            get_in(&edge, language).expect(200, &picture_in(language));
        }
        let gate = Gate::closed();
        let held = gate.clone();
        origin.set_with(TARGET, move |asked, _| {
            part_in_its_language(asked).header_held_by(&held)
        });
        let mut clients = ["fr", "it"].map(|language| (language, Client::connect(edge.address())));
        for (number, (language, client)) in clients.iter_mut().enumerate() {
            gate.wait_for_held(number);
            client.send_request("GET", TARGET, &[("Accept-Language", *language), RANGE]);
        }
        edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests >= 2.0);
        gate.open();
        for (language, client) in &mut clients {
            client.answer().expect(206, &picture_in(language)[10..20]);
        }
        edge.wait_for_fills();
        for language in ["it", "fr", "en", "de"] {
            edge.get_with(TARGET, &[("Accept-Language", language), RANGE])
                .expect(206, &picture_in(language)[10..20]);
            get_in(&edge, language).expect(200, &picture_in(language));
        }
    }
}

/// A fill carries no cookie: its answer is the one for those who have none, and no other.
#[test]
fn what_varies_by_cookies_is_never_stored_whatever_the_route_says() {
    let origin = Origin::with(TARGET, Reply::fresh("image").header("vary", "Cookie"));
    let edge = Setup::of(&origin)
        .route("vary", "{default: normalize, by_header: {}}")
        .start();
    for cookie in ["session=1", "session=1", "session=2"] {
        let answer = edge.get_with(TARGET, &[("Cookie", cookie)]);
        answer.expect_fetched(b"image");
        assert!(!answer.cache_status().has("stored"), "{answer:?}");
    }
    assert_eq!(origin.count(TARGET), 3);
}

/// Gateways such as CGI take it for the header that selects, while the key holds none.
#[test]
fn a_header_spelt_with_an_underscore_does_not_reach_the_origin() {
    let origin = by_language();
    let edge = Edge::before(&origin);
    edge.get_with(TARGET, &[("Accept_Language", "de")])
        .expect_miss(b"none");
    let asked = origin.last(TARGET);
    assert!(!asked.has("accept_language"), "{asked:?}");
}

/// A comma separates nothing in a field that is no list.
#[test]
fn commas_in_a_header_that_is_no_list_make_alternates() {
    let origin = Origin::start();
    origin.set_with(TARGET, |asked, _| {
        Reply::fresh(asked.header("referer").unwrap_or("none")).header("vary", "Referer")
    });
    let edge = Edge::before(&origin);
    let referers = [
        "https://a.example/x,,y",
        "https://a.example/x,y",
        "https://a.example/x,",
        "https://a.example/y,https://a.example/x",
        "https://a.example/x,https://a.example/y",
    ];
    for referer in referers {
        edge.get_with(TARGET, &[("Referer", referer)])
            .expect_fetched(referer.as_bytes());
    }
    for referer in referers {
        edge.get_with(TARGET, &[("Referer", referer)])
            .expect_hit(referer.as_bytes());
    }
}

/// The origin confirms a tag, and knows nothing of how much of the image is stored under it.
#[test]
fn a_part_of_an_alternate_is_never_taken_for_the_image_that_the_origin_confirms() {
    let origin = Origin::start();
    origin.set_with(TARGET, |asked, _| {
        let mut german = asked.clone();
        // Swiss German has no image of its own.
        german.headers.retain(|(name, _)| name != "accept-language");
        german.headers.push(("accept-language".into(), "de".into()));
        part_in_its_language(&german)
    });
    let edge = Setup::of(&origin).route("ranges", "forward").start();
    let part = edge.get_with(TARGET, &[("Accept-Language", "de"), ("Range", "bytes=10-19")]);
    part.expect(206, &picture_in("de")[10..20]);
    get_in(&edge, "gsw").expect(200, &picture_in("de"));
    get_in(&edge, "de").expect(200, &picture_in("de"));
    get_in(&edge, "gsw").expect_hit(&picture_in("de"));
}

/// The origin was asked about the image that was stored then, not about the one that is stored now.
#[test]
fn a_confirmation_is_not_taken_for_one_of_an_image_that_came_meanwhile() {
    let image = |body: &str, tag: &str| {
        Reply::fresh(body)
            .header("vary", "Accept-Language")
            .header("etag", tag)
    };
    let old = image("old", "\"1\"");
    let origin = Origin::with(TARGET, old.clone());
    let edge = Edge::before(&origin);
    get_in(&edge, "de").expect_miss(b"old");
    let gate = Gate::closed();
    let held = gate.clone();
    origin.set_with(TARGET, move |asked, _| match asked.header("accept-language") {
        Some("gsw") => old.clone().header_held_by(&held),
        _ => image("new", "\"2\""),
    });
    let mut waiting = Client::connect(edge.address());
    waiting.send_request("GET", TARGET, &[("Accept-Language", "gsw")]);
    gate.wait_for_held(1);
    let headers = [("Accept-Language", "de"), ("Cache-Control", "no-cache")];
    edge.get_with(TARGET, &headers).expect(200, b"new");
    gate.open();
    let answer = waiting.answer();
    answer.expect(200, b"old");
    assert_eq!(answer.said("etag"), "\"1\"");
    edge.wait_for_fills();
    for (language, body, tag) in [("de", b"new", "\"2\""), ("gsw", b"old", "\"1\"")] {
        let hit = get_in(&edge, language);
        hit.expect_hit(body);
        assert_eq!(hit.said("etag"), tag);
    }
}
