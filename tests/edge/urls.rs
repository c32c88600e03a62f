//! Which URLs are the same image, and what the origin is asked for.

use crate::support::{Edge, Origin, Reply, Setup};

/// Query parameters that are kept, as the configuration spells it.
fn keep_only(names: &str) -> String {
    format!("{{keep: {{include: [{names}]}}, sort: true}}")
}

fn keep_all_but(names: &str) -> String {
    format!("{{keep: {{exclude: [{names}]}}, sort: true}}")
}

#[track_caller]
fn is_hit(edge: &Edge, target: &str) {
    edge.get(target).expect_hit(b"image");
}

#[test]
fn parameters_that_are_not_kept_reach_neither_key_nor_origin() {
    let origin = Origin::with("/a.png?size=2", Reply::fresh("image"));
    let edge = Setup::of(&origin).route("query", keep_only("size")).start();
    edge.get("/a.png?utm_source=x&size=2").expect_miss(b"image");
    for target in [
        "/a.png?size=2",
        "/a.png?size=2&utm_source=y",
        "/a.png?fbclid=1&size=2&z",
    ] {
        is_hit(&edge, target);
    }
    assert_eq!(origin.targets(), ["/a.png?size=2"]);
}

#[test]
fn parameters_that_are_excluded_reach_neither_key_nor_origin() {
    let origin = Origin::with("/a.png?size=2", Reply::fresh("image"));
    origin.set("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin)
        .route("query", keep_all_but("utm_source, fbclid"))
        .start();
    edge.get("/a.png?utm_source=x&size=2").expect_miss(b"image");
    is_hit(&edge, "/a.png?size=2&fbclid=3");
    edge.get("/a.png?fbclid=3").expect_miss(b"image");
    is_hit(&edge, "/a.png");
}

#[test]
fn without_any_kept_parameter_the_version_still_counts() {
    let origin = Origin::with("/a.png?v=1", Reply::fresh("first"));
    origin.set("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).route("query", "{keep: none}").start();
    edge.get("/a.png?x=1&v=1").expect_miss(b"first");
    edge.get("/a.png?v=1").expect_hit(b"first");
    edge.get("/a.png?x=1").expect_miss(b"image");
}

#[test]
fn the_order_of_parameters_matters_only_where_the_route_says_so() {
    let origin = Origin::with("/a.png?a=1&b=2", Reply::fresh("image"));
    origin.set("/a.png?b=2&a=1", Reply::fresh("image"));
    let sorting = Edge::before(&origin);
    sorting.get("/a.png?b=2&a=1").expect_miss(b"image");
    is_hit(&sorting, "/a.png?a=1&b=2");
    assert_eq!(origin.targets(), ["/a.png?a=1&b=2"]);
    let keeping = Setup::of(&origin).route("query", "{sort: false}").start();
    keeping.get("/a.png?b=2&a=1").expect_miss(b"image");
    keeping.get("/a.png?a=1&b=2").expect_miss(b"image");
}

#[test]
fn spellings_of_one_path_are_one_image() {
    let origin = Origin::with("/photos/%C3%A9-1.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    edge.get("/photos/%c3%a9-1.png").expect_miss(b"image");
    for target in [
        "/photos/%C3%A9-1.png",
        "/photos/%C3%A9%2d1.png",
        "/%70hotos/%c3%A9-1.png",
        "/photos/./%C3%A9-1.png",
        "/other/../photos/%C3%A9-1.png",
        "/other/%2e%2E/photos/%C3%A9-1.png",
        "/photos/%C3%A9-1.png?",
    ] {
        is_hit(&edge, target);
    }
    assert_eq!(origin.targets(), ["/photos/%C3%A9-1.png"]);
}

#[test]
fn an_encoded_slash_or_question_mark_is_not_a_plain_one() {
    let origin = Origin::with("/a/b.png", Reply::fresh("plain"));
    origin.set("/a%2Fb.png", Reply::fresh("slash"));
    origin.set("/a/b.png%3Fv=1", Reply::fresh("question"));
    let edge = Edge::before(&origin);
    for (target, body) in [
        ("/a/b.png", "plain"),
        ("/a%2fb.png", "slash"),
        ("/a/b.png%3fv=1", "question"),
    ] {
        edge.get(target).expect_miss(body.as_bytes());
        edge.get(target).expect_hit(body.as_bytes());
    }
}

#[test]
fn the_default_port_belongs_to_no_name() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    edge.get_with("/a.png", &[("Host", "images.example:80")])
        .expect_miss(b"image");
    edge.get_with("/a.png", &[("Host", "images.example")])
        .expect_hit(b"image");
    edge.get_with("/a.png", &[("Host", "images.example:8080")])
        .expect_miss(b"image");
}

#[test]
fn the_longest_prefix_of_the_most_precise_host_decides() {
    let (one, two, three) = (Origin::start(), Origin::start(), Origin::start());
    for (origin, name) in [(&one, "one"), (&two, "two"), (&three, "three")] {
        for target in ["/a.png", "/thumbs/a.png", "/thumbsup.png"] {
            origin.set(target, Reply::fresh(name));
        }
    }
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("routes.yaml");
    let text = format!(
        "edge: {{listen: '127.0.0.1:0'}}\nadmin: {{listen: '127.0.0.1:0'}}\n\
         origins: {{one: {{url: '{}'}}, two: {{url: '{}'}}, three: {{url: '{}'}}}}\n\
         routes:\n- {{origin: one}}\n- {{path: /thumbs, origin: two}}\n- {{host: shop.example, origin: three}}\n",
        one.url(),
        two.url(),
        three.url()
    );
    std::fs::write(&file, text).unwrap();
    let mut edge = Edge::spawn(&["serve".as_ref(), "--config".as_ref(), file.as_os_str()]);
    edge.wait_until_listening();
    for (host, target, body) in [
        ("any.example", "/a.png", "one"),
        ("any.example", "/thumbs/a.png", "two"),
        ("any.example", "/thumbsup.png", "one"),
        ("shop.example", "/a.png", "three"),
        ("shop.example", "/thumbs/a.png", "three"),
    ] {
        edge.get_with(target, &[("Host", host)])
            .expect_miss(body.as_bytes());
    }
}
