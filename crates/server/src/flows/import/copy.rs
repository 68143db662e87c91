//! Files of another folder: their bytes take the way of an upload, or they get a second name.

use std::io;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use stockroom_catalog::{CatalogError, Conflict, ObjectRow};
use stockroom_domain::PlacementState;
use stockroom_formats::Checker;
use stockroom_storage::{FileStamp, Metadata, SourceFile, SourceFolder};
use tokio::task::spawn_blocking;

use super::ImportError;
use super::adopt::Check;
use super::job::{CHANGED, Candidate, Done, Job};
use super::link;
use super::listing::Sold;
use super::report::Outcome;
use super::standing::{Standing, occupied, standing};
use crate::flows::error::FlowError;
use crate::flows::objects;
use crate::flows::prove::{facts_of, is_wrong, prove};
use crate::flows::publish::{NewFile, content_type_of, record_assets};
use crate::flows::receive::{Intake, receive};

/// Copies a file into the stores of the mode, and removes it from its folder where that is wanted.
pub(super) async fn take(
    job: &Job,
    folder: &SourceFolder,
    file: &Candidate,
) -> Result<Done, ImportError> {
    let app = &job.app;
    let source = match open(folder, file).await? {
        Ok(source) => source,
        Err(error) => return unreadable(&error),
    };
    let stamp = source.stamp();
    let done = match standing(app, &file.key).await? {
        Standing::Live(object) => known(job, file, source, &object).await?,
        Standing::Retiring | Standing::Deleted => Done::left_out(
            "an object of this key was deleted; stockroom put stores it all the same",
        ),
        Standing::Free => {
            // An upload would replace them without a trace.
            match occupied(app, &file.key, None).await?.first() {
                Some(store) => Done::conflict(format!(
                    "{store} has other bytes at the place of this key, and no record of them; \
                     import those first"
                )),
                None => fresh(job, folder, file, source).await?,
            }
        }
        Standing::Upload | Standing::GivenUp => fresh(job, folder, file, source).await?,
    };
    remove(job, folder, file, stamp, done).await
}

async fn open(
    folder: &SourceFolder,
    file: &Candidate,
) -> Result<io::Result<SourceFile>, ImportError> {
    let (folder, path) = (folder.clone(), file.path.clone());
    Ok(spawn_blocking(move || folder.open_file(&path)).await?)
}

/// What it means that a file cannot be read.
pub(super) fn unreadable(error: &io::Error) -> Result<Done, ImportError> {
    match error.kind() {
        io::ErrorKind::Interrupted => Err(ImportError::Interrupted),
        io::ErrorKind::NotFound => Ok(Done::left_out("it is gone by now")),
        io::ErrorKind::ResourceBusy => Ok(Done::left_out(CHANGED)),
        _ => Ok(Done::failed(format!("it cannot be read: {error}"))),
    }
}

/// The key names an object: are these its bytes?
async fn known(
    job: &Job,
    file: &Candidate,
    source: SourceFile,
    object: &ObjectRow,
) -> Result<Done, ImportError> {
    let app = &job.app;
    let size_bytes = source.stamp().size_bytes();
    if size_bytes != object.size_bytes {
        let object = object.size_bytes;
        return Ok(Done::conflict(format!(
            "it has {size_bytes} bytes, and the object of this key {object}"
        )));
    }
    let line = job.listings.line(&file.path);
    let sold = job.listings.sold(app, line, Some(object.id)).await?;
    let checker = line
        .filter(|_| matches!(sold, Sold::Wanted(_)))
        .map(|line| Checker::new(line.filename.as_str()));
    let mut check = Check::new(checker);
    let stream = pieces(job, source);
    let facts = match facts_of(app, stream, |piece| check.update(piece)).await {
        Ok(facts) => facts,
        Err(error) => return unreadable(&error),
    };
    if facts.sha256 != object.sha256 {
        let (file, object) = (facts.sha256, object.sha256);
        return Ok(Done::conflict(format!(
            "it has the SHA-256 {file}, and the object of this key {object}"
        )));
    }
    let mut done = Done::new(Outcome::Unchanged);
    if job.options.remove_sources && !job.options.dry_run {
        // The file may be the last whole copy: the record alone is no reason to remove it.
        match find_whole_copy(job, object).await? {
            None => done.is_durable = true,
            Some(why) => {
                return Ok(Done::conflict(format!(
                    "the object has these bytes, and the file stays: {why}"
                )));
            }
        }
    }
    job.list(done, sold, line, object, check.finish()).await
}

/// Reads the object's copies until one is whole; or why none is known to be. A copy that is wrong
/// is doubted, so that it is mended.
async fn find_whole_copy(job: &Job, object: &ObjectRow) -> Result<Option<String>, ImportError> {
    let app = &job.app;
    let mut why = "no store has a whole copy".to_owned();
    for placement in &object.placements {
        let Some(store) = app.store(&placement.store) else {
            continue;
        };
        if placement.state != PlacementState::Present {
            continue;
        }
        match prove(app, &*store, object, |_| {}).await {
            Ok(()) => return Ok(None),
            Err(error) => {
                why = error.to_string();
                if is_wrong(&error) {
                    app.doubt(object.id, &placement.store, error.detail())
                        .await?;
                }
            }
        }
    }
    Ok(Some(why))
}

/// The bytes of a file, which end with an error when the import is interrupted.
pub(super) fn pieces(
    job: &Job,
    source: SourceFile,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static + use<> {
    let interruption = job.options.interruption.clone();
    let counter = job.counter();
    source.into_stream().map(move |piece| {
        if interruption.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if let Ok(piece) = &piece {
            counter.add(piece.len() as u64);
        }
        piece
    })
}

/// The key names no object.
async fn fresh(
    job: &Job,
    folder: &SourceFolder,
    file: &Candidate,
    source: SourceFile,
) -> Result<Done, ImportError> {
    let app = &job.app;
    let line = job.listings.line(&file.path);
    let sold = job.listings.sold(app, line, None).await?;
    if job.options.dry_run {
        job.count_read(file.size_bytes);
        return Ok(Done::new(if job.options.link {
            Outcome::Linked
        } else {
            Outcome::Copied
        }));
    }
    if job.options.link {
        match link::take(job, folder, file, source, sold).await? {
            Some(done) => return Ok(done),
            None => return copy_again(job, folder, file).await,
        }
    }
    copy(job, folder, file, source, sold).await
}

/// Copies what cannot be linked.
async fn copy_again(
    job: &Job,
    folder: &SourceFolder,
    file: &Candidate,
) -> Result<Done, ImportError> {
    let source = match open(folder, file).await? {
        Ok(source) => source,
        Err(error) => return unreadable(&error),
    };
    let line = job.listings.line(&file.path);
    let sold = job.listings.sold(&job.app, line, None).await?;
    copy(job, folder, file, source, sold).await
}

async fn copy(
    job: &Job,
    folder: &SourceFolder,
    file: &Candidate,
    source: SourceFile,
    sold: Sold,
) -> Result<Done, ImportError> {
    let app = &job.app;
    let line = job.listings.line(&file.path);
    let announced_bytes = Some(source.stamp().size_bytes());
    let why = match (sold, line) {
        (Sold::Wanted(model), Some(line)) => {
            let new_file = NewFile::new(app, line.filename.clone());
            let intake = Intake {
                announced_bytes,
                ..new_file.intake_at(&model, file.key.clone())
            };
            let received = receive(app, intake, pieces(job, source)).await;
            let recorded = match received {
                Ok(received) => record_assets(app, model.id, vec![(new_file, received)]).await,
                Err(error) => Err(error),
            };
            match recorded {
                Ok(assets) => {
                    let mut done = Done::new(Outcome::Copied).durable();
                    if let Some(asset) = assets.first() {
                        done = done.sold(model.id, asset.id);
                    }
                    return Ok(done);
                }
                // The shop's bytes are kept, and not sold.
                Err(FlowError::Rejected(rejection)) => rejection.to_string(),
                Err(error) => return of_flow_error(error),
            }
        }
        (Sold::Impossible(why), _) => why.to_owned(),
        _ => return plain(job, file, source).await,
    };
    let source = match open(folder, file).await? {
        Ok(source) => source,
        Err(error) => return unreadable(&error),
    };
    let done = plain(job, file, source).await?;
    Ok(match done.outcome {
        Outcome::Copied => Done::unlisted(why).durable(),
        _ => done,
    })
}

/// An object that is sold as nothing.
async fn plain(job: &Job, file: &Candidate, source: SourceFile) -> Result<Done, ImportError> {
    let intake = Intake {
        key: file.key.clone(),
        content_type: content_type_of(file.key.file_name()).to_owned(),
        metadata: Metadata::default(),
        announced_bytes: Some(source.stamp().size_bytes()),
        expected_sha256: None,
        checker: None,
    };
    match objects::put_first(&job.app, intake, pieces(job, source)).await {
        Ok(_) => Ok(Done::new(Outcome::Copied).durable()),
        Err(error) => of_flow_error(error),
    }
}

fn of_flow_error(error: FlowError) -> Result<Done, ImportError> {
    match error {
        FlowError::Body(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => unreadable(&error),
            Err(cause) => Ok(Done::failed(format!("it cannot be read: {cause}"))),
        },
        FlowError::Incomplete { .. } => Ok(Done::left_out(CHANGED)),
        FlowError::Storage(error) => Done::of_store_error(error),
        FlowError::Catalog(CatalogError::Conflict(Conflict::ObjectKey)) => {
            Ok(Done::conflict("an upload took the key just now"))
        }
        FlowError::Catalog(error) if !error.is_refusal() => Err(error.into()),
        FlowError::TooLarge { limit_bytes } => Ok(Done::failed(format!(
            "it is larger than the {limit_bytes} bytes that MAX_UPLOAD_BYTES allows"
        ))),
        error => Ok(Done::failed(error.to_string())),
    }
}

/// Removes a file whose object is recorded and durable, if nobody wrote to it since it was opened.
async fn remove(
    job: &Job,
    folder: &SourceFolder,
    file: &Candidate,
    stamp: FileStamp,
    mut done: Done,
) -> Result<Done, ImportError> {
    if !job.options.remove_sources || job.options.dry_run || !done.is_durable {
        return Ok(done);
    }
    let (folder, path) = (folder.clone(), file.path.clone());
    let removing = move || {
        let now = folder.stamp(&path)?;
        // A second name and its attributes changed the file, and no byte of it.
        let is_same = now == stamp || (now.has_other_names() && now.has_same_bytes(&stamp));
        Ok::<_, io::Error>(is_same && folder.remove(&path, &now)?)
    };
    match spawn_blocking(removing).await? {
        Ok(true) => {
            done.removed = true;
            Ok(done)
        }
        Ok(false) => Ok(Done::conflict(
            "it was imported and then written to again, so the file stays",
        )),
        Err(error) => Ok(Done::failed(format!(
            "it was imported, and cannot be removed: {error}"
        ))),
    }
}
