//! The dialect of Stripe: Checkout sessions that were paid, charges that were refunded or disputed.
//! Source: <https://docs.stripe.com/webhooks#verify-manually> and
//! <https://docs.stripe.com/api/events/types>.

use serde::Deserialize;
use stockroom_domain::Timestamp;
use subtle::ConstantTimeEq as _;

use super::event::{BodyError, NewOrder, OrderEvent, order_ref};
use crate::flows::signatures::mac::MacKey;
use crate::flows::signatures::{SignatureError, VerifiedEvent, in_time, unix_seconds};

/// The header with the moment of signing and the signatures: `t=...,v1=...`.
pub const SIGNATURE: &str = "stripe-signature";

/// A secret of an endpoint that was made at Stripe. Its `Debug` form does not show it.
#[derive(Debug, Clone)]
pub struct SigningSecret(MacKey);

/// The text is no secret of this dialect. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is the text that Stripe shows for the endpoint, whsec_ and what follows")]
pub struct SigningSecretError;

impl SigningSecret {
    /// The shortest text that is taken: what can be guessed is no secret.
    const MIN_CHARACTERS: usize = 24;

    /// Takes the text that Stripe shows. All of it is the secret, also `whsec_`; unlike in the
    /// standard dialect nothing in it is decoded.
    ///
    /// # Errors
    /// When Stripe shows no such text.
    pub fn parse(text: &str) -> Result<Self, SigningSecretError> {
        let fits = text.starts_with("whsec_")
            && text.len() >= Self::MIN_CHARACTERS
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err(SigningSecretError);
        }
        Ok(Self(MacKey::new(text.as_bytes())))
    }
}

/// Whether the body was signed with one of these secrets, near enough to `now`. `header` is the
/// value of `Stripe-Signature`. Only signatures of the scheme `v1` count: Stripe gives test events a
/// `v0` too that is none, and taking another scheme would let a sender choose a weaker one.
///
/// # Errors
/// `Expired` only when the signature is right.
pub fn verify<'b>(
    secrets: &[SigningSecret],
    header: &str,
    body: &'b [u8],
    now: Timestamp,
) -> Result<VerifiedEvent<'b>, SignatureError> {
    let malformed = SignatureError::Malformed {
        header: SIGNATURE,
        wrong: "must have one t, a whole number of seconds since 1970",
    };
    let timestamp = the_timestamp(header).ok_or(malformed)?;
    let signed_at = unix_seconds(timestamp).ok_or(malformed)?;
    let is_ours = secrets.iter().any(|secret| {
        let expected = hex::encode(secret.0.mac(&[timestamp.as_bytes(), body]));
        header
            .split(',')
            .filter_map(|part| part.strip_prefix("v1="))
            .any(|signature| bool::from(expected.as_bytes().ct_eq(signature.as_bytes())))
    });
    if !is_ours {
        return Err(SignatureError::Mismatch);
    }
    in_time(body, signed_at, now)
}

/// The text of the one `t` in the header.
fn the_timestamp(header: &str) -> Option<&str> {
    let mut all = header.split(',').filter_map(|part| part.strip_prefix("t="));
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: Data<T>,
}

#[derive(Deserialize)]
struct Data<T> {
    object: T,
}

/// A Checkout session. Source: <https://docs.stripe.com/api/checkout/sessions/object>.
#[derive(Deserialize)]
struct Session {
    id: String,
    payment_status: String,
    payment_intent: Option<String>,
    metadata: Option<Metadata>,
}

/// What the shop wrote into a session. Stripe keeps every value as text.
#[derive(Deserialize)]
struct Metadata {
    buyer: Option<String>,
    model: Option<String>,
    expires_at: Option<String>,
    download_limit: Option<String>,
}

/// A charge. Source: <https://docs.stripe.com/api/charges/object>.
#[derive(Deserialize)]
struct Charge {
    payment_intent: Option<String>,
    refunded: bool,
}

/// A dispute. Source: <https://docs.stripe.com/api/disputes/object>.
#[derive(Deserialize)]
struct Dispute {
    payment_intent: Option<String>,
    reason: Option<String>,
}

/// Reads the event in a body. What else the account sells has no effect.
///
/// # Errors
/// When the body is no event of Stripe, or its metadata does not fit.
pub fn parse(body: &[u8]) -> Result<OrderEvent, BodyError> {
    let Kind { kind } = serde_json::from_slice(body)?;
    match kind.as_str() {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            of_session(object(body)?)
        }
        "charge.refunded" => of_charge(object(body)?),
        "charge.dispute.created" => of_dispute(object(body)?),
        _ => Ok(OrderEvent::Ignored(
            "Events of this type have no effect here.",
        )),
    }
}

/// The object that the event is about.
fn object<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, BodyError> {
    let envelope: Envelope<T> = serde_json::from_slice(body)?;
    Ok(envelope.data.object)
}

fn of_session(session: Session) -> Result<OrderEvent, BodyError> {
    // Some ways of paying take days; the session is completed before the money is there.
    let is_paid = matches!(
        session.payment_status.as_str(),
        "paid" | "no_payment_required"
    );
    if !is_paid {
        return Ok(OrderEvent::Ignored("The session is not paid yet."));
    }
    let Some(Metadata {
        buyer: Some(buyer),
        model: Some(model),
        expires_at,
        download_limit,
    }) = session.metadata
    else {
        return Ok(OrderEvent::Ignored(
            "The session's metadata does not name a buyer and a model.",
        ));
    };
    // Refunds and disputes name the payment; a session without one was free.
    let name = session.payment_intent.unwrap_or(session.id);
    Ok(OrderEvent::Purchased(NewOrder {
        order_ref: order_ref(name)?,
        buyer: fitting(
            "metadata.buyer",
            &buyer,
            "must be 1 to 128 visible ASCII characters without spaces",
        )?,
        model,
        expires_at: expires_at
            .map(|text| {
                fitting(
                    "metadata.expires_at",
                    &text,
                    "must be an RFC 3339 time such as 2026-11-23T09:30:00Z",
                )
            })
            .transpose()?,
        download_limit: download_limit
            .map(|text| fitting("metadata.download_limit", &text, "must be a whole number"))
            .transpose()?,
    }))
}

fn of_charge(charge: Charge) -> Result<OrderEvent, BodyError> {
    // The flag is set when the whole amount was given back.
    if !charge.refunded {
        return Ok(OrderEvent::Ignored(
            "A part of the payment was refunded, which leaves the purchase as it is.",
        ));
    }
    refund_of(charge.payment_intent, None)
}

fn of_dispute(dispute: Dispute) -> Result<OrderEvent, BodyError> {
    let reason = dispute.reason.map(|reason| format!("dispute: {reason}"));
    refund_of(dispute.payment_intent, reason.as_deref())
}

fn refund_of(
    payment_intent: Option<String>,
    reason: Option<&str>,
) -> Result<OrderEvent, BodyError> {
    let Some(payment_intent) = payment_intent else {
        return Ok(OrderEvent::Ignored(
            "It names no payment intent, so it belongs to no Checkout session.",
        ));
    };
    Ok(OrderEvent::refunded(order_ref(payment_intent)?, reason))
}

/// A value of the metadata in its own form.
fn fitting<T: std::str::FromStr>(
    field: &'static str,
    text: &str,
    wrong: &'static str,
) -> Result<T, BodyError> {
    text.parse().map_err(|_| BodyError::Field { field, wrong })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_not-a-real-secret-of-an-endpoint";
    const OTHER_SECRET: &str = "whsec_another-secret-that-is-not-real";
    const BODY: &[u8] = br#"{"id": "evt_1", "type": "ping"}"#;
    const SIGNED_AT: i64 = 1_764_000_000;
    // printf '%s' '1764000000.{"id": "evt_1", "type": "ping"}' | openssl dgst -sha256 -hmac SECRET
    const SIGNED: &str = "ed95fc63a1ec6acb8bb8821cbbc8e90d0bd8bde9f9e23230356bac8bdc98122d";

    fn secrets(texts: &[&str]) -> Vec<SigningSecret> {
        texts
            .iter()
            .map(|text| SigningSecret::parse(text).unwrap())
            .collect()
    }

    fn at(unix_seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(unix_seconds * 1_000)
    }

    fn verified(header: &str) -> Result<VerifiedEvent<'static>, SignatureError> {
        verify(&secrets(&[SECRET]), header, BODY, at(SIGNED_AT))
    }

    #[test]
    fn a_signature_that_openssl_made_is_verified() {
        let event = verified(&format!("t={SIGNED_AT},v1={SIGNED}")).unwrap();
        assert_eq!(event.body(), BODY);
    }

    #[test]
    fn one_right_signature_of_the_scheme_v1_is_enough() {
        let other = "0".repeat(64);
        for header in [
            format!("t={SIGNED_AT},v1={other},v1={SIGNED}"),
            format!("t={SIGNED_AT},v1={SIGNED},v1={other},v0={other}"),
            format!("v2=x,v1={SIGNED},t={SIGNED_AT}"),
        ] {
            assert!(verified(&header).is_ok(), "{header}");
        }
        for header in [
            format!("t={SIGNED_AT},v0={SIGNED}"),
            format!("t={SIGNED_AT},v1={other}"),
            format!("t={SIGNED_AT},v1={}", &SIGNED[..63]),
            format!("t={SIGNED_AT},v1={SIGNED}0"),
            format!("t={SIGNED_AT},v1={}", SIGNED.to_uppercase()),
            format!("t={SIGNED_AT}, v1={SIGNED}"),
            format!("t={},v1={SIGNED}", SIGNED_AT + 1),
            format!("t={SIGNED_AT},v1="),
            format!("t={SIGNED_AT}"),
        ] {
            assert_eq!(verified(&header), Err(SignatureError::Mismatch), "{header}");
        }
    }

    #[test]
    fn a_header_without_one_moment_cannot_be_read() {
        for header in [
            String::new(),
            format!("v1={SIGNED}"),
            format!("t=,v1={SIGNED}"),
            format!("t=-{SIGNED_AT},v1={SIGNED}"),
            format!("t={SIGNED_AT},t={SIGNED_AT},v1={SIGNED}"),
            format!("t={SIGNED_AT}000000000000,v1={SIGNED}"),
        ] {
            let outcome = verified(&header);
            assert!(
                matches!(outcome, Err(SignatureError::Malformed { .. })),
                "{header}: {outcome:?}"
            );
        }
    }

    #[test]
    fn each_secret_of_a_rotation_is_tried() {
        let header = format!("t={SIGNED_AT},v1={SIGNED}");
        for (known, expected) in [
            (&[OTHER_SECRET, SECRET][..], true),
            (&[SECRET, OTHER_SECRET], true),
            (&[OTHER_SECRET], false),
            (&[], false),
        ] {
            let outcome = verify(&secrets(known), &header, BODY, at(SIGNED_AT));
            assert_eq!(outcome.is_ok(), expected);
        }
    }

    #[test]
    fn five_minutes_either_way_are_in_time() {
        let header = format!("t={SIGNED_AT},v1={SIGNED}");
        for (offset, expected) in [(-301, false), (-300, true), (300, true), (301, false)] {
            let now = at(SIGNED_AT + offset);
            let outcome = verify(&secrets(&[SECRET]), &header, BODY, now);
            assert_eq!(outcome.is_ok(), expected, "{offset}");
            let other_body = verify(&secrets(&[SECRET]), &header, b"{}", now);
            assert_eq!(other_body, Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn secrets_are_checked_and_never_shown() {
        let shown = format!("{:?}", SigningSecret::parse(SECRET).unwrap());
        assert_eq!(shown, "SigningSecret([secret])");
        for text in [
            "",
            "whsec_short",
            "sk_not_a_secret_of_an_endpoint",
            "whsec_two words 0123456789",
        ] {
            assert!(SigningSecret::parse(text).is_err(), "{text}");
        }
    }

    fn event(kind: &str, object: &str) -> Result<OrderEvent, BodyError> {
        let body = format!(
            r#"{{"id": "evt_1", "object": "event", "type": "{kind}", "livemode": false,
                "data": {{"object": {object}}}}}"#
        );
        parse(body.as_bytes())
    }

    #[test]
    fn a_paid_session_is_a_purchase() {
        let paid = r#"{"id": "cs_1", "object": "checkout.session", "payment_status": "paid",
            "payment_intent": "pi_1", "metadata": {"buyer": "ben", "model": "mdl_1", "cart": "7",
            "download_limit": "5", "expires_at": "2027-01-01T00:00:00Z"}}"#;
        let expected = OrderEvent::Purchased(NewOrder {
            order_ref: "pi_1".to_owned(),
            buyer: "ben".parse().unwrap(),
            model: "mdl_1".to_owned(),
            expires_at: Some("2027-01-01T00:00:00Z".parse().unwrap()),
            download_limit: Some(5),
        });
        for kind in [
            "checkout.session.completed",
            "checkout.session.async_payment_succeeded",
        ] {
            assert_eq!(event(kind, paid).unwrap(), expected);
        }
        let free = r#"{"id": "cs_1", "payment_status": "no_payment_required",
            "payment_intent": null, "metadata": {"buyer": "ben", "model": "mdl_1"}}"#;
        let OrderEvent::Purchased(order) = event("checkout.session.completed", free).unwrap()
        else {
            panic!("a purchase");
        };
        assert_eq!(
            (order.order_ref.as_str(), order.download_limit),
            ("cs_1", None)
        );
    }

    #[test]
    fn what_is_not_about_an_order_of_ours_is_ignored() {
        let session = "checkout.session.completed";
        for (kind, object) in [
            (
                session,
                r#"{"id": "cs_1", "payment_status": "unpaid", "payment_intent": "pi_1",
                "metadata": {"buyer": "ben", "model": "mdl_1"}}"#,
            ),
            (
                session,
                r#"{"id": "cs_1", "payment_status": "paid", "metadata": {}}"#,
            ),
            (
                session,
                r#"{"id": "cs_1", "payment_status": "paid", "metadata": {"model": "T"}}"#,
            ),
            (
                session,
                r#"{"id": "cs_1", "payment_status": "paid", "metadata": null}"#,
            ),
            (
                "charge.refunded",
                r#"{"payment_intent": "pi_1", "refunded": false}"#,
            ),
            (
                "charge.refunded",
                r#"{"payment_intent": null, "refunded": true}"#,
            ),
            (
                "charge.dispute.created",
                r#"{"charge": "ch_1", "reason": "general"}"#,
            ),
            ("charge.dispute.closed", r#"{"payment_intent": "pi_1"}"#),
            ("invoice.paid", "{}"),
        ] {
            let read = event(kind, object).unwrap();
            assert!(matches!(read, OrderEvent::Ignored(_)), "{kind}: {object}");
        }
    }

    #[test]
    fn a_whole_refund_and_a_dispute_are_refunds_of_the_payment() {
        let refunded = |reason: Option<&str>| OrderEvent::Refunded {
            order_ref: "pi_1".to_owned(),
            reason: reason.map(str::to_owned),
        };
        let charge = r#"{"id": "ch_1", "payment_intent": "pi_1", "refunded": true}"#;
        assert_eq!(event("charge.refunded", charge).unwrap(), refunded(None));
        let dispute = r#"{"id": "dp_1", "payment_intent": "pi_1", "reason": "fraudulent"}"#;
        assert_eq!(
            event("charge.dispute.created", dispute).unwrap(),
            refunded(Some("dispute: fraudulent"))
        );
    }

    #[test]
    fn bodies_that_do_not_fit_are_refused() {
        let session = "checkout.session.completed";
        for (kind, object) in [
            (session, "{}"),
            (
                session,
                r#"{"id": "", "payment_status": "paid",
                "metadata": {"buyer": "ben", "model": "mdl_1"}}"#,
            ),
            (
                session,
                r#"{"id": "cs_1", "payment_status": "paid",
                "metadata": {"buyer": "two words", "model": "mdl_1"}}"#,
            ),
            (
                session,
                r#"{"id": "cs_1", "payment_status": "paid",
                "metadata": {"buyer": "b", "model": "mdl_1", "download_limit": "many"}}"#,
            ),
            (
                session,
                r#"{"id": "cs_1", "payment_status": "paid",
                "metadata": {"buyer": "b", "model": "mdl_1", "expires_at": "1764000000"}}"#,
            ),
            ("charge.refunded", r#"{"payment_intent": "pi_1"}"#),
            ("charge.dispute.created", r#"{"payment_intent": 5}"#),
        ] {
            assert!(event(kind, object).is_err(), "{kind}: {object}");
        }
        assert!(parse(b"[]").is_err());
        assert!(parse(br#"{"type": "charge.refunded"}"#).is_err());
    }
}
