//! The orders, what is told of them, and what must be recorded in the end.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

use crate::signed;

/// An order of the shop.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) order_ref: String,
    pub(crate) buyer: String,
    pub(crate) model: String,
    pub(crate) is_refunded: bool,
    /// Whether Stripe tells of it, or the shop itself.
    pub(crate) by_stripe: bool,
}

/// One event that is delivered until it is acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// The index of its order.
    pub(crate) order: usize,
    pub(crate) is_refund: bool,
}

/// Everything that is told.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) orders: Vec<Order>,
    pub(crate) deliveries: Vec<Delivery>,
}

impl Plan {
    /// So many orders of these models. Every event comes one to three times, anywhere in the
    /// order of things; some come again at the same moment.
    pub(crate) fn draw(orders: usize, models: &[String], dice: &mut StdRng) -> Self {
        let orders: Vec<Order> = (0..orders)
            .map(|number| Order {
                order_ref: format!("order-{number}"),
                buyer: format!("buyer-{}", number % 97),
                model: models[number % models.len()].clone(),
                is_refunded: number.is_multiple_of(3),
                by_stripe: dice.random_bool(0.5),
            })
            .collect();
        let mut mixed = Vec::new();
        for (order, facts) in orders.iter().enumerate() {
            for is_refund in [false, true] {
                if is_refund && !facts.is_refunded {
                    continue;
                }
                let times = dice.random_range(1..=3);
                mixed.extend(std::iter::repeat_n(Delivery { order, is_refund }, times));
            }
        }
        mixed.shuffle(dice);
        let mut deliveries = Vec::new();
        for delivery in mixed {
            deliveries.push(delivery);
            if dice.random_bool(0.1) {
                deliveries.push(delivery);
            }
        }
        Self { orders, deliveries }
    }

    /// How many orders are refunded.
    pub(crate) fn refunded(&self) -> usize {
        self.orders.iter().filter(|order| order.is_refunded).count()
    }

    /// Compares with what is recorded: the status of each order in `purchases`.
    pub(crate) fn check(&self, purchases: &[Value]) {
        let mut recorded: BTreeMap<&str, &Value> = BTreeMap::new();
        for purchase in purchases {
            let order_ref = purchase["order_ref"].as_str().unwrap();
            let before = recorded.insert(order_ref, purchase);
            assert!(before.is_none(), "two purchases of {order_ref}");
        }
        assert_eq!(recorded.len(), self.orders.len());
        for order in &self.orders {
            let purchase = recorded[order.order_ref.as_str()];
            let status = if order.is_refunded {
                "refunded"
            } else {
                "active"
            };
            assert_eq!(purchase["status"], status, "{order:?}: {purchase}");
            assert_eq!(purchase["buyer"], order.buyer.as_str());
            assert_eq!(purchase["model"], order.model.as_str());
        }
    }
}

impl Order {
    /// The body of an event about this order.
    pub(crate) fn event(&self, is_refund: bool) -> Value {
        match (self.by_stripe, is_refund) {
            (false, true) => signed::refunded(&self.order_ref),
            (true, true) => signed::charge_refunded(&self.order_ref),
            (false, false) => {
                let mut event = signed::created(&self.order_ref, &self.model);
                event["data"]["buyer"] = json!(self.buyer);
                event
            }
            (true, false) => {
                let mut event = signed::session(&self.order_ref, &self.model);
                event["data"]["object"]["metadata"]["buyer"] = json!(self.buyer);
                event
            }
        }
    }
}
