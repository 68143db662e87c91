//! Events of Stripe: a line with the header, and the body. What the input calls a signature must not
//! count, unless it is one; with a right one the body is read.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stockroom::flows::orders::SignatureError;
use stockroom::flows::orders::stripe::{SigningSecret, parse, verify};
use stockroom_domain::Timestamp;
use stockroom_fuzz::{check_event, lines, mac};

const SECRET: &str = "whsec_not-a-real-secret-of-an-endpoint";

static SECRETS: LazyLock<Vec<SigningSecret>> =
    LazyLock::new(|| vec![SigningSecret::parse(SECRET).expect("a secret")]);

const NOW_UNIX_SECONDS: i64 = 1_764_000_000;

fuzz_target!(|input: &[u8]| {
    let Some(([header], body)) = lines(input) else {
        return;
    };
    let Ok(header) = std::str::from_utf8(header) else {
        return;
    };
    let now = Timestamp::from_unix_ms(NOW_UNIX_SECONDS * 1_000);
    let right = |timestamp: &str| {
        let pieces = [timestamp.as_bytes(), b".", body];
        hex::encode(mac(SECRET.as_bytes(), &pieces))
    };

    let taken = verify(&SECRETS, header, body, now);
    if !matches!(
        taken,
        Err(SignatureError::Malformed { .. } | SignatureError::Mismatch)
    ) {
        let timestamp = header
            .split(',')
            .find_map(|part| part.strip_prefix("t="))
            .expect("a moment");
        let right = format!("v1={}", right(timestamp));
        assert!(header.split(',').any(|part| part == right), "a forgery");
    }

    let timestamp = NOW_UNIX_SECONDS.to_string();
    let signature = right(&timestamp);
    let verified = verify(
        &SECRETS,
        &format!("v1=00,t={timestamp},v1={signature}"),
        body,
        now,
    );
    assert_eq!(verified.expect("it was signed").body(), body);
    // Only one scheme counts, and only the body that was signed.
    let other_scheme = format!("t={timestamp},v0={signature},v2={signature}");
    assert!(verify(&SECRETS, &other_scheme, body, now).is_err());
    let changed = [body, b" "].concat();
    let header = format!("t={timestamp},v1={signature}");
    assert!(verify(&SECRETS, &header, &changed, now).is_err());
    match parse(body) {
        Ok(event) => check_event(&event),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
