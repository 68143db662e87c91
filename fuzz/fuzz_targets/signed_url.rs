//! Signed URLs. The first lines of an input say what to sign; what was signed must come back, and no
//! change of it that the last line describes may be taken. All of the input is tried as a URL too.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use stockroom_domain::{Key, Timestamp};
use stockroom_fuzz::lines;
use stockroom_storage::{
    Disposition, Purpose, SignMethod, SignRequest, SignedUrl, SigningKey, SigningKeys, UrlSigner,
};

const BASE: &str = "https://files.example.com";

static SIGNER: LazyLock<UrlSigner> = LazyLock::new(|| {
    let key = SigningKey::new("k1", b"not-a-real-secret-of-a-fuzz-target").expect("a key");
    UrlSigner::new(SigningKeys::new(vec![key]).expect("keys"), BASE)
});

/// Long before anything that an input could sign ends.
const NOW_UNIX_MS: i64 = 1_764_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_unix_ms(NOW_UNIX_MS)
}

fuzz_target!(|input: &[u8]| {
    forged(input);
    let Some(([key, method, filename, media_type, holder], changes)) = lines(input) else {
        return;
    };
    let (Some(key), Some(filename), Some(media_type), Some(holder)) =
        (text(key), text(filename), text(media_type), text(holder))
    else {
        return;
    };
    let Ok(key) = key.parse::<Key>() else {
        return;
    };
    let method_byte = method.first().copied().unwrap_or_default();
    let filename = (!filename.is_empty()).then(|| filename.to_owned());
    let request = SignRequest {
        method: [SignMethod::Get, SignMethod::Head, SignMethod::Put][usize::from(method_byte) % 3],
        expires_in: Duration::from_secs(1 + u64::from(method_byte) * 60),
        disposition: match method.len() % 2 {
            0 => Disposition::Attachment { filename },
            _ => Disposition::Inline { filename },
        },
        content_type: (!media_type.is_empty()).then(|| media_type.to_owned()),
    };
    let purpose = Purpose::ALL[usize::from(method.len() > 2)];
    let holder = (!holder.is_empty()).then_some(holder);
    if let Ok(signed) = SIGNER.sign_for(holder, &key, &request, purpose, now()) {
        comes_back(&signed, holder, &key, &request, purpose);
        does_not_bend(&signed, &request, changes);
    }
});

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Nobody can guess a signature: what is not made by the signer is refused.
fn forged(input: &[u8]) {
    let Some(text) = text(input) else {
        return;
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    for method in ["GET", "PUT"] {
        assert!(SIGNER.verify(method, path, query, now()).is_err(), "{text}");
    }
}

fn parts(signed: &SignedUrl) -> (&str, &str) {
    let rest = signed.url.strip_prefix(BASE).expect("our base");
    let rest = rest.strip_prefix("/files/").expect("our path");
    rest.split_once('?').expect("a query")
}

fn comes_back(
    signed: &SignedUrl,
    holder: Option<&str>,
    key: &Key,
    request: &SignRequest,
    purpose: Purpose,
) {
    assert!(signed.url.bytes().all(|byte| byte.is_ascii_graphic()));
    let (path, query) = parts(signed);
    let method = request.method.as_str();
    let verified = SIGNER
        .verify(method, path, query, now())
        .expect("it was signed");
    assert_eq!(verified.key, *key);
    assert_eq!(verified.disposition, request.disposition);
    assert_eq!(verified.content_type, request.content_type);
    assert_eq!(verified.purpose, purpose);
    assert_eq!(verified.holder.as_deref(), holder);
    assert_eq!(verified.expires_at, signed.expires_at);
    assert!(
        SIGNER
            .verify(method, path, query, signed.expires_at)
            .is_err()
    );
}

/// Each two bytes of the changes put one byte somewhere, in the place of another or beside it.
fn does_not_bend(signed: &SignedUrl, request: &SignRequest, changes: &[u8]) {
    let (path, query) = parts(signed);
    let original = format!("{path}?{query}");
    let mut changed = original.clone().into_bytes();
    for change in changes.chunks_exact(2).take(16) {
        let at = usize::from(change[0]) * (changed.len() + 1) / 256;
        match (change[1] % 3, changed.get_mut(at)) {
            (0, Some(byte)) => *byte = change[1],
            (1, Some(_)) => drop(changed.remove(at)),
            _ => changed.insert(at, change[1]),
        }
    }
    let Ok(changed) = String::from_utf8(changed) else {
        return;
    };
    if changed == original {
        return;
    }
    let (path, query) = changed.split_once('?').unwrap_or((&changed, ""));
    for method in [request.method.as_str(), "GET", "HEAD", "PUT"] {
        assert!(
            SIGNER.verify(method, path, query, now()).is_err(),
            "{changed}"
        );
    }
}
