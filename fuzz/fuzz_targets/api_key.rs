//! API keys as callers send them. A checksum would keep nearly all inputs out, so one part of the
//! input is made a key, and another one changes it.
#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use stockroom::http::auth::Credentials;
use stockroom::secret_key::{SecretKey, without_keys};
use stockroom_domain::Entropy;

#[derive(Debug)]
struct Given<'i>(&'i [u8]);

impl Entropy for Given<'_> {
    fn fill(&self, bytes: &mut [u8]) {
        for (byte, given) in bytes
            .iter_mut()
            .zip(self.0.iter().chain(std::iter::repeat(&0)))
        {
            *byte = *given;
        }
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        check(text);
    }
    let (random, change) = input.split_at(input.len().min(20));
    let key = SecretKey::generate(&Given(random)).reveal();
    check(&key);
    assert!(SecretKey::parse(&key).is_ok());
    let mut changed = key.clone().into_bytes();
    for step in change.chunks_exact(2).take(8) {
        let at = usize::from(step[0]) % changed.len();
        changed[at] = step[1];
    }
    if let Ok(changed) = String::from_utf8(changed) {
        check(&changed);
        check(&format!("{key}{changed}"));
    }
});

fn check(text: &str) {
    // There is one way to write a key.
    let parsed = SecretKey::parse(text);
    if let Ok(key) = &parsed {
        assert_eq!(key.reveal(), text);
        assert!(!format!("{key:?}").contains(&text[8..]));
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = format!("Bearer {text}").parse() {
        headers.insert("authorization", value);
        let hash = Credentials::from_headers(&headers)
            .ok()
            .and_then(|credentials| credentials.key_hash());
        // Spaces around a key belong to the header.
        let expected = SecretKey::parse(text.trim_matches(' ')).ok();
        assert_eq!(hash, expected.map(|key| key.hash()));
    }
    let shown = without_keys(text);
    assert_eq!(without_keys(&shown), shown);
    for after in shown.split("sr_live_").skip(1) {
        assert!(!after.starts_with(|c: char| c.is_ascii_alphanumeric()));
    }
    if parsed.is_ok() {
        assert_eq!(shown, "sr_live_***");
    }
}
