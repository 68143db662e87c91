//! `stockroom put`: stores a file under a key.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use futures::{Stream, StreamExt as _};
use stockroom_catalog::ObjectRow;
use stockroom_domain::{Key, PlacementState};
use stockroom_formats::Format;
use stockroom_storage::Metadata;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::error::{CliError, sentence};
use super::{Context, object_key, settle};
use crate::app::App;
use crate::exit::Exit;
use crate::flows::error::FlowError;
use crate::flows::objects;
use crate::flows::receive::Intake;
use crate::http::views::ObjectView;
use crate::workers::identity;

/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;
/// How many pieces are read ahead while the stores are behind.
const PIECES_AHEAD: usize = 2;

/// What to store, and where.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// The file, or - for stdin
    file: PathBuf,
    /// The key to store it under, such as models/42/helmet.stl; an object that is there is replaced
    key: String,
}

/// A file that can be read.
struct Input {
    reader: Box<dyn Read + Send>,
    /// `None` when only reading tells.
    size_bytes: Option<u64>,
}

/// Stores a file. Ctrl-C takes back what was written; a second one does not wait for that.
///
/// # Errors
/// The file cannot be read, or the object not be stored; nothing is left behind then.
pub async fn run(context: &Context, args: PutArgs) -> Result<Exit, CliError> {
    // Before the database is opened, which would make one.
    let key = object_key(&args.key)?;
    let input = open(&args.file)?;
    let app = context.app().await?;
    // Nothing is written to a folder or a bucket that belongs to somebody else.
    identity::settle_all(&app).await;
    let row = transfer(context, &app, intake(&key, &args.file, &input), input).await?;
    for placement in &row.placements {
        if placement.state == PlacementState::Copying {
            context.output.warning(&format!(
                "the copy on {} could not be made yet; a running server makes it",
                placement.store
            ));
        }
    }
    let text = format!(
        "{}: {} bytes, SHA-256 {}",
        row.key, row.size_bytes, row.sha256
    );
    context.output.result(&ObjectView::from(row), &text)?;
    Ok(Exit::Ok)
}

fn open(path: &Path) -> Result<Input, CliError> {
    if path.as_os_str() == "-" {
        return Ok(Input {
            reader: Box::new(io::stdin()),
            size_bytes: None,
        });
    }
    let unreadable = |reason: String| {
        let detail = format!("{} cannot be read: {reason}.", path.display());
        CliError::failed("file_unreadable", detail)
    };
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let metadata = file
        .metadata()
        .map_err(|error| unreadable(error.to_string()))?;
    if metadata.is_dir() {
        return Err(unreadable("it is a folder".to_owned()));
    }
    // A pipe or a device has no size before it was read.
    let size_bytes = metadata.is_file().then_some(metadata.len());
    Ok(Input {
        reader: Box::new(file),
        size_bytes,
    })
}

fn intake(key: &Key, file: &Path, input: &Input) -> Intake {
    let extension = |path: &Path| Format::from_extension(path.extension()?.to_str()?);
    let format = extension(Path::new(key.file_name())).or_else(|| extension(file));
    Intake {
        key: key.clone(),
        content_type: format
            .map_or("application/octet-stream", Format::content_type)
            .to_owned(),
        metadata: Metadata::default(),
        announced_bytes: input.size_bytes,
        expected_sha256: None,
        checker: None,
    }
}

async fn transfer(
    context: &Context,
    app: &App,
    intake: Intake,
    input: Input,
) -> Result<ObjectRow, CliError> {
    let interruption = CancellationToken::new();
    let mut progress = context
        .output
        .progress(format!("put {}", intake.key), input.size_bytes);
    let pieces = pieces(input.reader, interruption.clone())?.inspect(move |piece| {
        if let Ok(piece) = piece {
            progress.advance(piece.len() as u64);
        }
    });
    let task_app = app.clone();
    // In a task, so that it reaches its end and takes everything back when it is interrupted.
    let mut task = app
        .tasks
        .spawn(async move { objects::put(&task_app, intake, pieces).await });
    let outcome = tokio::select! {
        outcome = &mut task => outcome,
        Ok(()) = tokio::signal::ctrl_c() => {
            interruption.cancel();
            context.output.note("stockroom: taking back what was written");
            tokio::select! {
                outcome = task => outcome,
                Ok(()) = tokio::signal::ctrl_c() => return Err(CliError::interrupted()),
            }
        }
    };
    settle(app).await;
    match outcome {
        Ok(Ok(row)) => Ok(row),
        Ok(Err(FlowError::Body(_))) if interruption.is_cancelled() => Err(CliError::interrupted()),
        Ok(Err(error)) => Err(error.into()),
        Err(error) => Err(CliError::failed(
            "internal_error",
            sentence(&error.to_string()),
        )),
    }
}

/// The bytes of a reader, until the interruption, which ends them with an error.
///
/// They are read by a thread of their own and not by the runtime's: the process can end while
/// that thread waits for a person to type or for a pipe that nobody writes to.
fn pieces(
    mut reader: Box<dyn Read + Send>,
    interruption: CancellationToken,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static, CliError> {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let read = move || {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let piece = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_last = piece.is_err();
            if sender.blocking_send(piece).is_err() || is_last {
                break;
            }
        }
    };
    std::thread::Builder::new()
        .name("put-reader".to_owned())
        .spawn(read)
        .map_err(|error| {
            CliError::failed("runtime", format!("The system gives no thread: {error}."))
        })?;
    Ok(futures::stream::unfold(
        (receiver, interruption),
        |(mut receiver, interruption)| async move {
            let piece = tokio::select! {
                biased;
                () = interruption.cancelled() => Some(Err(io::ErrorKind::Interrupted.into())),
                piece = receiver.recv() => piece,
            };
            Some((piece?, (receiver, interruption)))
        },
    ))
}
