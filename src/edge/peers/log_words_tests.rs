//! What is said between nodes about the log arrives with its meaning, or is refused.

use super::*;

fn receipt() -> Receipt {
    Receipt {
        purge_id: PurgeId::unused(),
        index: Some(PurgeIndex::from_number(7)),
        committed_at: Some(Timestamp::from_secs(8)),
        nodes: vec![Applied {
            id: "a".to_owned(),
            applied_at: Some(Timestamp::from_secs(9)),
            lag_ms: Some(0),
        }],
        fenced: vec!["b".to_owned()],
        state: State::Applied,
        duplicate: true,
    }
}

fn order(minimum: Option<Minimum>) -> Order {
    Order {
        scopes: vec![
            Scope::url("h", "/a"),
            Scope::exact("h", "/a?b"),
            Scope::prefix("h", "/"),
            Scope::tag("t"),
            Scope::host("h"),
            Scope::All,
        ],
        mode: Mode::Soft,
        minimum,
        once: Some(OnceKey {
            name: "shop/7".to_owned(),
            request: [7; 16],
            sent_at_s: 70,
        }),
        way: PurgeWay::Method,
        by: "shop".to_owned(),
    }
}

#[test]
fn an_order_arrives_as_it_was_given() {
    let minimums = [
        None,
        Some(Minimum::EntityTag("\"7\"".to_owned())),
        Some(Minimum::Version {
            header: "x-version".to_owned(),
            at_least: 7,
        }),
    ];
    for minimum in minimums {
        let given = order(minimum);
        let arrived = Order::try_from(wire::SubmitRequest::from(given.clone())).unwrap();
        assert_eq!(format!("{arrived:?}"), format!("{given:?}"));
    }
}

#[test]
fn an_order_ends_for_who_passed_it_on_as_it_ended() {
    let log = |error| Err(OrderError::Log(Arc::new(error)));
    let ends = [
        Ok(receipt()),
        Err(OrderError::Busy),
        Err(OrderError::Stopping),
        Err(OrderError::Lost),
        Err(OrderError::TooManyRemembered),
        Err(OrderError::Conflict(PurgeId::unused())),
        Err(OrderError::Replayed(Box::new(receipt()))),
        log(LogError::Full),
        log(LogError::Closed),
        log(LogError::Write("the disk is gone".to_owned())),
    ];
    for given in ends {
        let expected = format!("{given:?}");
        assert_eq!(format!("{:?}", end(answer(given)).unwrap()), expected);
    }
}

#[test]
fn what_is_fetched_arrives_as_it_was_sent() {
    let entries = News::Entries {
        entries: vec![FedEntry {
            index: PurgeIndex::from_number(5),
            batch: Bytes::from_static(b"batch"),
        }],
        grant: Some(Grant {
            lease: Duration::from_secs(5),
            barrier: PurgeIndex::from_number(5),
        }),
    };
    for news in [News::OtherLog, News::SnapshotNeeded, News::WentBack, entries] {
        let fetched = Fetched {
            incarnation: Incarnation::from_bytes([3; 16]),
            last: PurgeIndex::from_number(9),
            news,
        };
        let arrived = Fetched::try_from(wire::FetchResponse::from(fetched.clone()));
        assert_eq!(arrived.unwrap(), fetched);
    }
}

#[test]
fn what_is_malformed_is_refused() {
    let fetch = wire::FetchRequest {
        node: "a".to_owned(),
        process: copied(&[1; 16]),
        ..Default::default()
    };
    assert!(Fetch::try_from(fetch.clone()).is_ok());
    let spoilt = |spoil: fn(&mut wire::FetchRequest)| {
        let mut spoilt = fetch.clone();
        spoil(&mut spoilt);
        Fetch::try_from(spoilt)
    };
    assert!(spoilt(|fetch| fetch.node.clear()).is_err());
    assert!(spoilt(|fetch| fetch.node = "a".repeat(256)).is_err());
    assert!(spoilt(|fetch| fetch.process = copied(&[1; 15])).is_err());
    assert!(spoilt(|fetch| fetch.incarnation = copied(&[1; 17])).is_err());
    let order = wire::SubmitRequest {
        way: 9,
        ..Default::default()
    };
    assert_eq!(Order::try_from(order).unwrap_err(), Malformed("way"));
    assert_eq!(end(Default::default()).unwrap_err(), Malformed("receipt"));
    let fetched = wire::FetchResponse {
        news: 9,
        ..Default::default()
    };
    assert!(Fetched::try_from(fetched).is_err());
}
