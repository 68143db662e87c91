//! Signed URLs: pinned vectors, and mutations of which none may be accepted (invariant 11).
#![expect(
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use stockroom_domain::{Clock as _, Entropy, Key, ManualClock, SystemEntropy, Timestamp};
use stockroom_storage::{
    Disposition, MAX_EXPIRES_IN, Purpose, SignError, SignMethod, SignRequest, SignatureError,
    SignedUrl, SigningKey, SigningKeys, UrlSigner,
};

const BASE: &str = "https://files.example.com";
const SECRET: &[u8] = b"not-a-real-secret-not-a-real-secret";

fn signer() -> UrlSigner {
    let key = SigningKey::new("k1", SECRET).unwrap();
    UrlSigner::new(SigningKeys::new(vec![key]).unwrap(), BASE)
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// The path after /files/ and the query.
fn parts(signed: &SignedUrl) -> (&str, &str) {
    let rest = signed.url.strip_prefix(BASE).unwrap();
    let rest = rest.strip_prefix("/files/").unwrap();
    rest.split_once('?').unwrap()
}

fn upload() -> SignRequest {
    SignRequest {
        method: SignMethod::Put,
        expires_in: MAX_EXPIRES_IN,
        disposition: Disposition::Inline {
            filename: Some("höhle \"x\".png".to_owned()),
        },
        content_type: Some("image/png".to_owned()),
    }
}

/// Both were computed by a program in another language from the description of the encoding.
#[test]
fn the_vectors_stay_as_they_are() {
    let signer = signer();
    let request = SignRequest::get(Duration::from_secs(900));
    let helmet = key("models/42/helmet.stl");
    let signed = signer.sign(&helmet, &request, Purpose::Download, now());
    assert_eq!(
        signed.unwrap().url,
        "https://files.example.com/files/models/42/helmet.stl?kid=k1&exp=1767226500&method=GET&disposition=attachment&purpose=download&sig=7xHCGC7D9ipvk1jLrCArTxoWxU9lXgNpGd4bCPLbVhw"
    );
    let picture = key("images/Größe 1+1.png");
    let signed = signer.sign(&picture, &upload(), Purpose::Object, now());
    assert_eq!(
        signed.unwrap().url,
        "https://files.example.com/files/images/Gr%C3%B6%C3%9Fe%201%2B1.png?kid=k1&exp=1767830400&method=PUT&disposition=inline&filename=h%C3%B6hle%20%22x%22.png&type=image%2Fpng&purpose=object&sig=isnPDZa-ZTmEam_I10WN28YzfrbSFvXRrBw1vcF9xM0"
    );
}

#[test]
fn what_was_signed_comes_back_until_it_expires() {
    let signer = signer();
    let clock = ManualClock::new(now());
    let key = key("images/a b%2Fc/ü+?&=.png");
    let signed = signer.sign(&key, &upload(), Purpose::Object, clock.now());
    let signed = signed.unwrap();
    let (path, query) = parts(&signed);
    let verified = signer.verify("PUT", path, query, clock.now()).unwrap();
    assert_eq!(verified.key, key);
    assert_eq!(verified.disposition, upload().disposition);
    assert_eq!(verified.content_type.as_deref(), Some("image/png"));
    assert_eq!(verified.purpose, Purpose::Object);
    assert_eq!(verified.expires_at, signed.expires_at);
    assert_eq!(signed.expires_at, now().after(MAX_EXPIRES_IN));

    clock.advance(MAX_EXPIRES_IN - Duration::from_millis(1));
    assert!(signer.verify("PUT", path, query, clock.now()).is_ok());
    clock.advance(Duration::from_millis(1));
    let late = signer.verify("PUT", path, query, clock.now());
    assert_eq!(late, Err(SignatureError::Expired));
    let forged = query.replace("inline", "attachment");
    let late = signer.verify("PUT", path, &forged, clock.now());
    assert_eq!(
        late,
        Err(SignatureError::Bad),
        "nothing is told of a forgery"
    );
}

#[test]
fn a_part_of_a_second_is_given_not_taken() {
    let now = Timestamp::from_unix_ms(1_000_001);
    let request = SignRequest::get(Duration::from_secs(1));
    let signed = signer().sign(&key("temp/a"), &request, Purpose::Object, now);
    assert_eq!(signed.unwrap().expires_at.unix_ms(), 1_002_000);
}

#[test]
fn a_method_opens_nothing_else() {
    let signer = signer();
    let methods = [SignMethod::Get, SignMethod::Head, SignMethod::Put];
    for signed_method in methods {
        let request = SignRequest {
            method: signed_method,
            ..SignRequest::get(Duration::from_secs(60))
        };
        let signed = signer.sign(&key("temp/a"), &request, Purpose::Object, now());
        let signed = signed.unwrap();
        let (path, query) = parts(&signed);
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "get", ""] {
            let is_allowed = method == signed_method.as_str()
                || (signed_method == SignMethod::Get && method == "HEAD");
            let verified = signer.verify(method, path, query, now());
            assert_eq!(verified.is_ok(), is_allowed, "{signed_method:?} {method}");
        }
    }
}

#[test]
fn keys_are_exchanged_without_breaking_urls() {
    let old = SigningKey::new("k1", SECRET).unwrap();
    let new = SigningKey::generate("k2", &SystemEntropy).unwrap();
    let both = SigningKeys::new(vec![new.clone(), old]).unwrap();
    let request = SignRequest::get(Duration::from_secs(60));
    let signed = signer().sign(&key("temp/a"), &request, Purpose::Download, now());
    let signed = signed.unwrap();
    let (path, query) = parts(&signed);
    let both = UrlSigner::new(both, "https://files.example.com/");
    assert!(both.verify("GET", path, query, now()).is_ok());
    let by_new = both.sign(&key("temp/a"), &request, Purpose::Download, now());
    assert!(by_new.unwrap().url.contains("/files/temp/a?kid=k2&"));
    let alone = UrlSigner::new(SigningKeys::new(vec![new]).unwrap(), BASE);
    let refused = alone.verify("GET", path, query, now());
    assert_eq!(refused, Err(SignatureError::Bad));
    assert!(!format!("{both:?}").contains("not-a-real-secret"));
}

#[test]
fn what_cannot_be_is_not_signed() {
    let sign =
        |request: &SignRequest| signer().sign(&key("temp/a"), request, Purpose::Object, now());
    for expires_in in [
        Duration::ZERO,
        Duration::from_millis(1_500),
        MAX_EXPIRES_IN + Duration::from_nanos(1),
        Duration::MAX,
    ] {
        let refused = sign(&SignRequest::get(expires_in));
        assert_eq!(refused, Err(SignError::Expiry), "{expires_in:?}");
    }
    for content_type in ["", "text/html\r\nX: y", "té/xt"] {
        let request = SignRequest {
            content_type: Some(content_type.to_owned()),
            ..SignRequest::get(Duration::from_secs(1))
        };
        assert_eq!(sign(&request), Err(SignError::ContentType));
    }
}

/// The same permission in any other spelling is refused.
#[test]
fn there_is_one_spelling() {
    let signer = signer();
    let request = SignRequest {
        disposition: Disposition::Attachment {
            filename: Some("a b.stl".to_owned()),
        },
        ..SignRequest::get(Duration::from_secs(60))
    };
    let signed = signer.sign(&key("models/a b/c~d"), &request, Purpose::Download, now());
    let signed = signed.unwrap();
    let (path, query) = parts(&signed);
    let accepted = |path: &str, query: &str| signer.verify("GET", path, query, now()).is_ok();
    assert!(accepted(path, query));
    let paths = [
        path.replace("%20", " "),
        path.replace("%20", "+"),
        path.replace('~', "%7E"),
        path.replace("models", "%6dodels"),
        path.replace("/c", "%2Fc"),
        path.replace("/c", "//c"),
        path.replace("/c", "/./c"),
        format!("{path}/"),
        format!("/{path}"),
        format!("{path}%00"),
    ];
    for changed in &paths {
        assert!(!accepted(changed, query), "{changed}");
    }
    let queries = [
        query.replace("%20", "+"),
        query.replace("%20", " "),
        query.replace("exp=", "exp=0"),
        query.replace("exp=", "exp=%2B"),
        query.replace("exp=", "exp=+"),
        query.replace("GET", "%47ET"),
        query.replace("kid=", "%6bid="),
        format!("{query}="),
        format!("{query}&"),
        format!("&{query}"),
        format!("{query}&utm_source=x"),
        format!("{query}&filename=x"),
        query.replace("&filename=a%20b.stl", ""),
        query.replace("&filename=a%20b.stl", "&filename="),
        query.replace("&purpose", "&type=&purpose"),
        query.replace('&', ";"),
        String::new(),
    ];
    for changed in &queries {
        assert!(!accepted(path, changed), "{changed}");
    }
}

#[test]
fn no_mutation_is_accepted() {
    const MUTATIONS: usize = 200_000;
    let entropy: &dyn Entropy = &SystemEntropy;
    let seed = u64::from_le_bytes(entropy.bytes());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let signer = signer();
    let originals = originals(&signer);
    let known: HashSet<&str> = originals.iter().map(String::as_str).collect();
    let mut tried = 0;
    while tried < MUTATIONS {
        let mut text = originals.choose(&mut random).unwrap().clone();
        for _ in 0..random.random_range(1..=3) {
            text = mutated(&text, &originals, &mut random);
        }
        let Some((path, query)) = text.split_once('?') else {
            continue;
        };
        if known.contains(text.as_str()) {
            continue;
        }
        tried += 1;
        let method = ["GET", "HEAD", "PUT"].choose(&mut random).unwrap();
        let verified = signer.verify(method, path, query, now());
        assert_eq!(verified, Err(SignatureError::Bad), "{method} {text}");
    }
}

/// URLs that differ in one thing each, so that parts can be moved between them; one has expired.
fn originals(signer: &UrlSigner) -> Vec<String> {
    let mut originals = Vec::new();
    let mut add = |key_text: &str, request: &SignRequest, purpose, at| {
        let signed = signer.sign(&key(key_text), request, purpose, at).unwrap();
        let (path, query) = parts(&signed);
        originals.push(format!("{path}?{query}"));
    };
    let request = SignRequest::get(Duration::from_secs(900));
    let helmet = "models/42/helmet.stl";
    let long_ago = now().before(MAX_EXPIRES_IN);
    add(helmet, &request, Purpose::Download, now());
    add(helmet, &request, Purpose::Object, now());
    add(helmet, &request, Purpose::Download, long_ago);
    add("models/42/helmet.st", &request, Purpose::Download, now());
    add("images/Größe 1+1.png", &upload(), Purpose::Object, now());
    let named = SignRequest {
        disposition: Disposition::Attachment {
            filename: Some("download".to_owned()),
        },
        ..request.clone()
    };
    add(helmet, &named, Purpose::Download, now());
    let typed = SignRequest {
        content_type: Some("download".to_owned()),
        ..request
    };
    add(helmet, &typed, Purpose::Download, now());
    originals
}

fn mutated(text: &str, originals: &[String], random: &mut StdRng) -> String {
    let at = random.random_range(0..text.len());
    match random.random_range(0..8) {
        0 => {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1 << random.random_range(0..8);
            String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
        }
        1 => {
            let alphabet = b"abcXYZ0189-_.~%/&=+?; ";
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = *alphabet.choose(random).unwrap();
            String::from_utf8(bytes).unwrap()
        }
        2 => format!("{}{}", &text[..at], &text[at + 1..]),
        3 => format!("{}{}", &text[..=at], &text[at..]),
        4 => format!(
            "{}%{:02X}{}",
            &text[..at],
            text.as_bytes()[at],
            &text[at + 1..]
        ),
        _ => with_other_parameters(text, originals, random),
    }
}

/// Drops, doubles, swaps or replaces parameters, or takes them from another URL.
fn with_other_parameters(text: &str, originals: &[String], random: &mut StdRng) -> String {
    let Some((path, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let other = originals.choose(random).unwrap();
    let (other_path, other_query) = other.split_once('?').unwrap();
    let mut parameters: Vec<String> = query.split('&').map(str::to_owned).collect();
    let at = random.random_range(0..parameters.len());
    let foreign = other_query.split('&').collect::<Vec<_>>();
    let foreign = (*foreign.choose(random).unwrap()).to_owned();
    let mut path = path.to_owned();
    match random.random_range(0..7) {
        0 => drop(parameters.remove(at)),
        1 => parameters.insert(at, parameters[at].clone()),
        2 => parameters.shuffle(random),
        3 => parameters.insert(at, foreign),
        4 => {
            let name = foreign.split('=').next().unwrap();
            let same = parameters
                .iter()
                .position(|p| p.split('=').next() == Some(name));
            parameters[same.unwrap_or(at)] = foreign;
        }
        5 => path = other_path.to_owned(),
        _ => {
            let name = parameters[at].split('=').next().unwrap();
            parameters[at] = format!("{name}={}", random.random_range(0..4_000_000_000_u64));
        }
    }
    format!("{path}?{}", parameters.join("&"))
}

#[test]
fn exchanged_keys_count_in_all_clones() {
    let (signer, other) = (signer(), SigningKey::new("k2", &[b'x'; 32]).unwrap());
    let clone = signer.clone();
    let request = SignRequest::get(Duration::from_secs(60));
    let sign = || signer.sign(&key("models/a"), &request, Purpose::Download, now());
    let old = sign().unwrap();
    let verifies = |signed: &SignedUrl| {
        let (path, query) = parts(signed);
        clone.verify("GET", path, query, now()).is_ok()
    };
    let first = SigningKey::new("k1", SECRET).unwrap();
    clone.replace_keys(SigningKeys::new(vec![other.clone(), first]).unwrap());
    let new = sign().unwrap();
    assert!(new.url.contains("?kid=k2&"));
    assert!(verifies(&old) && verifies(&new), "both keys are there");
    clone.replace_keys(SigningKeys::new(vec![other]).unwrap());
    assert!(!verifies(&old), "its key is gone");
    assert!(verifies(&new));
}
