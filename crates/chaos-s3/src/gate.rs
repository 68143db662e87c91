//! Checks of the credential scope that come before the signature is verified: algorithm, clock,
//! key id and region. The `s3s` crate verifies the signature itself, but knows neither the
//! server's region nor a clock that is wrong on purpose.

use std::time::Duration;

use http::request::Parts;
use s3s::dto::Timestamp;

use crate::answer::Refusal;
use crate::clock::{ServerClock, parse_amz_date, rfc3339};
use crate::operation::query_pairs;
use crate::options::{Options, Profile};

/// How far a request's time may be off.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// The longest a presigned URL may be valid, in seconds: 7 days.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.
const MAX_PRESIGN_S: u64 = 604_800;

/// What the request claims about how it was signed.
struct Claim {
    /// `key id/date/region/service/aws4_request`
    credential: String,
    date: String,
    /// `Some` for a presigned URL.
    expires_s: Option<String>,
}

/// Refuses a request whose credential scope is wrong. A request without any signature passes;
/// the access check refuses that one.
pub(crate) fn check(options: &Options, clock: &ServerClock, parts: &Parts) -> Result<(), Refusal> {
    let Some(claim) = claim(parts)? else {
        return Ok(());
    };
    let mut scope = claim.credential.split('/');
    let (Some(key_id), Some(_date), Some(region)) = (scope.next(), scope.next(), scope.next())
    else {
        return Err(Refusal::new(
            400,
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the Credential is mal-formed.",
        ));
    };

    check_time(clock, &claim)?;
    if options.find_key(key_id).is_none() {
        return Err(unknown_key(options.profile));
    }
    if region != options.region {
        return Err(wrong_region(region, &options.region));
    }
    Ok(())
}

fn unknown_key(profile: Profile) -> Refusal {
    let message = match profile {
        Profile::B2 => "Malformed Access Key Id",
        Profile::S3 => "The AWS Access Key Id you provided does not exist in our records.",
    };
    Refusal::new(403, "InvalidAccessKeyId", message)
}

fn claim(parts: &Parts) -> Result<Option<Claim>, Refusal> {
    let query: Vec<(String, String)> = query_pairs(parts.uri.query().unwrap_or("")).collect();
    let in_query = |name: &str| {
        query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.clone())
    };
    let in_header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());

    if let Some(credential) = in_query("X-Amz-Credential") {
        return Ok(Some(Claim {
            credential,
            date: in_query("X-Amz-Date").unwrap_or_default(),
            expires_s: Some(in_query("X-Amz-Expires").unwrap_or_default()),
        }));
    }
    let authorization = in_header("authorization");
    if in_query("Signature").is_some() || authorization.is_some_and(|a| a.starts_with("AWS ")) {
        return Err(Refusal::new(
            400,
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        ));
    }
    let Some(authorization) = authorization else {
        return Ok(None);
    };
    let credential = authorization
        .split([' ', ','])
        .find_map(|field| field.strip_prefix("Credential="))
        .unwrap_or_default();
    Ok(Some(Claim {
        credential: credential.to_owned(),
        date: in_header("x-amz-date").unwrap_or_default().to_owned(),
        expires_s: None,
    }))
}

fn check_time(clock: &ServerClock, claim: &Claim) -> Result<(), Refusal> {
    let now = clock.now();
    let Some(date) = parse_amz_date(&claim.date) else {
        return Err(Refusal::new(
            403,
            "AccessDenied",
            "AWS authentication requires a valid Date or x-amz-date header",
        ));
    };
    let too_new = date > Timestamp::from(now + MAX_SKEW);
    let Some(expires_s) = &claim.expires_s else {
        let too_old = date < Timestamp::from(now - MAX_SKEW);
        return if too_new || too_old {
            Err(skewed(clock, claim))
        } else {
            Ok(())
        };
    };
    if too_new {
        return Err(skewed(clock, claim));
    }
    let expires_s: u64 = match expires_s.parse() {
        Ok(seconds) if seconds <= MAX_PRESIGN_S => seconds,
        _ => {
            return Err(Refusal::new(
                400,
                "AuthorizationQueryParametersError",
                "X-Amz-Expires must be a number of seconds of at most 604800",
            ));
        }
    };
    if date < Timestamp::from(now - Duration::from_secs(expires_s)) {
        return Err(Refusal::new(403, "AccessDenied", "Request has expired")
            .element("ServerTime", rfc3339(now)));
    }
    Ok(())
}

fn skewed(clock: &ServerClock, claim: &Claim) -> Refusal {
    Refusal::new(
        403,
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    )
    .element("RequestTime", claim.date.clone())
    .element("ServerTime", rfc3339(clock.now()))
    .element("MaxAllowedSkewMilliseconds", "900000")
}

fn wrong_region(given: &str, expected: &str) -> Refusal {
    Refusal::new(
        400,
        "AuthorizationHeaderMalformed",
        format!(
            "The authorization header is malformed; the region '{given}' is wrong; expecting '{expected}'"
        ),
    )
    .element("Region", expected)
    .header("x-amz-bucket-region", expected)
}
