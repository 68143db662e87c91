//! What an event says, in one form for both dialects.

use stockroom_catalog::NewPurchase;
use stockroom_domain::{Subject, Timestamp};

use crate::json_fault;

/// The longest reason of a refund that is kept, in characters.
const MAX_REASON: usize = 500;

/// An event about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEvent {
    /// It was paid.
    Purchased(NewOrder),
    /// It was given back, or its payment was disputed.
    Refunded {
        /// The order, by the shop's own name.
        order_ref: String,
        /// Why, for people.
        reason: Option<String>,
    },
    /// It has no effect here. The sentence says why.
    Ignored(&'static str),
}

/// An order that was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// The shop's own name of the order.
    pub order_ref: String,
    /// Who bought.
    pub buyer: Subject,
    /// What was bought, as the event says it: perhaps not the id of a model.
    pub model: String,
    /// When it ends; never when left out.
    pub expires_at: Option<Timestamp>,
    /// How many downloads it allows; any number when left out.
    pub download_limit: Option<u64>,
}

/// Why a body is no event. What it says is meant for whoever signed it.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is not the JSON that it should be.
    #[error("{}", json_fault::describe(.0))]
    Json(#[from] serde_json::Error),
    /// One of its fields has a value that does not fit.
    #[error("{field} {wrong}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong: the end of a sentence, without a full stop.
        wrong: &'static str,
    },
}

impl OrderEvent {
    /// The order that it is about, by the shop's own name.
    #[must_use]
    pub fn order_ref(&self) -> Option<&str> {
        match self {
            Self::Purchased(NewOrder { order_ref, .. }) | Self::Refunded { order_ref, .. } => {
                Some(order_ref)
            }
            Self::Ignored(_) => None,
        }
    }

    /// A refund. The money is gone, whatever stands in the reason: it is made fit to be kept, and
    /// is never a cause to refuse the event.
    pub(super) fn refunded(order_ref: String, reason: Option<&str>) -> Self {
        let reason = reason.map(|text| {
            let is_kept = |c: &char| !c.is_control();
            text.chars().filter(is_kept).take(MAX_REASON).collect()
        });
        Self::Refunded { order_ref, reason }
    }
}

/// The name of an order, as [`NewPurchase`] takes it and on one line.
pub(super) fn order_ref(text: String) -> Result<String, BodyError> {
    const FIELD: &str = "order_ref";
    let fits = text.len() <= NewPurchase::MAX_ORDER_REF_BYTES
        && !text.trim().is_empty()
        && !text.chars().any(char::is_control);
    if fits {
        Ok(text)
    } else {
        Err(BodyError::Field {
            field: FIELD,
            wrong: "must be one line of 1 to 255 bytes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_made_fit_to_be_kept() {
        let long = format!("fraud\0\n{}", "\u{e9}".repeat(600));
        let OrderEvent::Refunded { reason, .. } = OrderEvent::refunded("A".to_owned(), Some(&long))
        else {
            panic!("a refund");
        };
        let reason = reason.unwrap();
        assert!(reason.starts_with("fraud\u{e9}"));
        assert_eq!(reason.chars().count(), MAX_REASON);
    }

    #[test]
    fn the_name_of_an_order_is_one_line_of_bounded_length() {
        for (text, fits) in [
            ("A-1".to_owned(), true),
            ("x".repeat(255), true),
            ("x".repeat(256), false),
            ("\u{e9}".repeat(128), false),
            ("  ".to_owned(), false),
            ("a\0".to_owned(), false),
            ("a\r\nb".to_owned(), false),
        ] {
            assert_eq!(order_ref(text.clone()).is_ok(), fits, "{text:?}");
        }
    }
}
