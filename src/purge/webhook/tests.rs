//! Which attempts are believed.

use super::super::config::{Permission, Webhook};
use super::*;
use http::HeaderValue;

const NOW_S: u64 = 1_800_000_000;
const BODY: &[u8] = br#"{"type":"purge","data":{"tags":["a"]}}"#;

/// One secret of the shop, two of the blog.
struct World {
    webhooks: Webhooks,
    shop: Secret,
    blog: [Secret; 2],
}

fn world() -> World {
    let secret = || unused_secret().unwrap();
    let (shop, blog) = (secret(), [secret(), secret()]);
    let mut config = Config::default();
    for (name, secrets) in [("shop", vec![shop.clone()]), ("blog", blog.to_vec())] {
        let scopes = vec![Permission::Tag];
        config.webhooks.insert(name.into(), Webhook { secrets, scopes });
    }
    let webhooks = Webhooks::new(&config);
    World { webhooks, shop, blog }
}

fn headers(id: &str, sent_at: &str, signature: &str) -> HeaderMap {
    let value = |text| HeaderValue::from_str(text).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_WEBHOOK_ID, value(id));
    headers.insert(HEADER_WEBHOOK_TIMESTAMP, value(sent_at));
    headers.insert(HEADER_WEBHOOK_SIGNATURE, value(signature));
    headers
}

impl World {
    fn sender(&self, headers: &HeaderMap, body: &[u8]) -> Result<&str, WebhookError> {
        let attempt = self.webhooks.attempt(headers, Timestamp::from_secs(NOW_S))?;
        self.webhooks.verify(&attempt, body).map(|caller| caller.name())
    }
}

#[test]
fn who_signed_is_told_by_any_of_its_secrets() {
    let world = world();
    let [old, new] = &world.blog;
    for (secret, name) in [(&world.shop, "shop"), (old, "blog"), (new, "blog")] {
        let signature = sign(secret, "msg_1", NOW_S, BODY);
        let headers = headers("msg_1", &NOW_S.to_string(), &signature);
        assert_eq!(world.sender(&headers, BODY), Ok(name));
    }
}

#[test]
fn one_good_signature_among_others_is_enough() {
    let world = world();
    let good = sign(&world.shop, "msg_1", NOW_S, BODY);
    let several = format!("v1a,abc v1,AAAA {good} v2,x");
    let headers = headers("msg_1", &NOW_S.to_string(), &several);
    assert_eq!(world.sender(&headers, BODY), Ok("shop"));
}

#[test]
fn whatever_is_changed_breaks_the_signature() {
    let world = world();
    let good = sign(&world.shop, "msg_1", NOW_S, BODY);
    let now = NOW_S.to_string();
    let later = (NOW_S + 1).to_string();
    let stranger = sign(&unused_secret().unwrap(), "msg_1", NOW_S, BODY);
    for (headers, body) in [
        (headers("msg_2", &now, &good), BODY),
        (headers("msg_1", &later, &good), BODY),
        (headers("msg_1", &now, &good), b"{}".as_slice()),
        (headers("msg_1", &now, &good), b"\xff".as_slice()),
        (headers("msg_1", &now, &good[..good.len() - 1]), BODY),
        (headers("msg_1", &now, "v1,"), BODY),
        (headers("msg_1", &now, &stranger), BODY),
    ] {
        assert_eq!(
            world.sender(&headers, body),
            Err(WebhookError::Signature),
            "{headers:?}"
        );
    }
}

#[test]
fn an_attempt_is_good_for_as_long_as_is_tolerated_either_way() {
    let world = world();
    let attempt = |sent_at_s: u64| {
        let signature = sign(&world.shop, "msg_1", sent_at_s, BODY);
        let headers = headers("msg_1", &sent_at_s.to_string(), &signature);
        world.sender(&headers, BODY)
    };
    assert_eq!(attempt(NOW_S - 300), Ok("shop"));
    assert_eq!(attempt(NOW_S + 300), Ok("shop"));
    let id = || "msg_1".to_owned();
    assert_eq!(
        attempt(NOW_S - 301),
        Err(WebhookError::Expired { id: id(), by_s: 301 })
    );
    assert_eq!(
        attempt(NOW_S + 301),
        Err(WebhookError::Ahead { id: id(), by_s: 301 })
    );
}

#[test]
fn headers_that_can_mean_two_things_are_refused() {
    let world = world();
    let now = NOW_S.to_string();
    let long = "a".repeat(256);
    for (id, sent_at, signature, named) in [
        ("a.1", now.as_str(), "v1,x", HEADER_WEBHOOK_ID),
        ("", &now, "v1,x", HEADER_WEBHOOK_ID),
        ("a\tb", &now, "v1,x", HEADER_WEBHOOK_ID),
        ("a b", &now, "v1,x", HEADER_WEBHOOK_ID),
        (&long, &now, "v1,x", HEADER_WEBHOOK_ID),
        ("a", "0180000000", "v1,x", HEADER_WEBHOOK_TIMESTAMP),
        ("a", "+1800000000", "v1,x", HEADER_WEBHOOK_TIMESTAMP),
        ("a", "-1", "v1,x", HEADER_WEBHOOK_TIMESTAMP),
        ("a", "99999999999999999999", "v1,x", HEADER_WEBHOOK_TIMESTAMP),
        ("a", "now", "v1,x", HEADER_WEBHOOK_TIMESTAMP),
        ("a", &now, "x", HEADER_WEBHOOK_SIGNATURE),
        ("a", &now, &"v1,x ".repeat(17), HEADER_WEBHOOK_SIGNATURE),
    ] {
        match world.sender(&headers(id, sent_at, signature), BODY) {
            Err(WebhookError::Malformed { name, .. }) => assert_eq!(name, named, "{id} {sent_at}"),
            other => panic!("{id} {sent_at} {signature}: {other:?}"),
        }
    }
    let mut twice = headers("a", &now, "v1,x");
    twice.append(HEADER_WEBHOOK_ID, HeaderValue::from_static("b"));
    assert!(matches!(
        world.sender(&twice, BODY),
        Err(WebhookError::Malformed { .. })
    ));
    for name in [
        HEADER_WEBHOOK_ID,
        HEADER_WEBHOOK_TIMESTAMP,
        HEADER_WEBHOOK_SIGNATURE,
    ] {
        let mut without = headers("a", &now, "v1,x");
        without.remove(name);
        assert_eq!(world.sender(&without, BODY), Err(WebhookError::Missing(name)));
    }
}

#[test]
fn without_a_webhook_nothing_is_looked_at() {
    let webhooks = Webhooks::new(&Config::default());
    let attempt = webhooks.attempt(&HeaderMap::new(), Timestamp::ZERO);
    assert_eq!(attempt, Err(WebhookError::NotConfigured));
}

#[test]
fn a_secret_is_base64_of_neither_too_few_nor_too_many_bytes() {
    let sound = |text: &str| is_sound(&Secret::new(text.into()));
    assert!(is_sound(&unused_secret().unwrap()));
    assert!(sound("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"));
    for wrong in [
        "C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned(),
        "whsec_".to_owned(),
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspo".to_owned(),
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7o!".to_owned(),
        format!("whsec_{}", "AAAA".repeat(22)),
    ] {
        assert!(!sound(&wrong), "{wrong}");
    }
}
