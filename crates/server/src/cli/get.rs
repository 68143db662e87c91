//! `stockroom get`: reads an object into a file.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use futures::StreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use stockroom_catalog::{ObjectDetails, ObjectRow};
use stockroom_domain::{Entropy, Key, Sha256Digest};
use tokio::fs::{self, File};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::error::CliError;
use super::{Context, object_key, settle};
use crate::app::App;
use crate::exit::Exit;
use crate::flows::error::FlowError;
use crate::flows::{deliver, objects};

/// What to read, and where to write it.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The key of the object
    key: String,
    /// The file or folder to write to, or - for stdout; without it, the last part of the key
    file: Option<PathBuf>,
}

/// What was read.
#[derive(Serialize)]
struct Fetched<'a> {
    key: &'a Key,
    file: String,
    size: u64,
    sha256: Sha256Digest,
}

/// Where the bytes go.
enum Target {
    Stdout,
    /// This path is replaced when all bytes are there and right.
    File(PathBuf),
}

/// Reads an object. A file that is there is replaced only when every byte came and the whole has
/// the recorded SHA-256.
///
/// # Errors
/// There is no such object, its bytes cannot be read or are not those that were recorded, or the
/// file cannot be written. No part of a file is left then.
pub async fn run(context: &Context, args: GetArgs) -> Result<Exit, CliError> {
    let key = object_key(&args.key)?;
    let target = target(&key, args.file)?;
    if context.output.is_json() && matches!(target, Target::Stdout) {
        return Err(
            CliError::usage("Stdout cannot take both the object and JSON.")
                .with_fix("Leave --json out, or name a file."),
        );
    }
    let app = context.app().await?;
    let outcome = fetch(context, &app, &key, &target).await;
    settle(&app).await;
    outcome.map(|()| Exit::Ok)
}

fn target(key: &Key, file: Option<PathBuf>) -> Result<Target, CliError> {
    let path = match file {
        Some(path) if path.as_os_str() == "-" => return Ok(Target::Stdout),
        Some(path) if path.is_dir() => path.join(key.file_name()),
        Some(path) => path,
        None => PathBuf::from(key.file_name()),
    };
    // Behind a link, the file that it names is replaced and not the link.
    let path = path.canonicalize().unwrap_or(path);
    if path.exists() && !path.is_file() {
        let detail = format!("{} is there and is not a file.", path.display());
        return Err(CliError::failed("file_unwritable", detail)
            .with_fix("Name another file, or - for stdout."));
    }
    Ok(Target::File(path))
}

async fn fetch(context: &Context, app: &App, key: &Key, target: &Target) -> Result<(), CliError> {
    let details = objects::find(app, key).await?;
    let object = &details.object;
    match target {
        Target::Stdout => {
            let mut stdout = tokio::io::stdout();
            copy(context, app, &details, &mut stdout, stdout_error).await?;
            stdout.flush().await.map_err(stdout_error)
        }
        Target::File(path) => {
            let unwritable = |error| file_error(path, &error);
            let mut part = Part::create(path, &*context.entropy)
                .await
                .map_err(unwritable)?;
            copy(context, app, &details, &mut part.file, unwritable).await?;
            part.publish(path).await.map_err(unwritable)?;
            report(context, object, path)
        }
    }
}

fn report(context: &Context, object: &ObjectRow, path: &Path) -> Result<(), CliError> {
    let file = path.display().to_string();
    let text = format!(
        "{file}: {} bytes, SHA-256 {}",
        object.size_bytes, object.sha256
    );
    let fetched = Fetched {
        key: &object.key,
        file,
        size: object.size_bytes,
        sha256: object.sha256,
    };
    context.output.result(&fetched, &text)
}

/// Copies all bytes of an object and holds the whole against its recorded SHA-256.
async fn copy(
    context: &Context,
    app: &App,
    details: &ObjectDetails,
    to: &mut (impl AsyncWrite + Unpin),
    unwritable: impl Fn(io::Error) -> CliError,
) -> Result<(), CliError> {
    let object = &details.object;
    let mut progress = context
        .output
        .progress(format!("get {}", object.key), Some(object.size_bytes));
    let mut read = deliver::open(app, details.into(), None).await?;
    let mut hasher = Sha256::new();
    while let Some(piece) = read.stream.next().await {
        let piece: Bytes = piece.map_err(FlowError::from)?;
        hasher.update(&piece);
        to.write_all(&piece).await.map_err(&unwritable)?;
        progress.advance(piece.len() as u64);
    }
    let actual = Sha256Digest::from_bytes(hasher.finalize().into());
    if actual != object.sha256 {
        let detail = format!(
            "The bytes have the SHA-256 {actual}, not {}.",
            object.sha256
        );
        return Err(CliError::failed("digest_mismatch", detail)
            .with_fix("Restore the object from a backup; its copies are damaged."));
    }
    Ok(())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is used with map_err, which hands the error over"
)]
pub(super) fn stdout_error(error: io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::reader_left(),
        _ => CliError::failed("output", format!("Stdout cannot be written: {error}.")),
    }
}

pub(super) fn file_error(path: &Path, error: &io::Error) -> CliError {
    let detail = format!("{} cannot be written: {error}.", path.display());
    CliError::failed("file_unwritable", detail)
}

/// A file that is not whole yet, beside the one it will be. Dropping it removes it.
pub(super) struct Part {
    pub(super) file: File,
    path: PathBuf,
    is_published: bool,
}

impl Part {
    pub(super) async fn create(path: &Path, entropy: &dyn Entropy) -> io::Result<Self> {
        // A name of its own length: the longest name of a file leaves no room for an ending.
        let name = format!(".stockroom-get-{}", hex::encode(entropy.bytes::<8>()));
        let path = folder_of(path).join(name);
        let file = File::create_new(&path).await?;
        Ok(Self {
            file,
            path,
            is_published: false,
        })
    }

    /// Makes the file durable and gives it its name.
    pub(super) async fn publish(mut self, path: &Path) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        fs::rename(&self.path, path).await?;
        self.is_published = true;
        // The name is durable only when the folder is.
        File::open(folder_of(path)).await?.sync_all().await
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_published {
            // What cannot be removed has a name that tells what it is.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The folder of a file; the name alone lies in the working folder.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
