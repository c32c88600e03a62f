//! What is understood of an order, and what is refused.

use super::*;
use proptest::prelude::*;

fn parsed(text: &str) -> Result<PurgeRequest, RequestError> {
    PurgeRequest::of_body(text.as_bytes())
}

fn targets(text: &str) -> Vec<Target> {
    parsed(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .targets
}

fn url(text: &str) -> Target {
    Target::Url(text.into())
}

fn refusal(text: &str) -> RequestError {
    match parsed(text) {
        Err(error) => error,
        Ok(request) => panic!("{text} was understood: {request:?}"),
    }
}

#[test]
fn every_field_says_what_it_says_elsewhere() {
    let text = r#"{
        "files": ["https://a.example/1.jpg", {"url": "https://a.example/2.jpg", "headers": {"Accept": "image/*"}}],
        "tags": ["sale"], "surrogate_keys": ["Summer"],
        "prefixes": ["a.example/p"], "hosts": ["b.example"], "purge_everything": true
    }"#;
    let expected = [
        url("https://a.example/1.jpg"),
        url("https://a.example/2.jpg"),
        Target::Tag("sale".into()),
        Target::Tag("Summer".into()),
        Target::Prefix("a.example/p".into()),
        Target::Host("b.example".into()),
        Target::Everything,
    ];
    assert_eq!(targets(text), expected);
    let request = parsed(text).unwrap();
    assert_eq!((request.mode, request.purpose), (Mode::Hard, Purpose::Purge));
    let needed: Vec<_> = request.needs().collect();
    let every = [
        Permission::Url,
        Permission::Tag,
        Permission::Prefix,
        Permission::All,
    ];
    assert_eq!(needed, every);
}

#[test]
fn soft_exact_and_dry_run_are_switches() {
    let request = parsed(r#"{"files": ["u"], "soft": true, "exact": true, "dry_run": true}"#).unwrap();
    assert_eq!(request.targets, [Target::Exact("u".into())]);
    assert_eq!((request.mode, request.purpose), (Mode::Soft, Purpose::DryRun));
}

#[test]
fn what_is_named_twice_is_purged_once() {
    assert_eq!(targets(r#"{"files": ["a", "b", "a"]}"#), [url("a"), url("b")]);
    assert_eq!(targets(r#"{"tags": ["a"], "surrogate_keys": [" a "]}"#).len(), 1);
}

#[test]
fn a_field_that_is_unknown_or_of_another_type_is_named() {
    for (text, named) in [
        (r#"{"file": ["a"]}"#, "unknown field `file`"),
        (r#"{"files": ["a"], "Soft": true}"#, "unknown field `Soft`"),
        (r#"{"files": "a"}"#, "at files: invalid type"),
        (r#"{"files": null}"#, "at files: invalid type"),
        (r#"{"files": ["a", 7]}"#, "at files[1]: invalid type"),
        (
            r#"{"files": [{"url": "a", "header": {}}]}"#,
            "unknown field `header`",
        ),
        (r#"{"files": [{"headers": {}}]}"#, "missing field `url`"),
        (r#"{"files": ["a"], "files": ["b"]}"#, "duplicate field `files`"),
        (r#"{"tags": [["a"]]}"#, "at tags[0]: invalid type"),
        (
            r#"{"purge_everything": "yes"}"#,
            "at purge_everything: invalid type",
        ),
        (
            r#"{"files": ["a"], "min_version": {"etag": "\"a\"", "weak": true}}"#,
            "unknown field `weak`",
        ),
        (
            r#"{"files": ["a"], "min_version": {"header": "v", "at_least": -1}}"#,
            "at min_version.at_least",
        ),
        (r#"["a"]"#, "invalid"),
        (r#"{"files": ["a"]} {}"#, "trailing characters"),
        ("", "EOF"),
        ("{\"files\": [\"a\"", "EOF"),
    ] {
        let RequestError::Malformed(message) = refusal(text) else {
            panic!("{text}: {}", refusal(text));
        };
        assert!(message.contains(named), "{text}: {message}");
    }
    assert!(PurgeRequest::of_body(b"{\"files\": [\"\xff\"]}").is_err());
}

#[test]
fn what_has_fields_is_an_object_and_no_list_of_values() {
    for text in [
        "[]",
        "[[],[],[],[],[],true]",
        r#"[["https://a.example/1.jpg"]]"#,
        r#"{"files": ["a"], "min_version": ["\"v7\""]}"#,
        r#"{"files": ["a"], "min_version": ["\"v7\"", null, null]}"#,
        r#"{"files": [["https://a.example/1.jpg"]]}"#,
    ] {
        assert!(matches!(refusal(text), RequestError::Malformed(_)), "{text}");
    }
    for text in [
        r#"["purge"]"#,
        r#"["purge", null, {"tags": ["a"]}]"#,
        r#"{"type": "purge", "data": [["a"]]}"#,
        r#"{"type": "purge", "data": [[],[],[],[],[],true]}"#,
    ] {
        let event = PurgeRequest::of_event(text.as_bytes());
        assert!(matches!(event, Err(RequestError::Malformed(_))), "{text}");
    }
}

#[test]
fn a_star_in_a_tag_is_a_star() {
    let tags = ["*", "sale-*", "a/*"].map(|tag| Target::Tag(tag.into()));
    assert_eq!(
        targets(r#"{"tags": ["*", "sale-*"], "surrogate_keys": ["a/*"]}"#),
        tags
    );
}

#[test]
fn what_is_longer_than_anything_stored_is_refused() {
    for (field, length_max) in [
        ("tags", TAG_BYTES_MAX),
        ("surrogate_keys", TAG_BYTES_MAX),
        ("files", URL_BYTES_MAX),
        ("prefixes", URL_BYTES_MAX),
        ("hosts", URL_BYTES_MAX),
    ] {
        let order = |length| format!(r#"{{"{field}": ["{}"]}}"#, "a".repeat(length));
        assert_eq!(targets(&order(length_max)).len(), 1, "{field}");
        let error = refusal(&order(length_max + 1));
        assert!(matches!(error, RequestError::TooLong { .. }), "{field}: {error}");
    }
    let long = format!("http://a.example/{}", "a".repeat(URL_BYTES_MAX));
    let purge = PurgeRequest::of_url(&long, Reach::Every, Mode::Hard);
    assert!(matches!(purge, Err(RequestError::TooLong { .. })));
}

#[test]
fn an_order_of_nothing_is_refused() {
    for text in [
        "{}",
        r#"{"files": []}"#,
        r#"{"purge_everything": false}"#,
        r#"{"tags": [], "soft": true, "dry_run": true}"#,
    ] {
        assert_eq!(refusal(text), RequestError::Empty, "{text}");
    }
}

#[test]
fn what_would_do_nothing_or_contradicts_itself_is_refused_by_its_name() {
    let etag = r#""min_version": {"etag": "\"v7\""}"#;
    for (text, field) in [
        (format!(r#"{{"tags": ["a"], {etag}}}"#), "min_version"),
        (
            format!(r#"{{"files": ["a"], "tags": ["a"], {etag}}}"#),
            "min_version",
        ),
        (format!(r#"{{"files": ["h/a/*"], {etag}}}"#), "min_version"),
        (
            format!(r#"{{"files": ["h/a", "h/a?v=2"], {etag}}}"#),
            "min_version",
        ),
        (r#"{"files": ["a"], "min_version": {}}"#.into(), "min_version"),
        (
            r#"{"files": ["a"], "min_version": {"header": "v"}}"#.into(),
            "min_version",
        ),
        (
            r#"{"files": ["a"], "min_version": {"etag": "\"a\"", "header": "v", "at_least": 1}}"#.into(),
            "min_version",
        ),
        (
            r#"{"files": ["a"], "min_version": {"etag": "v7"}}"#.into(),
            "min_version.etag",
        ),
        (
            r#"{"files": ["a"], "min_version": {"etag": ""}}"#.into(),
            "min_version.etag",
        ),
        (
            r#"{"files": ["a"], "min_version": {"etag": "\"\""}}"#.into(),
            "min_version.etag",
        ),
        (
            r#"{"files": ["a"], "min_version": {"header": "no name", "at_least": 1}}"#.into(),
            "min_version.header",
        ),
        (r#"{"tags": ["a"], "exact": true}"#.into(), "exact"),
        (r#"{"files": ["h/a/*"], "exact": true}"#.into(), "exact"),
        (r#"{"tags": [" "]}"#.into(), "tags"),
        (r#"{"tags": ["a\nb"]}"#.into(), "tags"),
    ] {
        match refusal(&text) {
            RequestError::Field { field: found, .. } => assert_eq!(found, field, "{text}"),
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn a_minimum_is_an_entity_tag_or_a_headers_number() {
    let minimum = |text: &str| {
        let text = format!(r#"{{"files": ["a"], "min_version": {text}}}"#);
        parsed(&text).unwrap().minimum.unwrap()
    };
    assert_eq!(
        minimum(r#"{"etag": "W/\"v7\""}"#),
        Minimum::EntityTag("W/\"v7\"".into())
    );
    let expected = Minimum::Version {
        header: "x-version".into(),
        at_least: 42,
    };
    assert_eq!(minimum(r#"{"header": "X-Version", "at_least": 42}"#), expected);
}

/// An entity tag is of one URL, and a file with a query means its path with every query.
#[test]
fn with_an_entity_tag_a_file_that_has_a_query_is_exact() {
    let etag = r#"{"etag": "\"v7\""}"#;
    let exact = format!(r#"{{"files": ["h/a?v=2"], "exact": true, "min_version": {etag}}}"#);
    assert!(parsed(&exact).unwrap().minimum.is_some());
    let version = r#"{"header": "v", "at_least": 2}"#;
    let every = format!(r#"{{"files": ["h/a?v=2"], "min_version": {version}}}"#);
    assert!(parsed(&every).unwrap().minimum.is_some());
    let fragment = format!(r#"{{"files": ["h/a#b?c"], "min_version": {etag}}}"#);
    assert!(parsed(&fragment).unwrap().minimum.is_some());
}

#[test]
fn a_wildcard_at_the_end_is_a_prefix_and_any_other_is_refused() {
    let text = r#"{"files": ["https://a.example/p/*", "a.example/*"], "prefixes": ["a.example/q/*"]}"#;
    let expected = ["https://a.example/p/", "a.example/", "a.example/q/"];
    assert_eq!(
        targets(text),
        expected.map(|prefix| Target::Prefix(prefix.into()))
    );
    assert_eq!(
        parsed(text).unwrap().needs().collect::<Vec<_>>(),
        [Permission::Prefix]
    );
    for text in [
        r#"{"files": ["https://a.example/*.jpg"]}"#,
        r#"{"files": ["https://a.example/a*"]}"#,
        r#"{"files": ["https://*.example/a/*"]}"#,
        r#"{"files": ["https://*"]}"#,
        r#"{"files": ["*"]}"#,
        r#"{"files": ["https://a.example/a?b/*"]}"#,
        r#"{"prefixes": ["a.example/*/b"]}"#,
        r#"{"hosts": ["*.example"]}"#,
    ] {
        assert!(matches!(refusal(text), RequestError::Wildcard(_)), "{text}");
    }
}

#[test]
fn a_webhooks_data_are_an_order_and_other_events_are_told_so() {
    let event = |text: &str| PurgeRequest::of_event(text.as_bytes());
    let text = r#"{"type": "purge", "timestamp": "2026-01-01T00:00:00Z", "data": {"tags": ["a"]}}"#;
    assert_eq!(event(text).unwrap().targets, [Target::Tag("a".into())]);
    let other = event(r#"{"type": "user.created", "data": {"id": 7}}"#);
    assert_eq!(other, Err(RequestError::EventType("user.created".into())));
    for text in [
        r#"{"data": {"tags": ["a"]}}"#,
        r#"{"type": "purge"}"#,
        r#"{"type": "purge", "data": {"tags": ["a"]}, "more": 1}"#,
        r#"{"type": "purge", "data": {"tag": ["a"]}}"#,
        "[]",
    ] {
        assert!(matches!(event(text), Err(RequestError::Malformed(_))), "{text}");
    }
}

proptest! {
    #[test]
    fn no_body_makes_it_fail_otherwise_than_by_saying_so(
        body in proptest::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\":,a-z_*/ ]{0,80}",
    ) {
        for body in [body.as_slice(), text.as_bytes()] {
            if let Ok(request) = PurgeRequest::of_body(body) {
                prop_assert!(!request.targets.is_empty());
            }
            PurgeRequest::of_event(body).ok();
        }
    }
}
