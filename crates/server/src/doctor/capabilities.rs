//! What the key may do, by doing it: small requests about an object that is removed again.

use bytes::Bytes;
use stockroom_domain::{Category, Key};
use stockroom_storage::{Error, ErrorKind, Operation, S3Store, Store as _, WriteOptions};

use super::Surroundings;
use super::bucket::unexpected;
use super::finding::{Finding, clause};

/// The bytes of the probe object.
const PROBE: &[u8] = b"Stockroom's doctor wrote this and removes it again.\n";

/// What a new key needs, so that it is made once.
const NEW_KEY: &str = "Make a key with listFiles, readFiles, writeFiles and deleteFiles for the \
    bucket (at Backblaze: \"Read and Write\", and listAllBucketNames).";

/// Tries to write, read and delete. The bucket was listed before, which a clean-up needs.
pub(super) async fn examine(
    store: &S3Store,
    surroundings: &Surroundings<'_>,
    findings: &mut Vec<Finding>,
) {
    let Ok(key) = Key::new(Category::Temp, &surroundings.probe_name()) else {
        // A name of hexadecimal digits always fits a key.
        return;
    };
    let known = findings.len();
    let body = Bytes::from_static(PROBE);
    let written = store.put(&key, body, WriteOptions::default()).await;
    if let Err(error) = &written {
        findings.push(cannot_write(error));
    }
    findings.extend(read(store, &key, written.is_ok()).await);
    if written.is_ok()
        && let Err(error) = store.delete(&key).await
    {
        findings.push(cannot_delete(&key, &error));
    }
    if findings.len() == known {
        findings.push(Finding::ok(
            "s3.key",
            "The key may list, write, read and delete.",
        ));
    }
}

/// Reads the probe object, or where it could not be written finds that there is none.
async fn read(store: &S3Store, key: &Key, is_there: bool) -> Option<Finding> {
    let read = match store.get(key, None).await {
        Ok(got) => got.bytes().await,
        Err(error) => Err(error),
    };
    match read {
        Ok(bytes) if bytes == PROBE => None,
        Ok(_) => Some(Finding::error(
            "s3.wrong-bytes",
            format!("The bucket gave other bytes for {key} than were written."),
            "Nothing between this machine and the server may change bytes: look for a proxy.",
        )),
        Err(error) if error.is_not_found() && !is_there => None,
        Err(error) if error.kind() == ErrorKind::Denied => Some(lacks(
            "s3.key-lacks-read",
            "read",
            "readFiles (on AWS s3:GetObject)",
            &error,
        )),
        Err(error) => Some(unexpected("read an object", &error)),
    }
}

/// The key may not list the bucket.
pub(super) fn cannot_list(bucket: &str, error: &Error) -> Finding {
    Finding::error(
        "s3.key-lacks-list",
        format!(
            "The key may not list the bucket {bucket:?}: it lacks listFiles (on AWS \
             s3:ListBucket), or is for another bucket or a part of this one: {}.",
            clause(error.detail())
        ),
        NEW_KEY,
    )
}

fn cannot_write(error: &Error) -> Finding {
    if error.kind() == ErrorKind::Denied {
        let capability = "writeFiles (on AWS s3:PutObject)";
        lacks("s3.key-lacks-write", "write", capability, error)
    } else {
        unexpected("write an object", error)
    }
}

fn cannot_delete(key: &Key, error: &Error) -> Finding {
    let mut finding = match (error.kind(), error.operation()) {
        (ErrorKind::Denied, Operation::ListVersions) => lacks(
            "s3.key-lacks-list-versions",
            "list versions in",
            "listFiles (on AWS s3:ListBucketVersions)",
            error,
        ),
        (ErrorKind::Denied, _) => lacks(
            "s3.key-lacks-delete",
            "delete from",
            "deleteFiles (on AWS s3:DeleteObject and s3:DeleteObjectVersion)",
            error,
        ),
        _ => unexpected("delete an object", error),
    };
    finding.sentence.push_str(&format!(" {key} stays behind."));
    finding
}

fn lacks(id: &'static str, verb: &str, capability: &str, error: &Error) -> Finding {
    let detail = clause(error.detail());
    Finding::error(
        id,
        format!("The key may not {verb} the bucket: it lacks {capability}: {detail}."),
        NEW_KEY,
    )
}
