//! The events of a shop, in the bodies of messages after the Standard Webhooks specification.

use serde::Deserialize;
use stockroom_domain::{Subject, Timestamp};

use super::event::{BodyError, NewOrder, OrderEvent, order_ref};

/// What all events have in common.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Created {
    order_ref: String,
    buyer: Subject,
    model: String,
    expires_at: Option<Timestamp>,
    download_limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refunded {
    order_ref: String,
    reason: Option<String>,
}

/// Reads the event in a body: `purchase.created` and `purchase.refunded`; all other types are to be
/// ignored. Around `data` an event may carry what it likes; within, a field that is not known is
/// refused, because a misspelt limit would be none.
///
/// # Errors
/// When the body is no such event.
pub fn parse(body: &[u8]) -> Result<OrderEvent, BodyError> {
    let Kind { kind } = serde_json::from_slice(body)?;
    match kind.as_str() {
        "purchase.created" => {
            let Envelope::<Created> { data } = serde_json::from_slice(body)?;
            Ok(OrderEvent::Purchased(NewOrder {
                order_ref: order_ref(data.order_ref)?,
                buyer: data.buyer,
                model: data.model,
                expires_at: data.expires_at,
                download_limit: data.download_limit,
            }))
        }
        "purchase.refunded" => {
            let Envelope::<Refunded> { data } = serde_json::from_slice(body)?;
            Ok(OrderEvent::refunded(
                order_ref(data.order_ref)?,
                data.reason.as_deref(),
            ))
        }
        _ => Ok(OrderEvent::Ignored(
            "Only purchase.created and purchase.refunded have an effect here.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_events_are_read_and_others_ignored() {
        let created = parse(
            br#"{"type": "purchase.created", "timestamp": "2026-11-23T09:30:00Z", "id": "evt_1",
                "data": {"order_ref": "A-1", "buyer": "ben", "model": "mdl_1",
                    "expires_at": "2027-01-01T00:00:00Z", "download_limit": 5}}"#,
        );
        assert_eq!(
            created.unwrap(),
            OrderEvent::Purchased(NewOrder {
                order_ref: "A-1".to_owned(),
                buyer: "ben".parse().unwrap(),
                model: "mdl_1".to_owned(),
                expires_at: Some("2027-01-01T00:00:00Z".parse().unwrap()),
                download_limit: Some(5),
            })
        );
        let refunded =
            parse(br#"{"type": "purchase.refunded", "data": {"order_ref": "A-1", "reason": "x"}}"#);
        assert_eq!(
            refunded.unwrap(),
            OrderEvent::Refunded {
                order_ref: "A-1".to_owned(),
                reason: Some("x".to_owned()),
            }
        );
        for other in [
            &br#"{"type": "user.created"}"#[..],
            br#"{"type": "", "data": 1}"#,
        ] {
            assert!(matches!(parse(other).unwrap(), OrderEvent::Ignored(_)));
        }
    }

    #[test]
    fn bodies_that_do_not_fit_are_refused() {
        for body in [
            &b""[..],
            b"null",
            b"\xff",
            br#"{"data": {}}"#,
            br#"{"type": 1}"#,
            br#"{"type": "purchase.created"}"#,
            br#"{"type": "purchase.created", "data": {"order_ref": "A", "buyer": "b"}}"#,
            br#"{"type": "purchase.created", "data": {"order_ref": "", "buyer": "b", "model": "m"}}"#,
            br#"{"type": "purchase.created", "data": {"order_ref": "A\n", "buyer": "b", "model": "m"}}"#,
            br#"{"type": "purchase.created", "data": {"order_ref": "A", "buyer": "b c", "model": "m"}}"#,
            br#"{"type": "purchase.created", "data": {"order_ref": "A", "buyer": "b", "model": "m", "limit": 1}}"#,
            br#"{"type": "purchase.created", "data": {"order_ref": "A", "buyer": "b", "model": "m", "download_limit": -1}}"#,
            br#"{"type": "purchase.created", "data": {"order_ref": "A", "buyer": "b", "model": "m", "expires_at": "soon"}}"#,
            br#"{"type": "purchase.refunded", "data": {}}"#,
            br#"{"type": "purchase.refunded", "data": {"order_ref": 5}}"#,
            br#"{"type": "purchase.refunded", "type": "x", "data": {"order_ref": "A"}}"#,
        ] {
            assert!(parse(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
