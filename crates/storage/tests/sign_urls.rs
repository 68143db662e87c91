//! Signed URLs: pinned vectors, and mutations of which none may be accepted (invariant 11).
#![expect(
    clippy::expect_used,
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
    assert_none_is_accepted(QUICK_MUTATIONS);
}

#[test]
#[ignore = "a million takes half a minute without optimisation"]
fn no_mutation_of_a_million_is_accepted() {
    assert_none_is_accepted(1_000_000);
}

/// As many as take a second or two without optimisation.
const QUICK_MUTATIONS: usize = 100_000;

/// Changes URLs that are good in one to three ways at a time; none of what comes out may be taken.
fn assert_none_is_accepted(mutations: usize) {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let signer = signer();
    let originals = originals(&signer);
    let known: HashSet<&str> = originals.iter().map(String::as_str).collect();
    let mut counts = [0_u32; MUTATIONS.len()];
    let (mut tried, mut reached_the_mac) = (0, 0);
    while tried < mutations {
        let mut text = originals.choose(&mut random).unwrap().clone();
        let mut used = [0; MUTATIONS.len()];
        for _ in 0..random.random_range(1..=3) {
            let which = random.random_range(0..MUTATIONS.len());
            let (_, mutate) = MUTATIONS[which];
            text = mutate(&text, &originals, &mut random);
            used[which] = 1;
        }
        let Some((path, query)) = text.split_once('?') else {
            continue;
        };
        if known.contains(text.as_str()) {
            continue;
        }
        tried += 1;
        for (count, used) in counts.iter_mut().zip(used) {
            *count += used;
        }
        let method = ["GET", "HEAD", "PUT"].choose(&mut random).unwrap();
        let verified = signer.verify(method, path, query, now());
        assert_eq!(
            verified,
            Err(SignatureError::Bad),
            "{method} {text}; to replay: STOCKROOM_SEED={seed}"
        );
        reached_the_mac += usize::from(is_written_as_signed(query));
    }
    let kinds: Vec<String> = MUTATIONS
        .iter()
        .zip(counts)
        .map(|((name, _), count)| format!("{name} {count}"))
        .collect();
    println!(
        "figure: {tried} mutations of signed URLs, {reached_the_mac} of them with all parameters in \
         their order and a whole signature, seed {seed}: 0 accepted ({})",
        kinds.join(", ")
    );
    assert!(
        reached_the_mac > tried / 20,
        "hardly any looked like a signed URL"
    );
}

/// The seed of this run, which is printed.
fn seed() -> u64 {
    let entropy: &dyn Entropy = &SystemEntropy;
    let seed = match std::env::var("STOCKROOM_SEED") {
        Ok(text) => text.parse().expect("STOCKROOM_SEED is a whole number"),
        Err(_) => u64::from_be_bytes(entropy.bytes()),
    };
    println!("seed {seed}; to replay: STOCKROOM_SEED={seed}");
    seed
}

/// Whether only the comparison of signatures can tell a query from a good one, as far as its names
/// go: a run in which no mutation got that far would prove little.
fn is_written_as_signed(query: &str) -> bool {
    const NAMES: [&str; 9] = [
        "kid",
        "exp",
        "method",
        "disposition",
        "filename",
        "type",
        "purpose",
        "for",
        "sig",
    ];
    const REQUIRED: usize = 6;
    let names: Vec<Option<usize>> = query
        .split('&')
        .map(|pair| {
            NAMES
                .iter()
                .position(|name| Some(*name) == pair.split('=').next())
        })
        .collect();
    let signature = query.rsplit('=').next().unwrap_or_default();
    let is_ordered = names.is_sorted_by(|one, other| one < other);
    let required = |name: &Option<usize>| !matches!(name, Some(4 | 5 | 7));
    let count = names.iter().filter(|name| required(name)).count();
    names.iter().all(Option::is_some) && is_ordered && count == REQUIRED && signature.len() == 43
}

/// URLs that differ in one thing each, so that parts can be moved between them; one has expired.
fn originals(signer: &UrlSigner) -> Vec<String> {
    let mut originals = Vec::new();
    let mut add = |holder: Option<&str>, key_text: &str, request: &SignRequest, purpose, at| {
        let signed = signer.sign_for(holder, &key(key_text), request, purpose, at);
        let signed = signed.unwrap();
        let (path, query) = parts(&signed);
        originals.push(format!("{path}?{query}"));
    };
    let request = SignRequest::get(Duration::from_secs(900));
    let helmet = "models/42/helmet.stl";
    let long_ago = now().before(MAX_EXPIRES_IN);
    add(None, helmet, &request, Purpose::Download, now());
    add(None, helmet, &request, Purpose::Object, now());
    add(None, helmet, &request, Purpose::Download, long_ago);
    add(
        None,
        "models/42/helmet.st",
        &request,
        Purpose::Download,
        now(),
    );
    add(
        None,
        "images/Größe 1+1.png",
        &upload(),
        Purpose::Object,
        now(),
    );
    for holder in ["pur_1", "pur_2", "download"] {
        add(Some(holder), helmet, &request, Purpose::Download, now());
    }
    let named = SignRequest {
        disposition: Disposition::Attachment {
            filename: Some("download".to_owned()),
        },
        ..request.clone()
    };
    add(None, helmet, &named, Purpose::Download, now());
    let typed = SignRequest {
        content_type: Some("download".to_owned()),
        ..request
    };
    add(None, helmet, &typed, Purpose::Download, now());
    originals
}

/// A way to change a URL. Others lend their parts.
type Mutate = fn(&str, &[String], &mut StdRng) -> String;

const MUTATIONS: [(&str, Mutate); 15] = [
    ("bit flipped", |text, _, random| {
        let mut bytes = text.as_bytes().to_vec();
        let at = random.random_range(0..bytes.len().max(1));
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << random.random_range(0..8);
        }
        String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
    }),
    ("character replaced", |text, _, random| {
        replace_one(text, random, |_, random| {
            let alphabet = b"abcXYZ0189-_.~%/&=+?; ";
            char::from(*alphabet.choose(random).unwrap()).to_string()
        })
    }),
    ("character dropped", |text, _, random| {
        replace_one(text, random, |_, _| String::new())
    }),
    ("character doubled", |text, _, random| {
        replace_one(text, random, |was, _| format!("{was}{was}"))
    }),
    ("case changed", |text, _, random| {
        if random.random_bool(0.1) {
            return text.to_ascii_uppercase();
        }
        replace_one(text, random, |was, _| {
            let byte = was.as_bytes()[0];
            let is_lower = byte.is_ascii_lowercase();
            match is_lower {
                true => was.to_ascii_uppercase(),
                false => was.to_ascii_lowercase(),
            }
        })
    }),
    ("character escaped", |text, _, random| {
        replace_one(text, random, |was, random| {
            let byte = was.as_bytes()[0];
            match random.random_bool(0.5) {
                true => format!("%{byte:02X}"),
                false => format!("%{byte:02x}"),
            }
        })
    }),
    ("escape changed", |text, _, random| {
        let at: Vec<usize> = text.match_indices('%').map(|(at, _)| at).collect();
        let Some(at) = at.choose(random).copied() else {
            return text.to_owned();
        };
        let (before, rest) = text.split_at(at);
        let digits = rest.get(1..3).unwrap_or_default();
        match random.random_range(0..3) {
            0 => format!("{before}%25{}", &rest[1..]),
            1 => text.replace(digits, &digits.to_ascii_lowercase()),
            _ => match u8::from_str_radix(digits, 16) {
                Ok(byte) if byte.is_ascii() => {
                    format!("{before}{}{}", char::from(byte), &rest[3..])
                }
                _ => text.to_owned(),
            },
        }
    }),
    ("cut", |text, _, random| {
        let at = random.random_range(0..=text.len());
        match random.random_bool(0.8) {
            true => text[..at].to_owned(),
            false => text[at..].to_owned(),
        }
    }),
    ("parameter dropped", |text, _, random| {
        with_parameters(text, random, |parameters, at, _| {
            drop(parameters.remove(at));
        })
    }),
    ("parameter doubled", |text, _, random| {
        with_parameters(text, random, |parameters, at, random| {
            let to = random.random_range(0..=parameters.len());
            parameters.insert(to, parameters[at].clone());
        })
    }),
    ("parameters shuffled", |text, _, random| {
        with_parameters(text, random, |parameters, _, random| {
            parameters.shuffle(random);
        })
    }),
    ("parameter altered", |text, _, random| {
        with_parameters(text, random, |parameters, at, random| {
            let name = parameters[at].split('=').next().unwrap();
            let values = [
                "",
                "GET",
                "PUT",
                "inline",
                "attachment",
                "object",
                "download",
                "k1",
            ];
            parameters[at] = match random.random_bool(0.5) {
                true => format!("{name}={}", random.random_range(0..4_000_000_000_u64)),
                false => format!("{name}={}", values.choose(random).unwrap()),
            };
        })
    }),
    ("parameter added from another", |text, others, random| {
        let foreign = parameter_of_another(others, random);
        with_parameters(text, random, |parameters, at, _| {
            parameters.insert(at, foreign);
        })
    }),
    ("parameter swapped with another", |text, others, random| {
        let foreign = parameter_of_another(others, random);
        with_parameters(text, random, |parameters, at, _| {
            let name = foreign.split('=').next().unwrap();
            let same = parameters
                .iter()
                .position(|parameter| parameter.split('=').next() == Some(name));
            parameters[same.unwrap_or(at)] = foreign;
        })
    }),
    ("path altered", |text, others, random| {
        let Some((path, query)) = text.split_once('?') else {
            return text.to_owned();
        };
        let (other, _) = others.choose(random).unwrap().split_once('?').unwrap();
        let path = match random.random_range(0..6) {
            0 => other.to_owned(),
            1 => format!("{path}/"),
            2 => format!("./{path}"),
            3 => format!("models/../{path}"),
            4 => path.replacen('/', "//", 1),
            _ => path
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder)
                .to_owned(),
        };
        format!("{path}?{query}")
    }),
];

/// Puts something in the place of one character.
fn replace_one(
    text: &str,
    random: &mut StdRng,
    with: impl FnOnce(&str, &mut StdRng) -> String,
) -> String {
    if text.is_empty() {
        return String::new();
    }
    // What was signed is ASCII, and no mutation adds anything else.
    let at = random.random_range(0..text.len());
    let new = with(&text[at..=at], random);
    format!("{}{new}{}", &text[..at], &text[at + 1..])
}

/// Changes the parameters of a URL, one of which is drawn.
fn with_parameters(
    text: &str,
    random: &mut StdRng,
    change: impl FnOnce(&mut Vec<String>, usize, &mut StdRng),
) -> String {
    let Some((path, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let mut parameters: Vec<String> = query.split('&').map(str::to_owned).collect();
    let at = random.random_range(0..parameters.len());
    change(&mut parameters, at, random);
    format!("{path}?{}", parameters.join("&"))
}

fn parameter_of_another(others: &[String], random: &mut StdRng) -> String {
    let (_, query) = others.choose(random).unwrap().split_once('?').unwrap();
    let parameters: Vec<&str> = query.split('&').collect();
    (*parameters.choose(random).unwrap()).to_owned()
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
