//! The senders: sixteen at a time, each event again until it is acknowledged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use stockroom_domain::{Clock as _, SystemClock};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::plan::{Delivery, Plan};
use crate::signed::{self, SECRET, STRIPE_SECRET};

/// How many deliveries are on their way at the same time.
const SENDERS: usize = 16;
/// How long a sender waits before it goes on after a delivery that was not acknowledged.
const PAUSE: Duration = Duration::from_millis(5);

/// What was answered.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Deliveries that were answered with 200.
    pub(crate) acknowledged: usize,
    /// Attempts that the server was killed in the middle of.
    pub(crate) lost: usize,
    /// Attempts while there was no server.
    pub(crate) away: usize,
    /// Attempts that the server could not take at that moment.
    pub(crate) refused: usize,
    /// Refunds that were acknowledged when there was no purchase yet.
    pub(crate) refunds_first: usize,
    /// For each order how often its purchase was said to be new.
    pub(crate) recorded: Vec<usize>,
}

/// Deliveries under way.
pub(crate) struct Delivering {
    state: Arc<State>,
    senders: JoinSet<()>,
}

struct State {
    plan: Plan,
    address: watch::Receiver<String>,
    waiting: Mutex<VecDeque<Delivery>>,
    acknowledged: AtomicUsize,
    tally: Mutex<Tally>,
    client: reqwest::Client,
}

impl Delivering {
    /// Begins to deliver to the server, whose address may change.
    pub(crate) fn start(plan: Plan, address: watch::Receiver<String>) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        let state = Arc::new(State {
            waiting: Mutex::new(plan.deliveries.iter().copied().collect()),
            tally: Mutex::new(Tally {
                recorded: vec![0; plan.orders.len()],
                ..Tally::default()
            }),
            plan,
            address,
            acknowledged: AtomicUsize::new(0),
            client,
        });
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let state = Arc::clone(&state);
            senders.spawn(async move { state.send_all().await });
        }
        Self { state, senders }
    }

    /// Waits until so many deliveries were acknowledged.
    pub(crate) async fn until_acknowledged(&mut self, count: usize) {
        while self.state.acknowledged.load(Ordering::SeqCst) < count {
            // A sender that has failed leaves its delivery behind, and the others wait for it.
            while let Some(ended) = self.senders.try_join_next() {
                ended.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until everything was acknowledged.
    pub(crate) async fn finish(mut self) -> Tally {
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
        let mut tally = self.state.tally.lock().unwrap();
        std::mem::take(&mut tally)
    }
}

impl State {
    async fn send_all(&self) {
        while self.acknowledged.load(Ordering::SeqCst) < self.plan.deliveries.len() {
            let next = self.waiting.lock().unwrap().pop_front();
            let is_done = match next {
                Some(delivery) => self.send(delivery).await,
                // Another sender has the last ones, and may bring them back.
                None => false,
            };
            if !is_done {
                self.waiting.lock().unwrap().extend(next);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Makes one attempt; whether it was acknowledged.
    async fn send(&self, delivery: Delivery) -> bool {
        let order = &self.plan.orders[delivery.order];
        let body = order.event(delivery.is_refund).to_string().into_bytes();
        let now = SystemClock.now().unix_seconds();
        let url = format!("{}/v1/webhooks/purchases", *self.address.borrow());
        let request = self.client.post(url);
        let request = if order.by_stripe {
            let headers = signed::stripe(STRIPE_SECRET, now, &body);
            signed::with(request, headers, body)
        } else {
            // An event keeps its id over all attempts to deliver it.
            let id = format!("msg_{}_{}", order.order_ref, delivery.is_refund);
            let headers = signed::standard(SECRET, &id, now, &body);
            signed::with(request, headers, body)
        };
        let answer = match request.send().await {
            Ok(response) => (response.status(), response.bytes().await),
            Err(error) => {
                let mut tally = self.tally.lock().unwrap();
                match error.is_connect() {
                    true => tally.away += 1,
                    false => tally.lost += 1,
                }
                return false;
            }
        };
        let mut tally = self.tally.lock().unwrap();
        match answer {
            // The status alone acknowledges; the body may be cut off with the server.
            (StatusCode::OK, body) => {
                tally.acknowledged += 1;
                if let Ok(body) = body {
                    tally.note(delivery, &serde_json::from_slice(&body).unwrap());
                }
                self.acknowledged.fetch_add(1, Ordering::SeqCst);
                true
            }
            (status, _) if status.is_server_error() => {
                tally.refused += 1;
                false
            }
            (status, body) => panic!("{delivery:?} of {order:?}: {status}: {body:?}"),
        }
    }
}

impl Tally {
    fn note(&mut self, delivery: Delivery, answer: &Value) {
        match answer["outcome"].as_str().unwrap() {
            "recorded" => self.recorded[delivery.order] += 1,
            "refunded" if answer["purchase"].is_null() => self.refunds_first += 1,
            "refunded" | "unchanged" => {}
            other => panic!("{delivery:?} was {other}"),
        }
    }
}
