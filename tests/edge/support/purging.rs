//! Orders of purges, as an origin's back end gives them.

use super::{Answer, Client, Edge, Setup, get_with};
use serde_json::Value;

/// A key that may purge everything.
pub(crate) const KEY: &str = "aqk_of_the_tests";

/// What came of an order.
#[derive(Debug)]
pub(crate) struct Receipt(pub(crate) Value);

impl Setup {
    /// Takes orders with [`KEY`].
    pub(crate) fn with_key(self) -> Setup {
        let hash = blake3::hash(KEY.as_bytes()).to_hex();
        let keys = format!("{{tests: {{hash: 'blake3:{hash}', scopes: ['purge:all']}}}}");
        self.purge("keys", keys)
    }
}

impl Edge {
    /// Whatever comes of it. `order` is JSON.
    #[track_caller]
    pub(crate) fn order(&self, order: &str) -> Answer {
        let mut client = Client::connect(self.admin_address());
        let length = order.len();
        client.send(format!(
            "POST /api/v1/purge HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{order}"
        ));
        client.answer()
    }

    /// Returns when the guarantee holds.
    #[track_caller]
    pub(crate) fn purge(&self, order: &str) -> Receipt {
        let answer = self.order(order);
        assert_eq!(answer.status, 200, "{order}: {answer:?}");
        let receipt = Receipt::of(&answer);
        assert_eq!(receipt.0["state"], "applied", "{receipt:?}");
        receipt
    }

    #[track_caller]
    pub(crate) fn receipt(&self, id: &str) -> Answer {
        let bearer = format!("Bearer {KEY}");
        let target = format!("/api/v1/purges/{id}");
        get_with(self.admin_address(), &target, &[("Authorization", &bearer)])
    }
}

impl Receipt {
    #[track_caller]
    pub(crate) fn of(answer: &Answer) -> Receipt {
        Receipt(serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}")))
    }

    pub(crate) fn id(&self) -> &str {
        self.0["purge_id"].as_str().unwrap()
    }

    pub(crate) fn index(&self) -> u64 {
        self.0["index"].as_u64().unwrap()
    }
}
