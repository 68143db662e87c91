//! The bucket: where it is, how it is addressed, and the key to it.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use stockroom_domain::StoreName;
use stockroom_storage::{Mode, S3Config, Secret};

use super::files;
use super::problem::{Fault, Source, fault};
use super::reader::{Noted, Reader};

use super::values::{HttpUrl, choice};
use super::variable::{self, Variable};

/// A bucket and the key to it.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The name by which the record knows the bucket.
    pub name: StoreName,
    /// The server: a scheme, a host and perhaps a port.
    pub endpoint: HttpUrl,
    /// The region that requests are signed for.
    pub region: String,
    /// The name of the bucket.
    pub bucket: String,
    /// The id of the key.
    pub key_id: Secret,
    /// The key.
    pub application_key: Secret,
    /// How the bucket is addressed.
    pub path_style: PathStyle,
    /// The server as others see it; signed URLs are made for it.
    pub public_endpoint: Option<HttpUrl>,
    /// Certificate authorities to trust besides the system's own.
    pub ca: Option<CaFile>,
}

impl S3Settings {
    /// The same, for a store.
    #[must_use]
    pub fn store_config(&self) -> S3Config {
        S3Config {
            name: self.name.clone(),
            path_style: self.uses_path_style(),
            public_endpoint: self.public_endpoint.as_ref().map(ToString::to_string),
            ca_pem: self.ca.as_ref().map(|ca| ca.pem.clone()),
            ..S3Config::new(
                self.endpoint.as_str(),
                &self.region,
                &self.bucket,
                self.key_id.expose(),
                self.application_key.clone(),
            )
        }
    }

    /// Whether requests name the bucket in the path (`true`) or in the host name. `auto` is the
    /// path everywhere but at AWS: B2 takes both, and a private server rarely has a name for each
    /// bucket, while AWS asks for host names.
    #[must_use]
    pub fn uses_path_style(&self) -> bool {
        match self.path_style {
            PathStyle::Always => true,
            PathStyle::Never => false,
            PathStyle::Auto => {
                let host = self.endpoint.host();
                !(host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
            }
        }
    }
}

/// Whether the bucket stands in the path of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathStyle {
    /// Depends on the endpoint, see [`S3Settings::uses_path_style`].
    Auto,
    /// In the path.
    Always,
    /// In the host name.
    Never,
}

/// A file of certificates.
#[derive(Clone, PartialEq, Eq)]
pub struct CaFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its content: at least one certificate in PEM form, and none that cannot be read.
    pub pem: Vec<u8>,
}

impl fmt::Debug for CaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Reads the settings of a bucket; `None` when they are not complete and nobody needs them.
/// `needed_by` is the end of a sentence about what is missing.
pub(super) fn read(
    reader: &mut Reader<'_>,
    needed_by: Option<&str>,
) -> Result<Option<S3Settings>, Noted> {
    let bucket = reader.read_optional(&variable::S3_BUCKET, bucket_name);
    let endpoint = reader.read_optional(&variable::S3_ENDPOINT, |text| {
        endpoint(text, bucket.as_ref().ok().and_then(Option::as_deref))
    });
    let region = read_region(reader, &endpoint);
    let key_id = reader.read_optional(&variable::S3_KEY_ID, key_part);
    let application_key = reader.read_optional(&variable::S3_APPLICATION_KEY, key_part);
    let path_style = reader.read(&variable::S3_PATH_STYLE, "auto", |text| {
        choice(
            text,
            &[
                ("auto", PathStyle::Auto),
                ("true", PathStyle::Always),
                ("false", PathStyle::Never),
            ],
        )
    });
    let public_endpoint = reader.read_optional(&variable::S3_PUBLIC_ENDPOINT, HttpUrl::parse_root);
    let ca = read_ca_file(reader, &variable::S3_CA_FILE);
    let name = reader.read(&variable::S3_STORE_NAME, "s3", store_name);

    let endpoint = needed(reader, needed_by, &variable::S3_ENDPOINT, endpoint);
    let region = needed(reader, needed_by, &variable::S3_REGION, region);
    let bucket = needed(reader, needed_by, &variable::S3_BUCKET, bucket);
    let key_id = needed(reader, needed_by, &variable::S3_KEY_ID, key_id);
    let application_key = needed(
        reader,
        needed_by,
        &variable::S3_APPLICATION_KEY,
        application_key,
    );

    let (name, path_style) = (name?, path_style?);
    let (public_endpoint, ca) = (public_endpoint?, ca?);
    let required = (endpoint?, region?, bucket?, key_id?, application_key?);
    let (Some(endpoint), Some(region), Some(bucket), Some(key_id), Some(application_key)) =
        required
    else {
        return Ok(None);
    };
    Ok(Some(S3Settings {
        name,
        endpoint,
        region,
        bucket,
        key_id,
        application_key,
        path_style,
        public_endpoint,
        ca,
    }))
}

/// A value that somebody may be unable to do without.
fn needed<T>(
    reader: &mut Reader<'_>,
    needed_by: Option<&str>,
    variable: &Variable,
    value: Result<Option<T>, Noted>,
) -> Result<Option<T>, Noted> {
    let value = value?;
    if let (None, Some(needed_by)) = (&value, needed_by) {
        let wrong = format!("is not set, and {needed_by}");
        let mut fix = format!("Set it, or {}_FILE to a file that holds it", variable.name);
        if *variable == variable::S3_REGION {
            fix.push_str(
                "; an endpoint such as https://s3.us-west-004.backblazeb2.com tells it too",
            );
        }
        return Err(reader.problem(variable, fault(wrong, fix)));
    }
    Ok(value)
}

fn read_region(
    reader: &mut Reader<'_>,
    endpoint: &Result<Option<HttpUrl>, Noted>,
) -> Result<Option<String>, Noted> {
    let written = reader.read_optional(&variable::S3_REGION, region_name)?;
    if written.is_some() {
        return Ok(written);
    }
    let Ok(Some(endpoint)) = endpoint else {
        return Ok(None);
    };
    let derived = b2_region(endpoint.host());
    if let Some(region) = derived {
        let source = Source::DerivedFrom(variable::S3_ENDPOINT.name);
        reader.report(&variable::S3_REGION, region, source);
    }
    Ok(derived.map(str::to_owned))
}

/// The region in a documented B2 endpoint, `s3.<region>.backblazeb2.com`.
fn b2_region(host: &str) -> Option<&str> {
    host.strip_prefix("s3.")?
        .strip_suffix(".backblazeb2.com")
        .filter(|region| !region.is_empty() && !region.contains('.'))
}

fn endpoint(text: &str, bucket: Option<&str>) -> Result<HttpUrl, Fault> {
    let url = HttpUrl::parse_root(text)?;
    // What a console shows for a bucket is often this form. Path style would then name it twice.
    if bucket.is_some_and(|bucket| url.host().starts_with(&format!("{bucket}.s3."))) {
        return Err(fault(
            "names the bucket as well",
            "Remove the bucket and the dot behind it, so that the host begins with s3",
        ));
    }
    Ok(url)
}

/// The rules for names of buckets that every S3 server shares: AWS, "General purpose bucket naming
/// rules". B2 asks for 6 characters at least and leaves out dots; doctor sees that.
fn bucket_name(text: &str) -> Result<String, Fault> {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_inner = |c: char| is_end(c) || matches!(c, '-' | '.');
    let is_name = (3..=63).contains(&text.len())
        && text.chars().all(is_inner)
        && text.starts_with(is_end)
        && text.ends_with(is_end)
        && !text.contains("..")
        && text.parse::<std::net::Ipv4Addr>().is_err();
    if !is_name {
        return Err(fault(
            "is not the name of a bucket",
            "Write 3 to 63 lower-case letters, digits, hyphens and dots, with a letter or digit at both ends",
        ));
    }
    Ok(text.to_owned())
}

fn region_name(text: &str) -> Result<String, Fault> {
    let is_name = text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_name {
        return Err(fault(
            "is not the name of a region",
            "Write its name only, for example us-west-004",
        ));
    }
    Ok(text.to_owned())
}

/// A name for a bucket in the record. The folder has one already, and both together are a mode.
fn store_name(text: &str) -> Result<StoreName, Fault> {
    let name = text
        .parse::<StoreName>()
        .ok()
        .filter(|name| *name != StoreName::LOCAL && name.as_str() != Mode::Hybrid.as_str());
    name.ok_or_else(|| {
        fault(
            "is no name for a bucket",
            "Write 1 to 32 lower-case letters, digits and hyphens, and neither local nor hybrid",
        )
    })
}

fn key_part(text: &str) -> Result<Secret, Fault> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fault(
            "holds a blank or a character that no key has",
            "Copy it again, without anything around it",
        ));
    }
    Ok(Secret::new(text))
}

/// Reads a setting that names a file of certificates.
pub(super) fn read_ca_file(
    reader: &mut Reader<'_>,
    variable: &Variable,
) -> Result<Option<CaFile>, Noted> {
    let path = reader.read_optional(variable, |text| Ok(text.to_owned()))?;
    let Some(path) = path else {
        return Ok(None);
    };
    let path = reader.resolve(&path);
    match certificates(&path) {
        Ok(pem) => Ok(Some(CaFile { path, pem })),
        Err(fault) => Err(reader.problem(variable, fault)),
    }
}

/// The content of a file of certificates, all of which can be read.
fn certificates(path: &Path) -> Result<Vec<u8>, Fault> {
    let pem = files::read(path, true)?;
    let not_pem = || {
        fault(
            "is the path of a file that holds no certificate in PEM form",
            "Name a file with at least one block that begins with -----BEGIN CERTIFICATE-----",
        )
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| not_pem())?;
    let (usable, unusable) = RootCertStore::empty().add_parsable_certificates(certificates);
    if usable == 0 || unusable > 0 {
        return Err(not_pem());
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_buckets_follow_the_rules_of_s3() {
        for name in ["abc", "my-shop-files", "a.b.c", "1a1", &"a".repeat(63)] {
            assert!(bucket_name(name).is_ok(), "{name}");
        }
        for name in [
            "ab",
            &"a".repeat(64),
            "My-Bucket",
            "-abc",
            "abc-",
            ".abc",
            "a..b",
            "a_b_c",
            "a/b/c",
            "192.168.1.1",
            "grün",
        ] {
            assert!(bucket_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_region_follows_from_a_documented_b2_endpoint_only() {
        assert_eq!(
            b2_region("s3.us-west-004.backblazeb2.com"),
            Some("us-west-004")
        );
        for host in [
            "us-west-004.backblazeb2.com",
            "bucket.s3.us-west-004.backblazeb2.com",
            "s3..backblazeb2.com",
            "s3.a.b.backblazeb2.com",
            "s3.us-east-1.amazonaws.com",
        ] {
            assert_eq!(b2_region(host), None, "{host}");
        }
    }

    #[test]
    fn an_endpoint_must_not_name_the_bucket() {
        let text = "https://my-shop.s3.us-west-004.backblazeb2.com";
        assert!(endpoint(text, Some("my-shop")).is_err());
        assert!(endpoint(text, None).is_ok());
        assert!(endpoint("https://my-shop.example.com", Some("my-shop")).is_ok());
    }

    #[test]
    fn only_aws_gets_host_names_by_itself() {
        let settings = |endpoint: &str, path_style| S3Settings {
            name: StoreName::S3,
            endpoint: HttpUrl::parse_root(endpoint).expect("an endpoint"),
            region: "r".to_owned(),
            bucket: "abc".to_owned(),
            key_id: Secret::new("i"),
            application_key: Secret::new("k"),
            path_style,
            public_endpoint: None,
            ca: None,
        };
        for (endpoint, style, path) in [
            (
                "https://s3.us-west-004.backblazeb2.com",
                PathStyle::Auto,
                true,
            ),
            ("http://127.0.0.1:3900", PathStyle::Auto, true),
            ("http://localhost:3900", PathStyle::Auto, true),
            (
                "https://s3.eu-central-1.amazonaws.com",
                PathStyle::Auto,
                false,
            ),
            (
                "https://s3.eu-central-1.amazonaws.com",
                PathStyle::Always,
                true,
            ),
            ("https://notamazonaws.com", PathStyle::Auto, true),
            ("http://127.0.0.1:3900", PathStyle::Never, false),
        ] {
            assert_eq!(
                settings(endpoint, style).uses_path_style(),
                path,
                "{endpoint}"
            );
        }
    }
}
