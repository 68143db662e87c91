//! The seventh link: does a URL that is made for the bytes work? The URL is never shown.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_RANGE, RANGE};
use stockroom_catalog::AssetRow;
use stockroom_storage::{Disposition, SignedUrl};
use url::{Host, Url};

use super::Surroundings;
use super::chain::{Outcome, State};
use super::way::Way;
use crate::app::App;
use crate::doctor::finding::clause;
use crate::flows::deliver::{self, Delivery, Link, LinkTo, Presentation};
use crate::flows::error::FlowError;

/// How long the URL lives: as long as one that a buyer gets, so that clocks which differ make no
/// difference here that they do not make there.
const LIFE: Duration = Duration::from_secs(900);

/// How much of a refusal is read.
const MAX_REFUSAL_BYTES: usize = 4_096;

/// Makes a URL as a buyer would get it, by whichever store signs, and tries it.
pub(super) async fn examine(
    surroundings: &Surroundings<'_>,
    asset: &AssetRow,
    bytes: State,
) -> Outcome {
    let app = surroundings.app;
    let Link { signed, store, .. } = match sign(app, asset).await {
        Ok(link) => link,
        Err(error) => {
            return Outcome::broken(
                format!("No link can be made: {error}."),
                "stockroom doctor looks at the store that signs, and at the signing keys.",
            );
        }
    };
    let own = format!("{}/files/", app.public_url);
    match signed.url.strip_prefix(&own) {
        Some(tail) => with_streams(app, asset, local(app, asset, tail)),
        None if bytes.holds() != Some(true) => Outcome::skipped(
            "Not tried: the bucket would sign it, and has no copy that is known to be well.",
        ),
        None => {
            let way = store.and_then(|name| surroundings.way(&name));
            let outcome = presigned(way, asset, &signed).await;
            with_streams(app, asset, outcome)
        }
    }
}

async fn sign(app: &App, asset: &AssetRow) -> Result<Link, FlowError> {
    let presentation = Presentation {
        disposition: Disposition::Attachment {
            filename: Some(asset.filename.as_str().to_owned()),
        },
        content_type: Some(asset.object.content_type.clone()),
    };
    deliver::sign(app, &asset.object, presentation, LinkTo::Asset, LIFE).await
}

/// A URL of this server: the signer must take what it made.
fn local(app: &App, asset: &AssetRow, tail: &str) -> Outcome {
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let verified = app.signer.verify("GET", path, query, app.clock.now());
    match verified {
        Ok(verified) if verified.key == asset.object.location => reachable(
            &app.public_url,
            "PUBLIC_URL",
            "This server signs a link and accepts it again",
        ),
        Ok(_) | Err(_) => Outcome::broken(
            "This server does not accept the link that it signed.",
            "Restart the server; if it stays so, make new keys with stockroom signing-key rotate.",
        ),
    }
}

/// A URL of the bucket: one byte is fetched with it, as the buyer would.
async fn presigned(way: Option<&Way<'_>>, asset: &AssetRow, signed: &SignedUrl) -> Outcome {
    let tried_by = way.and_then(|way| Some((way, way.client()?)));
    let Some((way, client)) = tried_by else {
        return Outcome::unknown(
            "The link cannot be tried: this machine can make no connection to the bucket.",
            "stockroom doctor looks closer.",
        );
    };
    let setting = match way.settings().public_endpoint {
        Some(_) => "S3_PUBLIC_ENDPOINT",
        None => "S3_ENDPOINT",
    };
    let size_bytes = asset.object.size_bytes;
    let mut request = client.get(&signed.url);
    if size_bytes > 0 {
        request = request.header(RANGE, "bytes=0-0");
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return unreachable(setting, &error.without_url()),
    };
    let total = answer
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|range| range.to_str().ok()?.rsplit('/').next()?.parse::<u64>().ok());
    match answer.status() {
        StatusCode::PARTIAL_CONTENT if total == Some(size_bytes) => {}
        StatusCode::OK if answer.content_length() == Some(size_bytes) => {}
        status if status.is_success() => {
            return Outcome::broken(
                "The bucket's link leads to other bytes than were recorded.",
                format!("Look for a proxy or another server at the address in {setting}."),
            );
        }
        _ => return refused(way, setting, answer).await,
    }
    let origin = signed.url.split('?').next().unwrap_or_default();
    reachable(
        origin,
        "S3_PUBLIC_ENDPOINT",
        "A byte came by a link that the bucket signed",
    )
}

fn unreachable(setting: &str, error: &reqwest::Error) -> Outcome {
    let why = if error.is_timeout() {
        "there is no answer".to_owned()
    } else if error.is_connect() {
        "no connection can be made".to_owned()
    } else {
        clause(&error.to_string()).to_owned()
    };
    Outcome::broken(
        format!("The bucket's links lead to the address in {setting}, and from here {why}."),
        format!(
            "Set {setting} to an address at which buyers reach the bucket, and check name, port \
             and certificate there."
        ),
    )
}

async fn refused(way: &Way<'_>, setting: &str, mut answer: reqwest::Response) -> Outcome {
    let status = answer.status();
    if status == StatusCode::FORBIDDEN
        && let Some(finding) = way.refusal().await
    {
        return Outcome::broken(finding.sentence, finding.fix.unwrap_or_default());
    }
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() >= MAX_REFUSAL_BYTES {
            break;
        }
    }
    let code = code(&String::from_utf8_lossy(&body));
    let fix = match code.as_deref() {
        // The key is right, as was found out before.
        Some("SignatureDoesNotMatch") => {
            format!(
                "Let what stands at the address in {setting} pass the Host header on unchanged."
            )
        }
        Some("NoSuchKey") => {
            "Run stockroom verify --repair: the bucket does not have the file under its name."
                .to_owned()
        }
        _ => format!("Check that {setting} leads to the bucket; stockroom doctor looks closer."),
    };
    let code = code.map(|code| format!(" {code}")).unwrap_or_default();
    Outcome::broken(
        format!(
            "The bucket refuses the link that was signed for it: {}{code}.",
            status.as_u16()
        ),
        fix,
    )
}

/// The code in S3's answer to what it refuses, if it looks like one.
fn code(body: &str) -> Option<String> {
    let (_, after) = body.split_once("<Code>")?;
    let (code, _) = after.split_once("</Code>")?;
    let is_code = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    is_code.then(|| code.to_owned())
}

/// Where downloads are streams, a link that does not work keeps nobody from downloading them.
fn with_streams(app: &App, asset: &AssetRow, outcome: Outcome) -> Outcome {
    let streams = deliver::choose(app, &asset.object, None) == Delivery::Stream;
    if outcome.state != State::Broken || !streams {
        return outcome;
    }
    Outcome {
        detail: format!(
            "{} Downloads through this server work all the same.",
            outcome.detail
        ),
        ..outcome
    }
}

/// A link that works here, and who else can follow it.
fn reachable(url: &str, setting: &str, works: &str) -> Outcome {
    let fix = || format!("Set {setting} to the address at which buyers reach it.");
    match Url::parse(url).ok().as_ref().and_then(audience) {
        None => Outcome::ok(format!("{works}.")),
        Some(Audience::Nobody) => Outcome::broken(
            format!("{works}, but it begins with an address that nobody can connect to."),
            fix(),
        ),
        Some(Audience::Only(who)) => {
            Outcome::warning(format!("{works}, and only {who} can follow it."), fix())
        }
        Some(Audience::Untold) => Outcome::warning(
            format!("{works}; with port 0, only the server that runs knows its address."),
            fix(),
        ),
    }
}

/// Who can follow a URL that not everybody can.
enum Audience {
    Nobody,
    Only(&'static str),
    Untold,
}

fn audience(url: &Url) -> Option<Audience> {
    const THIS_MACHINE: Audience = Audience::Only("this machine");
    if url.port() == Some(0) {
        return Some(Audience::Untold);
    }
    let address: IpAddr = match url.host()? {
        Host::Domain("localhost") => return Some(THIS_MACHINE),
        Host::Domain(_) => return None,
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
    };
    let is_private = match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    if address.is_unspecified() {
        Some(Audience::Nobody)
    } else if address.is_loopback() {
        Some(THIS_MACHINE)
    } else if is_private {
        Some(Audience::Only("its own network"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_follow_a_link_is_seen_from_its_address() {
        for (url, state) in [
            ("https://files.example.com", State::Ok),
            ("https://203.0.113.7:8443", State::Ok),
            ("http://127.0.0.1:8080", State::Warning),
            ("http://localhost:8080", State::Warning),
            ("http://[::1]:8080", State::Warning),
            ("http://10.1.2.3", State::Warning),
            ("http://[fd00::1]", State::Warning),
            ("http://127.0.0.1:0", State::Warning),
            ("http://0.0.0.0:8080", State::Broken),
            ("http://[::]:8080", State::Broken),
        ] {
            let outcome = reachable(url, "PUBLIC_URL", "It works");
            assert_eq!(outcome.state, state, "{url}");
            let fix = outcome.fix.unwrap_or_default();
            assert_eq!(fix.contains("PUBLIC_URL"), state != State::Ok, "{url}");
        }
    }

    #[test]
    fn only_a_code_is_taken_from_a_refusal() {
        let body = "<?xml?><Error><Code>NoSuchKey</Code><Key>a</Key></Error>";
        assert_eq!(code(body).as_deref(), Some("NoSuchKey"));
        for odd in [
            "",
            "<Code>",
            "<Code></Code>",
            "<Code>http://a?X-Amz=1</Code>",
        ] {
            assert_eq!(code(odd), None, "{odd}");
        }
    }
}
