//! What is tried, where, and how often: pooled connections, repetitions, addresses, breaker, cap and probes.

use super::*;
use crate::base::metrics::{ConnectionKind, Metrics, OriginFailure, StatusClass};
use crate::base::units::Span;
use crate::upstream::scripted::{Scripted, asking, eventually, fetched, get, open, patient, whole};
use crate::upstream::{Bodiless, Origin, config};
use http::StatusCode;
use std::time::Duration;

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Answers a connection's first request and does `then` on its second; later connections answer for ever.
async fn stale_after_one(then: &'static str) -> Scripted {
    Scripted::start(move |mut visitor, number| async move {
        visitor.request().await;
        visitor.say(HELLO).await;
        while visitor.request().await.is_some() {
            if number == 0 {
                return visitor.say(then).await;
            }
            visitor.say(HELLO).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_request_is_repeated_when_a_pooled_connection_dies_unanswered() {
    let scripted = stale_after_one("").await;
    let origin = scripted.origin();
    for _ in 0..2 {
        assert_eq!(fetched(&origin).await.unwrap(), "hello");
    }
    assert_eq!((scripted.requests(), scripted.connections()), (3, 2));
}

#[tokio::test]
async fn a_request_is_not_repeated_where_it_may_have_had_an_effect() {
    for (method, then, retries) in [
        (Method::POST, "", 2),
        (Method::GET, "HTTP/1.1 2", 2),
        (Method::GET, "HTTP/1.1 103 Early Hints\r\n\r\n", 2),
        (Method::GET, "", 0),
    ] {
        let scripted = stale_after_one(then).await;
        let origin = open(&config::Config {
            retries,
            ..scripted.config()
        });
        assert_eq!(fetched(&origin).await.unwrap(), "hello");
        let error = origin.fetch(asking(method.clone(), "/")).await.err().unwrap();
        assert!(
            matches!(error, OriginError::Reset { .. }),
            "{method} {then:?}: {error}"
        );
        assert_eq!(
            (scripted.requests(), scripted.connections()),
            (2, 1),
            "{method} {then:?}"
        );
    }
}

#[tokio::test]
async fn repetitions_are_bounded() {
    let scripted = Scripted::start(|mut visitor, _| async move {
        visitor.request().await;
        visitor.say(HELLO).await;
        visitor.request().await;
    })
    .await;
    let origin = open(&config::Config {
        retries: 1,
        ..scripted.config()
    });
    let bodies = futures::future::join_all((0..4).map(|_| fetched(&origin))).await;
    assert!(bodies.iter().all(Result::is_ok));
    let before = scripted.requests();
    fetched(&origin).await.unwrap();
    assert_eq!(
        scripted.requests(),
        before + 2,
        "the other pooled connections are left behind"
    );
}

#[tokio::test]
async fn a_connection_that_dies_new_is_not_tried_again() {
    let scripted = Scripted::saying_once("").await;
    let error = fetched(&scripted.origin()).await.unwrap_err();
    assert!(matches!(error, OriginError::Reset { .. }), "{error}");
    assert_eq!(scripted.requests(), 1);
}

/// An address that refuses connections.
async fn nobody_there() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

fn among(addresses: &[(std::net::SocketAddr, u32)]) -> config::Config {
    let address = |(address, weight): &(std::net::SocketAddr, u32)| config::Address {
        address: address.to_string(),
        weight: *weight,
    };
    config::Config {
        addresses: addresses.iter().map(address).collect(),
        ..patient()
    }
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_over_for_another() {
    let scripted = Scripted::saying(HELLO).await;
    let refusing = nobody_there().await;
    let origin = open(&among(&[(refusing, 100), (scripted.address, 1)]));
    for _ in 0..3 {
        assert_eq!(fetched(&origin).await.unwrap(), "hello");
    }
    let alone = open(&among(&[(refusing, 1)]));
    let error = fetched(&alone).await.unwrap_err();
    assert!(matches!(error, OriginError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn addresses_share_requests_by_weight() {
    let (heavy, light) = (Scripted::saying(HELLO).await, Scripted::saying(HELLO).await);
    let origin = open(&among(&[(heavy.address, 3), (light.address, 1)]));
    for _ in 0..8 {
        fetched(&origin).await.unwrap();
    }
    assert_eq!((heavy.requests(), light.requests()), (6, 2));
}

#[tokio::test]
async fn a_name_with_several_addresses_is_reached_at_the_one_that_answers() {
    let scripted = Scripted::saying(HELLO).await;
    let sockets = [nobody_there().await, scripted.address];
    let mut origin = HttpOrigin::open("test", &scripted.config(), Metrics::new().of_origin("test")).unwrap();
    origin.addresses = vec![Address::found_at(&sockets)];
    for _ in 0..2 {
        assert!(origin.ask(&get("/"), Bodiless).await.is_ok());
    }
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let scripted = Scripted::saying(HELLO).await;
    let url = format!("http://localhost:{}", scripted.address.port());
    let origin = open(&config::Config {
        url: Some(url),
        ..patient()
    });
    assert_eq!(fetched(&origin).await.unwrap(), "hello");
}

#[tokio::test]
async fn the_breaker_opens_after_failures_and_a_trial_closes_it() {
    let open_for = Span::millis(200);
    let scripted = Scripted::start(|mut visitor, number| async move {
        visitor.request().await;
        visitor
            .say(if number < 2 { "garbage\r\n\r\n" } else { HELLO })
            .await;
    })
    .await;
    let breaker = config::Breaker {
        failures: 2,
        open_for,
    };
    let origin = open(&config::Config {
        breaker,
        ..scripted.config()
    });
    let before = clock::monotonic();
    for _ in 0..2 {
        assert!(matches!(
            fetched(&origin).await.unwrap_err(),
            OriginError::Malformed { .. }
        ));
    }
    while let Err(error) = fetched(&origin).await {
        assert!(matches!(error, OriginError::BreakerOpen), "{error}");
        assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(before.elapsed() >= open_for.get(), "it closed too early");
    assert_eq!(scripted.requests(), 3, "while open nothing is asked");
}

#[tokio::test]
async fn bodies_that_are_always_cut_open_the_breaker() {
    let scripted = Scripted::saying_once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let breaker = config::Breaker {
        failures: 2,
        open_for: Span::secs(60),
    };
    let origin = open(&config::Config {
        breaker,
        ..scripted.config()
    });
    for _ in 0..2 {
        assert!(matches!(
            fetched(&origin).await.unwrap_err(),
            OriginError::Truncated { .. }
        ));
    }
    assert!(matches!(
        fetched(&origin).await.unwrap_err(),
        OriginError::BreakerOpen
    ));
}

#[tokio::test]
async fn whole_responses_between_failures_keep_the_breaker_closed() {
    let scripted = Scripted::start(|mut visitor, number| async move {
        visitor.request().await;
        visitor
            .say(if number % 2 == 0 { "garbage\r\n\r\n" } else { HELLO })
            .await;
    })
    .await;
    let breaker = config::Breaker {
        failures: 2,
        open_for: Span::secs(60),
    };
    let config = config::Config {
        breaker,
        idle_connections_max: 0,
        ..scripted.config()
    };
    let origin = open(&config);
    for _ in 0..3 {
        assert!(matches!(
            fetched(&origin).await.unwrap_err(),
            OriginError::Malformed { .. }
        ));
        assert_eq!(fetched(&origin).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn no_more_exchanges_than_allowed_are_under_way() {
    let scripted = Scripted::saying(HELLO).await;
    let origin = open(&config::Config {
        concurrency_max: 1,
        ..scripted.config()
    });
    let held = origin.fetch(get("/")).await.unwrap();
    assert!(matches!(
        fetched(&origin).await.unwrap_err(),
        OriginError::Saturated
    ));
    drop(held);
    let mut read = origin.fetch(get("/")).await.unwrap().body;
    while read.next().await.unwrap().is_some() {}
    assert_eq!(
        fetched(&origin).await.unwrap(),
        "hello",
        "an ended body holds nothing"
    );
}

#[tokio::test]
async fn a_dropped_body_closes_its_connection() {
    let (closed, mut is_closed) = tokio::sync::mpsc::channel(1);
    let scripted = Scripted::start(move |mut visitor, _| {
        let closed = closed.clone();
        async move {
            visitor.request().await;
            visitor
                .say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                .await;
            visitor.wait_for_close().await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    drop(scripted.origin().fetch(get("/")).await.unwrap());
    let heard = tokio::time::timeout(Duration::from_secs(10), is_closed.recv()).await;
    assert_eq!(heard.unwrap(), Some(()));
}

#[tokio::test]
async fn probes_take_an_address_out_and_bring_it_back() {
    let health = |answer: &'static str, probes: &'static str| {
        Scripted::start(move |mut visitor, number| async move {
            while let Some(request) = visitor.request().await {
                let ill = request.starts_with("GET /health") && number < 3;
                visitor.say(if ill { probes } else { answer }).await;
            }
        })
    };
    let ill = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
    let (flaky, sound) = (health(HELLO, ill).await, health(HELLO, HELLO).await);
    let mut config = among(&[(flaky.address, 1), (sound.address, 1)]);
    config.health = config::Health {
        path: Some("/health".into()),
        interval: Span::millis(10),
        failures: 1,
        passes: 1,
    };
    let origin = HttpOrigin::open("test", &config, Metrics::new().of_origin("test")).unwrap();
    let wellness = || origin.balancer.wellness();
    let watch = async {
        eventually("the address is taken out", || wellness() == [false, true]).await;
        eventually("the address is brought back", || wellness() == [true, true]).await;
    };
    tokio::select! {
        () = origin.run_health() => panic!("probing never ends"),
        () = watch => {}
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let all = Metrics::new();
    let metrics = all.of_origin("test");
    let counted = |config: &config::Config| Origin::open("test", config, &all).unwrap();
    let good = Scripted::saying(HELLO).await;
    fetched(&counted(&good.config())).await.unwrap();
    let cut = Scripted::saying_once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhe").await;
    fetched(&counted(&cut.config())).await.unwrap_err();
    let stale = stale_after_one("").await;
    let origin = counted(&stale.config());
    for _ in 0..2 {
        fetched(&origin).await.unwrap();
    }
    assert_eq!(metrics.requests.get(), 5, "repetitions count as requests");
    assert_eq!(metrics.body_bytes.get(), 5 + 2 + 5 + 5);
    assert_eq!(metrics.failures[OriginFailure::Truncated].get(), 1);
    assert_eq!(metrics.responses[StatusClass::Success].get(), 4);
    assert_eq!(metrics.first_byte.get_sample_count(), 4);
    assert_eq!(metrics.duration.get_sample_count(), 3, "one was cut");
    assert_eq!(metrics.connections[ConnectionKind::New].get(), 4);
    assert_eq!(metrics.connections[ConnectionKind::Reused].get(), 1);
    assert_eq!(metrics.requests_in_flight.get(), 0);
    let asked = i64::try_from(config::Config::default().concurrency_max).unwrap();
    let unused = config::Config {
        concurrency_max: 7,
        ..good.config()
    };
    drop(counted(&unused));
    all.samples();
    assert_eq!(metrics.requests_max.get(), asked);
}

#[tokio::test]
async fn a_fetch_can_run_as_a_task_of_its_own() {
    let scripted = Scripted::saying(HELLO).await;
    let origin = scripted.origin();
    let task = tokio::spawn(async move { whole(origin.fetch(get("/")).await?).await });
    assert_eq!(task.await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn no_idle_connection_is_kept_where_none_is_allowed() {
    let scripted = Scripted::saying(HELLO).await;
    let origin = open(&config::Config {
        idle_connections_max: 0,
        ..scripted.config()
    });
    for _ in 0..2 {
        assert_eq!(fetched(&origin).await.unwrap(), "hello");
    }
    assert_eq!(scripted.connections(), 2);
}
