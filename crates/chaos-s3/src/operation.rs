//! Which S3 operation an HTTP request is, told from its method, path and query alone, so that
//! faults and the call log work for requests that never reach the S3 service.

use http::Method;
use http::request::Parts;
use percent_encoding::percent_decode_str;

/// The S3 operations this server tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each name is the S3 operation of that name")]
pub enum Operation {
    /// In a fault or a count: every operation. No call is logged as this one.
    Any,
    ListBuckets,
    HeadBucket,
    GetBucketLocation,
    GetBucketVersioning,
    GetBucketLifecycleConfiguration,
    PutBucketLifecycleConfiguration,
    GetBucketCors,
    PutBucketCors,
    ListObjectsV2,
    ListObjectVersions,
    ListMultipartUploads,
    PutObject,
    GetObject,
    HeadObject,
    CopyObject,
    DeleteObject,
    DeleteObjects,
    CreateMultipartUpload,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    /// A request that is none of the above.
    Other,
}

impl Operation {
    /// Whether a fault or a count for `self` is about a call of `other`.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self == Self::Any || self == other
    }

    /// Whether the request carries a small XML document, which is read whole.
    pub(crate) fn has_xml_body(self) -> bool {
        matches!(
            self,
            Self::PutBucketLifecycleConfiguration
                | Self::PutBucketCors
                | Self::DeleteObjects
                | Self::CompleteMultipartUpload
        )
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) operation: Operation,
    pub(crate) key: Option<String>,
}

impl Target {
    /// Reads the target off a path-style request.
    pub(crate) fn of(parts: &Parts) -> Self {
        let path = parts.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query: Vec<(String, String)> = query_pairs(parts.uri.query().unwrap_or("")).collect();
        let has = |name: &str| query.iter().any(|(n, _)| n == name);

        if bucket.is_empty() {
            let operation = match parts.method {
                Method::GET => Operation::ListBuckets,
                _ => Operation::Other,
            };
            return Self {
                operation,
                key: None,
            };
        }
        if key.is_empty() {
            return Self {
                operation: bucket_operation(&parts.method, &query),
                key: None,
            };
        }

        let is_copy = parts.headers.contains_key("x-amz-copy-source");
        let operation = match parts.method {
            _ if has("acl") || has("tagging") => Operation::Other,
            Method::GET if has("uploadId") => Operation::ListParts,
            Method::GET => Operation::GetObject,
            Method::HEAD => Operation::HeadObject,
            Method::PUT if has("partNumber") && !is_copy => Operation::UploadPart,
            Method::PUT if has("partNumber") => Operation::Other,
            Method::PUT if is_copy => Operation::CopyObject,
            Method::PUT => Operation::PutObject,
            Method::POST if has("uploads") => Operation::CreateMultipartUpload,
            Method::POST if has("uploadId") => Operation::CompleteMultipartUpload,
            Method::DELETE if has("uploadId") => Operation::AbortMultipartUpload,
            Method::DELETE => Operation::DeleteObject,
            _ => Operation::Other,
        };
        let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
        Self {
            operation,
            key: Some(key),
        }
    }
}

/// The decoded names and values of a query string, in its order.
pub(crate) fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(move |pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
}

fn bucket_operation(method: &Method, query: &[(String, String)]) -> Operation {
    let has = |name: &str| query.iter().any(|(n, _)| n == name);
    let is_v2 = query.iter().any(|(n, v)| n == "list-type" && v == "2");
    match *method {
        Method::HEAD => Operation::HeadBucket,
        Method::GET if has("location") => Operation::GetBucketLocation,
        Method::GET if has("versioning") => Operation::GetBucketVersioning,
        Method::GET if has("lifecycle") => Operation::GetBucketLifecycleConfiguration,
        Method::GET if has("cors") => Operation::GetBucketCors,
        Method::GET if has("versions") => Operation::ListObjectVersions,
        Method::GET if has("uploads") => Operation::ListMultipartUploads,
        Method::GET if is_v2 => Operation::ListObjectsV2,
        Method::PUT if has("lifecycle") => Operation::PutBucketLifecycleConfiguration,
        Method::PUT if has("cors") => Operation::PutBucketCors,
        Method::POST if has("delete") => Operation::DeleteObjects,
        _ => Operation::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: &str, uri: &str) -> Target {
        let (parts, ()) = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .unwrap()
            .into_parts();
        Target::of(&parts)
    }

    #[test]
    fn operations_are_told_apart() {
        let cases = [
            ("GET", "/", Operation::ListBuckets),
            ("HEAD", "/b", Operation::HeadBucket),
            ("GET", "/b/?list-type=2&prefix=x", Operation::ListObjectsV2),
            ("GET", "/b?versions", Operation::ListObjectVersions),
            ("GET", "/b?uploads", Operation::ListMultipartUploads),
            ("GET", "/b?versioning", Operation::GetBucketVersioning),
            ("POST", "/b?delete", Operation::DeleteObjects),
            ("PUT", "/b/k", Operation::PutObject),
            ("PUT", "/b/k?partNumber=1&uploadId=u", Operation::UploadPart),
            ("POST", "/b/k?uploads", Operation::CreateMultipartUpload),
            (
                "POST",
                "/b/k?uploadId=u",
                Operation::CompleteMultipartUpload,
            ),
            ("DELETE", "/b/k?uploadId=u", Operation::AbortMultipartUpload),
            ("GET", "/b/k?uploadId=u", Operation::ListParts),
            ("DELETE", "/b/k?versionId=v", Operation::DeleteObject),
            ("GET", "/b/k?tagging", Operation::Other),
            ("GET", "/b", Operation::Other),
        ];
        for (method, uri, operation) in cases {
            assert_eq!(target(method, uri).operation, operation, "{method} {uri}");
        }
    }

    #[test]
    fn keys_are_decoded() {
        let key = target("GET", "/b/models/a%20b%2Bc%2Fd.stl").key;
        assert_eq!(key.as_deref(), Some("models/a b+c/d.stl"));
    }
}
