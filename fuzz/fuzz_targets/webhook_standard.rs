//! Events after the Standard Webhooks specification: lines with id, timestamp and signatures, and the
//! body. What the input calls a signature must not count, unless it is one; with a right one the
//! body is read.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use stockroom::flows::orders::SignatureError;
use stockroom::flows::orders::standard::{SigningSecret, parse, verify};
use stockroom_domain::Timestamp;
use stockroom_fuzz::{check_event, lines, mac};

/// The base64 of the key below.
const SECRET: &str = "whsec_bm90IGEgcmVhbCBzZWNyZXQsIG5vdCBhIHJlYWwgb25l";
const KEY: &[u8] = b"not a real secret, not a real one";

static SECRETS: LazyLock<Vec<SigningSecret>> =
    LazyLock::new(|| vec![SigningSecret::parse(SECRET).expect("a secret")]);

const NOW_UNIX_SECONDS: i64 = 1_764_000_000;

fuzz_target!(|input: &[u8]| {
    let Some(([id, timestamp, signatures], body)) = lines(input) else {
        return;
    };
    let texts = [id, timestamp, signatures].map(|bytes| std::str::from_utf8(bytes).ok());
    let [Some(id), Some(timestamp), Some(signatures)] = texts else {
        return;
    };
    let now = Timestamp::from_unix_ms(NOW_UNIX_SECONDS * 1_000);
    let right = |timestamp: &str| {
        let pieces = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        format!("v1,{}", STANDARD.encode(mac(KEY, &pieces)))
    };

    let taken = verify(&SECRETS, id, timestamp, signatures, body, now);
    if !matches!(
        taken,
        Err(SignatureError::Malformed { .. } | SignatureError::Mismatch)
    ) {
        let right = right(timestamp);
        assert!(signatures.split(' ').any(|one| one == right), "a forgery");
    }

    let in_time = NOW_UNIX_SECONDS.to_string();
    let signatures = format!("v1,AAAA {} v2,x", right(&in_time));
    let verified = verify(&SECRETS, id, &in_time, &signatures, body, now);
    let is_id = !id.is_empty() && !id.contains('.');
    assert_eq!(verified.is_ok(), is_id);
    if let Ok(verified) = verified {
        assert_eq!(verified.body(), body);
    }
    // A moment that is far away counts as little as a body that was changed.
    let old = right(timestamp);
    if let Ok(event) = verify(&SECRETS, id, timestamp, &old, body, now) {
        let signed_at: i64 = timestamp.parse().expect("a number");
        assert!(signed_at.abs_diff(NOW_UNIX_SECONDS) <= 300);
        assert_eq!(event.body(), body);
    }
    let changed = [body, b" "].concat();
    assert!(verify(&SECRETS, id, &in_time, &signatures, &changed, now).is_err());
    match parse(body) {
        Ok(event) => check_event(&event),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
