//! What the address of a bucket alone tells.

use super::finding::Finding;
use crate::config::S3Settings;

/// The domain of Backblaze's servers.
const B2_DOMAIN: &str = ".backblazeb2.com";

/// Looks at the settings of a bucket without sending anything. An error ends the chain.
pub(super) fn examine(settings: &S3Settings, findings: &mut Vec<Finding>) -> Result<(), Finding> {
    let endpoint = &settings.endpoint;
    let Some(name) = endpoint.host().strip_suffix(B2_DOMAIN) else {
        return Ok(());
    };
    if !endpoint.is_https() {
        return Err(Finding::error(
            "s3.plain-http",
            "S3_ENDPOINT begins with http://, and Backblaze answers over https only.",
            format!("Set S3_ENDPOINT to https://{}.", endpoint.host()),
        ));
    }
    match name.strip_prefix("s3.") {
        Some(region) if region != settings.region => findings.push(Finding::warning(
            "s3.region-differs",
            format!(
                "S3_REGION is {}, and S3_ENDPOINT names the region {region}.",
                settings.region
            ),
            format!("Set S3_REGION to {region}, or leave it out."),
        )),
        Some(_) => {}
        None => findings.push(undocumented(name)),
    }
    // Source: <https://www.backblaze.com/docs/cloud-storage-buckets>.
    if settings.bucket.len() < 6 || settings.bucket.contains('.') {
        findings.push(Finding::warning(
            "s3.bucket-name",
            format!(
                "S3_BUCKET is {:?}, a name that no bucket at Backblaze can have.",
                settings.bucket
            ),
            "Copy the bucket's name from Backblaze: 6 characters or more, without dots.",
        ));
    }
    Ok(())
}

/// A server of Backblaze's that is not one of the documented S3 endpoints.
fn undocumented(name: &str) -> Finding {
    // Names of regions have hyphens (us-west-004); those of other servers have none (f004).
    let documented = if name.contains('-') && !name.contains('.') {
        format!("Set S3_ENDPOINT to https://s3.{name}{B2_DOMAIN}.")
    } else {
        "Set S3_ENDPOINT to https:// and the Endpoint that Backblaze shows for the bucket, \
         such as https://s3.us-west-004.backblazeb2.com."
            .to_owned()
    };
    Finding::warning(
        "s3.endpoint-without-s3",
        format!("S3_ENDPOINT is {name}{B2_DOMAIN}, which is no documented S3 endpoint."),
        documented,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::bucket::tests::settings;

    fn examined(endpoint: &str, region: &str, bucket: &str) -> Vec<Finding> {
        let settings = settings(&[
            ("S3_ENDPOINT", endpoint),
            ("S3_REGION", region),
            ("S3_BUCKET", bucket),
        ]);
        let mut findings = Vec::new();
        findings.extend(examine(&settings, &mut Vec::new()).err());
        if findings.is_empty() {
            assert_eq!(examine(&settings, &mut findings), Ok(()));
        }
        findings
    }

    #[track_caller]
    fn assert_fix(findings: &[Finding], id: &str, fix: &str) {
        let [finding] = findings else {
            panic!("not one finding: {findings:?}");
        };
        assert_eq!(finding.id, id);
        let found = finding.fix.as_deref().unwrap_or_default();
        assert!(found.contains(fix), "{found}");
    }

    #[test]
    fn a_documented_address_is_right() {
        let region = "eu-central-003";
        let found = examined(
            "https://s3.eu-central-003.backblazeb2.com",
            region,
            "a-shop",
        );
        assert_eq!(found, []);
        assert_eq!(examined("http://127.0.0.1:3900", "garage", "abc"), []);
    }

    #[test]
    fn the_documented_endpoint_is_offered() {
        let region = "eu-central-003";
        assert_fix(
            &examined("https://eu-central-003.backblazeb2.com", region, "a-shop"),
            "s3.endpoint-without-s3",
            "https://s3.eu-central-003.backblazeb2.com",
        );
        assert_fix(
            &examined("https://f003.backblazeb2.com", region, "a-shop"),
            "s3.endpoint-without-s3",
            "Endpoint that Backblaze shows",
        );
    }

    #[test]
    fn plain_http_to_b2_is_an_error() {
        let region = "eu-central-003";
        assert_fix(
            &examined("http://s3.eu-central-003.backblazeb2.com", region, "a-shop"),
            "s3.plain-http",
            "https://s3.eu-central-003.backblazeb2.com",
        );
    }

    #[test]
    fn another_region_and_an_impossible_bucket_are_seen() {
        let endpoint = "https://s3.eu-central-003.backblazeb2.com";
        assert_fix(
            &examined(endpoint, "us-west-004", "a-shop"),
            "s3.region-differs",
            "eu-central-003",
        );
        assert_fix(
            &examined(endpoint, "eu-central-003", "shop"),
            "s3.bucket-name",
            "6 characters",
        );
    }
}
