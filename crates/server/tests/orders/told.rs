//! A program that the server tells of purchases: whatever was recorded is told, at least once, as one
//! and the same event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::plan::Plan;
use crate::receiver::{Receiver, Reply};

/// Longer than the lease of what a killed server had taken.
const PATIENCE: Duration = Duration::from_secs(90);

/// The ids of the events that came, by kind and order.
type Told = BTreeMap<(String, String), BTreeSet<String>>;

/// Begins to listen. Some events are not taken the first time.
pub(crate) async fn listen() -> Receiver {
    let receiver = Receiver::start().await;
    receiver.reply([204, 503, 204, 500, 204, 429].map(Reply::Status));
    receiver
}

/// Waits until everything that was recorded was told, and checks that nothing else was. How many
/// messages it took, and how many events there were.
pub(crate) async fn check(receiver: &Receiver, secret: &str, plan: &Plan) -> (usize, usize) {
    let expected: BTreeSet<(String, String)> = plan
        .orders
        .iter()
        .flat_map(|order| {
            let kinds = ["purchase.created", "purchase.refunded"];
            let kinds = kinds.into_iter().take(1 + usize::from(order.is_refunded));
            kinds.map(|kind| (kind.to_owned(), order.order_ref.clone()))
        })
        .collect();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let told = told(receiver, secret);
        for (what, ids) in &told {
            assert!(expected.contains(what), "{what:?} never happened");
            assert_eq!(ids.len(), 1, "{what:?} is several events");
        }
        if told.len() == expected.len() {
            return (receiver.received().len(), told.len());
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{} of {} events were told",
            told.len(),
            expected.len()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn told(receiver: &Receiver, secret: &str) -> Told {
    let mut told = Told::new();
    for message in receiver.received() {
        assert!(message.is_signed_with(secret), "{message:?}");
        let order_ref = message.json()["data"]["order_ref"].clone();
        let what = (message.kind(), order_ref.as_str().unwrap().to_owned());
        let id = message.header("webhook-id").to_owned();
        told.entry(what).or_default().insert(id);
    }
    told
}
