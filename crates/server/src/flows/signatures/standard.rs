//! Messages after the Standard Webhooks specification, version 1.0.0, with symmetric signatures: made
//! for those that leave, verified on those that come.
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stockroom_domain::{Entropy, Timestamp};
use subtle::ConstantTimeEq as _;

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

    /// The text of a new secret that nobody can guess: 256 random bits.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(entropy.bytes::<32>()))
    }

    /// The signature of a message, as the header has it. The first two texts are the values of the
    /// other headers; an id has no full stop.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mac = self.0.mac(&[id.as_bytes(), timestamp.as_bytes(), body]);
        format!("{SCHEME}{}", STANDARD.encode(mac))
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
        let expected = secret.sign(id, timestamp, body);
        // The texts are compared and not the bytes, so that there is one way to write a signature.
        signature
            .split(' ')
            .any(|signature| bool::from(expected.as_bytes().ct_eq(signature.as_bytes())))
    });
    if !is_ours {
        return Err(SignatureError::Mismatch);
    }
    in_time(body, signed_at, now)
}

#[cfg(test)]
mod tests {
    use stockroom_domain::SeededEntropy;

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
    fn what_is_signed_is_verified() {
        let secret = SigningSecret::parse(SECRET).unwrap();
        assert_eq!(secret.sign(EVENT_ID, SIGNED_AT, BODY), SIGNED);
        let text = SigningSecret::generate(&SeededEntropy::new(1));
        let own = secrets(&[&text]);
        let signature = own[0].sign("evt_1", SIGNED_AT, b"{}");
        let now = at(1_614_265_330);
        assert!(verify(&own, "evt_1", SIGNED_AT, &signature, b"{}", now).is_ok());
        assert_ne!(text, SigningSecret::generate(&SeededEntropy::new(2)));
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
}
