//! What a client changed at the origin is not served from before the change (RFC 9111 section 4.4).

use crate::support::{Answer, Client, Edge, Gate, HOST, Origin, Reply, Setup, request};

const TARGET: &str = "/a.png";
/// Where a change is asked for that concerns another URL.
const ELSEWHERE: &str = "/change";

/// An edge that has the image of one target.
fn stored() -> (Origin, Edge) {
    let origin = Origin::with(TARGET, Reply::fresh("old"));
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"old");
    edge.get(TARGET).expect_hit(b"old");
    (origin, edge)
}

fn change(edge: &Edge, method: &str, target: &str) -> Answer {
    request(edge.address(), method, target, &[("Content-Length", "0")])
}

/// The origin has a new image from now on, and says so to nobody.
fn replace(origin: &Origin) {
    origin.set(TARGET, Reply::fresh("new"));
}

#[test]
fn a_method_that_is_not_safe_and_succeeds_invalidates_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "MKCOL"] {
        let (origin, edge) = stored();
        origin.set(TARGET, Reply::of("done"));
        change(&edge, method, TARGET).expect(200, b"done");
        replace(&origin);
        edge.get(TARGET).expect_fetched(b"new");
        edge.get(TARGET).expect_hit(b"new");
        assert_eq!(origin.count(TARGET), 3, "{method}");
    }
}

#[test]
fn a_redirection_counts_as_success() {
    let (origin, edge) = stored();
    origin.set(TARGET, Reply::of("over there").status(303));
    assert_eq!(change(&edge, "POST", TARGET).status, 303);
    replace(&origin);
    edge.get(TARGET).expect_fetched(b"new");
}

#[test]
fn a_change_that_failed_invalidates_nothing() {
    let (origin, edge) = stored();
    for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        for status in [400, 404, 500, 503] {
            origin.set(TARGET, Reply::of("no").status(status));
            assert_eq!(change(&edge, method, TARGET).status, status);
            edge.get(TARGET).expect_hit(b"old");
        }
    }
}

#[test]
fn a_change_whose_answer_never_came_invalidates_nothing() {
    let (origin, edge) = stored();
    origin.set(TARGET, Reply::hang_up());
    assert_eq!(change(&edge, "PUT", TARGET).status, 502);
    edge.get(TARGET).expect_hit(b"old");
}

#[test]
fn a_safe_method_invalidates_nothing() {
    let (origin, edge) = stored();
    origin.set(TARGET, Reply::of("fine"));
    for method in ["OPTIONS", "HEAD"] {
        assert_eq!(request(edge.address(), method, TARGET, &[]).status, 200);
        edge.get(TARGET).expect_hit(b"old");
    }
}

#[test]
fn all_alternates_are_invalidated_together() {
    let origin = Origin::start();
    origin.set_with(TARGET, |asked, nth| {
        let language = asked.header("accept-language").unwrap_or("none");
        Reply::fresh(format!("{language} {nth}")).header("vary", "Accept-Language")
    });
    let edge = Edge::before(&origin);
    let get_in = |language| edge.get_with(TARGET, &[("Accept-Language", language)]);
    get_in("de").expect_fetched(b"de 1");
    get_in("en").expect_fetched(b"en 2");
    get_in("de").expect_hit(b"de 1");
    assert_eq!(change(&edge, "PUT", TARGET).status, 200);
    get_in("en").expect_fetched(b"en 4");
    get_in("de").expect_fetched(b"de 5");
}

#[test]
fn what_location_and_content_location_name_is_invalidated_too() {
    let absolute = format!("http://{HOST}{TARGET}");
    for name in ["location", "content-location"] {
        for named in [TARGET, "a.png", "./x/../a.png", &absolute] {
            let (origin, edge) = stored();
            origin.set(ELSEWHERE, Reply::of("done").status(201).header(name, named));
            assert_eq!(change(&edge, "POST", ELSEWHERE).status, 201);
            replace(&origin);
            edge.get(TARGET).expect_fetched(b"new");
        }
    }
}

#[test]
fn what_belongs_to_another_origin_is_not_invalidated() {
    let (origin, edge) = stored();
    let others = [
        "http://other.example",
        "https://images.example",
        "http://images.example:81",
        "//other.example",
    ];
    for other in others {
        for name in ["location", "content-location"] {
            let reply = Reply::of("done").header(name, &format!("{other}{TARGET}"));
            origin.set(ELSEWHERE, reply);
            assert_eq!(change(&edge, "POST", ELSEWHERE).status, 200);
            edge.get(TARGET).expect_hit(b"old");
        }
    }
}

#[test]
fn an_image_of_another_site_is_not_invalidated() {
    let (origin, edge) = stored();
    let other = [("Host", "other.example"), ("Content-Length", "0")];
    assert_eq!(request(edge.address(), "DELETE", TARGET, &other).status, 200);
    replace(&origin);
    edge.get(TARGET).expect_hit(b"old");
}

/// Asked before the change, answered after it: nobody can say which of the two images it is.
#[test]
fn an_image_on_its_way_while_it_is_changed_is_not_stored_as_fresh() {
    let gate = Gate::closed();
    let origin = Origin::with(TARGET, Reply::fresh("old").header_held_by(&gate));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    client.send_request("GET", TARGET, &[]);
    gate.wait_for_held(1);
    origin.set(TARGET, Reply::of("done"));
    change(&edge, "PUT", TARGET).expect(200, b"done");
    replace(&origin);
    gate.open();
    client.answer().expect(200, b"old");
    edge.wait_for_fills();
    edge.get(TARGET).expect_fetched(b"new");
    edge.get(TARGET).expect_hit(b"new");
}

#[test]
fn an_image_is_not_served_stale_after_a_change() {
    let control = "max-age=3600, stale-while-revalidate=3600, stale-if-error=3600";
    let origin = Origin::with(TARGET, Reply::of("old").header("cache-control", control));
    let edge = Setup::of(&origin)
        .route("ttl", "{stale_on_disconnect: 1h}")
        .start();
    edge.get(TARGET).expect_miss(b"old");
    origin.set(TARGET, Reply::of("done"));
    change(&edge, "DELETE", TARGET).expect(200, b"done");
    replace(&origin);
    edge.get(TARGET).expect_fetched(b"new");
}
