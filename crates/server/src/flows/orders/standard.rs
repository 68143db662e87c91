//! The dialect of the Standard Webhooks specification, version 1.0.0, with symmetric signatures.
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use stockroom_domain::{Subject, Timestamp};
use subtle::ConstantTimeEq as _;

use super::event::{BodyError, NewOrder, OrderEvent, order_ref};
use super::mac::MacKey;
use super::{SignatureError, VerifiedEvent, in_time, unix_seconds};

/// The header with the event's id, which stays the same over all attempts to deliver it.
pub const ID: &str = "webhook-id";
/// The header with the moment of the attempt, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";

/// What a secret begins with when it is written.
const SECRET_PREFIX: &str = "whsec_";
/// What a symmetric signature begins with.
const SCHEME: &str = "v1,";

/// A secret that events are signed with. Its `Debug` form does not show it.
#[derive(Debug, Clone)]
pub struct SigningSecret(MacKey);

/// The text is no secret of this dialect. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is written as whsec_ and the base64 of 24 to 64 bytes")]
pub struct SigningSecretError;

impl SigningSecret {
    /// How long a secret may be, in bytes. The specification says "at least 24 bytes (192 bits,
    /// 512 maximum)".
    pub const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

    /// Reads a secret as the specification writes it: `whsec_` and base64.
    ///
    /// # Errors
    /// When it is written in another way, or is too short or too long.
    pub fn parse(text: &str) -> Result<Self, SigningSecretError> {
        let bytes = text
            .strip_prefix(SECRET_PREFIX)
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .ok_or(SigningSecretError)?;
        if !Self::BYTES.contains(&bytes.len()) {
            return Err(SigningSecretError);
        }
        Ok(Self(MacKey::new(bytes)))
    }
}

/// Whether the body was signed with one of these secrets, near enough to `now`. The first three
/// texts are the values of the headers. Signatures of other schemes are passed over.
///
/// # Errors
/// `Expired` only when the signature is right.
pub fn verify<'b>(
    secrets: &[SigningSecret],
    id: &str,
    timestamp: &str,
    signature: &str,
    body: &'b [u8],
    now: Timestamp,
) -> Result<VerifiedEvent<'b>, SignatureError> {
    let malformed = |header, wrong| SignatureError::Malformed { header, wrong };
    // The signed text is `id.timestamp.body`. A full stop in the id would let the same text be
    // cut into other pieces, and the specification rules it out.
    if id.is_empty() || id.contains('.') {
        return Err(malformed(ID, "must be an id without a full stop"));
    }
    let signed_at = unix_seconds(timestamp)
        .ok_or_else(|| malformed(TIMESTAMP, "must be a whole number of seconds since 1970"))?;
    let is_ours = secrets.iter().any(|secret| {
        let mac = secret.0.mac(&[id.as_bytes(), timestamp.as_bytes(), body]);
        let expected = STANDARD.encode(mac);
        // The texts are compared and not the bytes, so that there is one way to write a signature.
        signature
            .split(' ')
            .filter_map(|signature| signature.strip_prefix(SCHEME))
            .any(|signature| bool::from(expected.as_bytes().ct_eq(signature.as_bytes())))
    });
    if !is_ours {
        return Err(SignatureError::Mismatch);
    }
    in_time(body, signed_at, now)
}

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

    // The example that the specification's libraries are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const EVENT_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SIGNED_AT: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const OTHER_SECRET: &str = "whsec_bm90LWEtcmVhbC1zZWNyZXQtbm90LWEtcmVhbC1vbmU=";

    fn secrets(texts: &[&str]) -> Vec<SigningSecret> {
        texts
            .iter()
            .map(|text| SigningSecret::parse(text).unwrap())
            .collect()
    }

    fn at(unix_seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(unix_seconds * 1_000)
    }

    fn verified(signature: &str) -> Result<VerifiedEvent<'static>, SignatureError> {
        let now = at(1_614_265_330);
        verify(
            &secrets(&[SECRET]),
            EVENT_ID,
            SIGNED_AT,
            signature,
            BODY,
            now,
        )
    }

    #[test]
    fn the_example_of_the_specification_is_verified() {
        let event = verified(SIGNED).unwrap();
        assert_eq!(event.body(), BODY);
    }

    #[test]
    fn one_right_signature_among_others_is_enough() {
        let other = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=";
        for list in [
            format!("{other} {SIGNED}"),
            format!("v1a,hnO3f9T8 {SIGNED} v2,x"),
            format!("  {SIGNED} "),
        ] {
            assert!(verified(&list).is_ok(), "{list}");
        }
    }

    #[test]
    fn each_secret_of_a_rotation_is_tried() {
        let now = at(1_614_265_330);
        for list in [[OTHER_SECRET, SECRET], [SECRET, OTHER_SECRET]] {
            let outcome = verify(&secrets(&list), EVENT_ID, SIGNED_AT, SIGNED, BODY, now);
            assert!(outcome.is_ok());
        }
        for list in [&[][..], &[OTHER_SECRET]] {
            let outcome = verify(&secrets(list), EVENT_ID, SIGNED_AT, SIGNED, BODY, now);
            assert_eq!(outcome, Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn anything_else_that_was_changed_is_no_match() {
        let (known, now) = (secrets(&[SECRET]), at(1_614_265_330));
        for (id, timestamp, body) in [
            ("msg_other", SIGNED_AT, BODY),
            (EVENT_ID, "1614265331", BODY),
            (EVENT_ID, "01614265330", BODY),
            (EVENT_ID, SIGNED_AT, br#"{"test":2432232314}"#),
            (EVENT_ID, SIGNED_AT, b""),
        ] {
            let outcome = verify(&known, id, timestamp, SIGNED, body, now);
            assert_eq!(
                outcome,
                Err(SignatureError::Mismatch),
                "{id} {timestamp} {body:?}"
            );
        }
        for signature in [
            "",
            "v1,",
            &SIGNED[3..],
            &SIGNED.replace("v1,", "v2,"),
            &SIGNED.replace("v1,", "v1="),
            SIGNED.trim_end_matches('='),
            &format!("{SIGNED},"),
            &SIGNED.to_lowercase(),
        ] {
            assert_eq!(verified(signature), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn every_changed_character_of_a_signature_is_noticed() {
        for position in 0..SIGNED.len() {
            let mut changed = SIGNED.as_bytes().to_vec();
            changed[position] = if changed[position] == b'A' {
                b'B'
            } else {
                b'A'
            };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(verified(&changed), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn headers_that_cannot_be_read_are_named() {
        let (known, now) = (secrets(&[SECRET]), at(1_614_265_330));
        for (id, timestamp, wrong) in [
            ("", SIGNED_AT, ID),
            ("msg.1614265330", SIGNED_AT, ID),
            (EVENT_ID, "", TIMESTAMP),
            (EVENT_ID, "+1614265330", TIMESTAMP),
            (EVENT_ID, "1614265330.0", TIMESTAMP),
            (EVENT_ID, "99999999999999999999", TIMESTAMP),
        ] {
            let outcome = verify(&known, id, timestamp, SIGNED, BODY, now);
            assert!(
                matches!(outcome, Err(SignatureError::Malformed { header, .. }) if header == wrong),
                "{id} {timestamp}: {outcome:?}"
            );
        }
    }

    #[test]
    fn five_minutes_either_way_are_in_time() {
        let known = secrets(&[SECRET]);
        for (offset, expected) in [
            (-301, false),
            (-300, true),
            (0, true),
            (300, true),
            (301, false),
        ] {
            let now = at(1_614_265_330 + offset);
            let outcome = verify(&known, EVENT_ID, SIGNED_AT, SIGNED, BODY, now);
            assert_eq!(outcome.is_ok(), expected, "{offset}");
            if !expected {
                assert_eq!(outcome, Err(SignatureError::Expired));
            }
            // What is not ours is never told that it was only late.
            let outcome = verify(&known, EVENT_ID, SIGNED_AT, "v1,x", BODY, now);
            assert_eq!(outcome, Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn secrets_are_checked_and_never_shown() {
        let shown = format!("{:?}", SigningSecret::parse(SECRET).unwrap());
        assert_eq!(shown, "SigningSecret([secret])");
        let encoded = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, fits) in [
            (encoded(23), false),
            (encoded(24), true),
            (encoded(64), true),
            (encoded(65), false),
            (SECRET.replace("whsec_", "whsk_"), false),
            (SECRET.replace("whsec_", ""), false),
            (format!("{SECRET}!"), false),
            (String::new(), false),
        ] {
            assert_eq!(SigningSecret::parse(&text).is_ok(), fits, "{text}");
        }
    }

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
