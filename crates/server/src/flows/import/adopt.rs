//! Adoption: a file of the store's folder, or an object of the bucket, is recorded where it lies.

use std::sync::Arc;
use std::time::Duration;

use stockroom_catalog::{CatalogError, Conflict, NewUpload, ObjectRow, ReceivedUpload};
use stockroom_domain::{Key, ObjectId, PlacementState, Timestamp};
use stockroom_formats::{Checker, Rejection, Report as FormatReport};
use stockroom_storage::{
    Error, ErrorKind, Facts, FileStamp, GuardedStore, LocalStore, Metadata, ObjectInfo, Operation,
    Store as _, WriteOptions,
};

use super::ImportError;
use super::job::{Candidate, Done, Job};
use super::listing::Sold;
use super::report::Outcome;
use super::standing::{Standing, at, placements, standing};
use crate::flows::prove::facts_of;
use crate::flows::publish::{NewFile, content_type_of};
use crate::flows::receive::recorded_facts;

/// By how much the time of a bucket's object may be before it was written: lists and headers tell
/// whole seconds.
const BUCKET_RESOLUTION: Duration = Duration::from_secs(1);

/// Where the file lies that is adopted.
#[derive(Debug)]
pub(super) struct Here {
    /// The store.
    pub(super) store: Arc<GuardedStore>,
    /// The same, when it is the folder.
    pub(super) local: Option<Arc<LocalStore>>,
}

/// What reading a file to its end showed.
struct Look {
    info: ObjectInfo,
    facts: Facts,
    /// What the file was before; none in a bucket.
    stamp: Option<FileStamp>,
    /// Whether it can be sold, if that was asked.
    verdict: Option<Result<FormatReport, Rejection>>,
}

/// Records a file where it lies.
pub(super) async fn take(job: &Job, here: &Here, file: &Candidate) -> Result<Done, ImportError> {
    match standing(&job.app, &file.key).await? {
        Standing::Live(object) => known(job, here, file, &object).await,
        Standing::Free => fresh(job, here, file).await,
        Standing::Upload => Ok(Done::left_out(
            "an upload of this key is under way, or broke off; import again when it is over",
        )),
        Standing::Retiring => Ok(Done::ignored()),
        Standing::Deleted => Ok(Done::left_out(
            "an object of this key was deleted, and its place is not used again; import the file \
             from another folder",
        )),
        Standing::GivenUp => Ok(Done::left_out(
            "its place was given up by an upload, and is not used again; import the file from \
             another folder",
        )),
    }
}

/// The key names no object.
async fn fresh(job: &Job, here: &Here, file: &Candidate) -> Result<Done, ImportError> {
    let app = &job.app;
    if file.has_other_names && !job.options.link {
        return Ok(Done::left_out(
            "it has another name (a hard link) by which somebody may write to it; --link takes it \
             all the same",
        ));
    }
    let line = job.listings.line(&file.path);
    let sold = job.listings.sold(app, line, None).await?;
    if job.options.dry_run {
        job.count_read(file.size_bytes);
        return Ok(Done::new(Outcome::Adopted));
    }
    let new_file = line.map(|line| NewFile::new(app, line.filename.clone()));
    let (model, unlisted) = match (sold, new_file) {
        (Sold::Wanted(model), Some(new_file)) => (Some((model, new_file)), None),
        (Sold::Impossible(why), _) => (None, Some(why.to_owned())),
        _ => (None, None),
    };
    let checker = model
        .as_ref()
        .map(|(_, new_file)| Checker::new(new_file.filename.as_str()));
    let look = match look(job, here, file, checker).await? {
        Ok(look) => look,
        Err(done) => return Ok(done),
    };
    let (sold, unlisted) = match (model, &look.verdict) {
        (Some(sold), Some(Ok(report))) => (Some((sold, report)), unlisted),
        (_, Some(Err(rejection))) => (None, Some(rejection.to_string())),
        _ => (None, unlisted),
    };
    let name = sold.as_ref().map_or_else(
        || file.key.file_name(),
        |((_, new_file), _)| new_file.filename.as_str(),
    );
    let mut metadata = look.info.metadata.clone();
    if let Some(((model, new_file), _)) = &sold {
        metadata = new_file.metadata(model);
    }
    let options = WriteOptions {
        content_type: Some(content_type(&look.info, name)),
        metadata,
        ..WriteOptions::default()
    };
    if let Err(done) = seal(here, file, &look, &options).await? {
        return Ok(done);
    }
    let (placements, occupied) = placements(app, &file.key, here.store.name()).await?;
    let owes = placements.len() > 1;
    let received = ReceivedUpload {
        object_id: ObjectId::generate(app.clock.now(), &*app.entropy),
        facts: recorded_facts(&look.facts),
        placements,
    };
    let asset = sold.as_ref().map(|((model, new_file), report)| {
        new_file.asset_of(model.id, Some(report), received.clone())
    });
    let new = new_object(received.object_id, &file.key, options, app.clock.now());
    let recorded = app
        .catalog
        .adopt_object(&new, &received, asset.as_ref(), app.clock.now())
        .await;
    match recorded {
        Ok(_) => {}
        Err(error) if error.is_refusal() => return Ok(refused(&error)),
        Err(error) => return Err(error.into()),
    }
    if owes {
        app.engine_bell.notify_one();
    }
    let mut done = Done::new(Outcome::Adopted);
    if let Some(asset) = asset {
        done = done.sold(asset.model_id, asset.id);
    }
    if let Some(why) = unlisted {
        return Ok(Done::unlisted(why));
    }
    for store in occupied {
        done.reason =
            Some(format!("{store} has something at this place too; import that as well").into());
    }
    Ok(done)
}

fn new_object(id: ObjectId, key: &Key, options: WriteOptions, now: Timestamp) -> NewUpload {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    NewUpload {
        object_id: id,
        key: key.clone(),
        content_type: options.content_type.unwrap_or_default(),
        metadata: options.metadata.iter().map(owned).collect(),
        opened_at: now,
        lease_until: now,
    }
}

/// Somebody else was faster.
pub(super) fn refused(error: &CatalogError) -> Done {
    match error {
        CatalogError::Conflict(Conflict::ObjectKey | Conflict::LocationTaken) => {
            Done::conflict("an upload took the key just now")
        }
        error => Done::failed(error.to_string()),
    }
}

/// The key names an object.
async fn known(
    job: &Job,
    here: &Here,
    file: &Candidate,
    object: &ObjectRow,
) -> Result<Done, ImportError> {
    let app = &job.app;
    if object.location != file.key {
        // What was at the key's place before has a row as long as it is kept.
        return Ok(match at(app, &file.key).await? {
            Some(_) => Done::ignored(),
            None => Done::conflict("the key names an object that lies elsewhere"),
        });
    }
    let mut placements = object.placements.iter();
    let placement = placements.find(|placement| placement.store == *here.store.name());
    let state = placement.map(|placement| placement.state);
    if matches!(state, Some(PlacementState::Retiring | PlacementState::Gone)) {
        return Ok(Done::conflict("its copy on this store was given up"));
    }
    if file.size_bytes != object.size_bytes {
        let (file, object) = (file.size_bytes, object.size_bytes);
        return Ok(Done::conflict(format!(
            "it has {file} bytes, and the object of this key {object}"
        )));
    }
    let line = job.listings.line(&file.path);
    let sold = job.listings.sold(app, line, Some(object.id)).await?;
    let verified_at = placement.and_then(|placement| placement.verified_at);
    let resolution = here.local.is_none().then_some(BUCKET_RESOLUTION);
    let settled_at = file.changed_at.after(resolution.unwrap_or_default());
    let is_as_verified = state == Some(PlacementState::Present)
        && verified_at.is_some_and(|verified_at| verified_at > settled_at);
    match sold {
        Sold::Wanted(_) | Sold::Someday => {}
        _ if !is_as_verified => {}
        Sold::Already(asset) => {
            return Ok(Done::new(Outcome::Unchanged).sold(asset.model_id, asset.id));
        }
        Sold::Impossible(why) => return Ok(Done::unlisted(why)),
        Sold::No => return Ok(Done::new(Outcome::Unchanged)),
    }
    if job.options.dry_run && here.local.is_none() {
        job.count_read(file.size_bytes);
        return Ok(Done::new(Outcome::ToCompare));
    }
    let checker = line
        .filter(|_| matches!(sold, Sold::Wanted(_)))
        .map(|line| Checker::new(line.filename.as_str()));
    let look = match look(job, here, file, checker).await? {
        Ok(look) => look,
        Err(done) => return Ok(done),
    };
    if look.facts.sha256 != object.sha256 {
        let (file, object) = (look.facts.sha256, object.sha256);
        return Ok(Done::conflict(format!(
            "it has the SHA-256 {file}, and the object of this key {object}"
        )));
    }
    let mut done = Done::new(Outcome::Unchanged);
    if !job.options.dry_run {
        let now = app.clock.now();
        match state {
            None => {
                let options = WriteOptions {
                    content_type: Some(object.content_type.clone()),
                    metadata: metadata_of(object),
                    ..WriteOptions::default()
                };
                if let Err(done) = seal(here, file, &look, &options).await? {
                    return Ok(done);
                }
                let store = here.store.name();
                if app.catalog.adopt_copy(object.id, store, now).await? {
                    done.outcome = Outcome::CopyAdopted;
                }
            }
            Some(PlacementState::Present) => {
                let store = here.store.name();
                app.catalog.note_verified(object.id, store, now).await?;
            }
            // The engine is at it.
            Some(_) => {}
        }
    } else if state.is_none() {
        done.outcome = Outcome::CopyAdopted;
    }
    job.list(done, sold, line, object, look.verdict).await
}

fn metadata_of(object: &ObjectRow) -> Metadata {
    let mut metadata = Metadata::default();
    for (name, value) in &object.metadata {
        // As in `transfer`: the catalog knows what a narrower rule would leave out.
        let _ = metadata.insert(name, value);
    }
    metadata
}

/// Reads a file to its end, and makes sure that it stayed the same meanwhile.
async fn look(
    job: &Job,
    here: &Here,
    file: &Candidate,
    checker: Option<Checker>,
) -> Result<Result<Look, Done>, ImportError> {
    let reading = read(job, here, file, checker);
    let outcome = tokio::select! {
        biased;
        () = job.options.interruption.cancelled() => return Err(ImportError::Interrupted),
        outcome = reading => outcome,
    };
    match outcome {
        Ok(look) => Ok(Ok(look)),
        Err(error) => Done::of_store_error(error).map(Err),
    }
}

async fn read(
    job: &Job,
    here: &Here,
    file: &Candidate,
    checker: Option<Checker>,
) -> Result<Look, Error> {
    let stamp = match &here.local {
        Some(local) => Some(local.stamp(&file.key).await?),
        None => None,
    };
    let read = here.store.get(&file.key, None).await?;
    let mut check = Check::new(checker);
    let facts = facts_of(&job.app, read.stream, |piece| {
        check.update(piece);
        job.count_read(piece.len() as u64);
    })
    .await?;
    if stamp.is_none() {
        let after = here.store.head(&file.key).await?;
        let seen = |info: &ObjectInfo| (info.size_bytes, info.etag.clone(), info.modified_at);
        if seen(&after) != seen(&read.info) {
            let detail = "it was replaced while it was read";
            let error = Error::new(
                here.store.name(),
                Operation::Get,
                ErrorKind::Corrupt,
                detail,
            );
            return Err(error.about(&file.key));
        }
    }
    Ok(Look {
        info: read.info,
        facts,
        stamp,
        verdict: check.finish(),
    })
}

/// Gives a file of the folder its attributes and makes it durable. A bucket needs nothing.
async fn seal(
    here: &Here,
    file: &Candidate,
    look: &Look,
    options: &WriteOptions,
) -> Result<Result<(), Done>, ImportError> {
    let (Some(local), Some(stamp)) = (&here.local, look.stamp) else {
        return Ok(Ok(()));
    };
    match local
        .adopt(&file.key, stamp, options.clone(), &look.facts)
        .await
    {
        Ok(_) => Ok(Ok(())),
        Err(error) => Done::of_store_error(error).map(Err),
    }
}

/// The media type: what the bucket says, unless it says nothing in particular.
fn content_type(info: &ObjectInfo, filename: &str) -> String {
    match info.content_type.as_deref() {
        None | Some("application/octet-stream" | "binary/octet-stream") => {
            content_type_of(filename).to_owned()
        }
        Some(told) => told.to_owned(),
    }
}

/// A check of a format that does not end the reading when it fails.
pub(super) struct Check {
    checker: Option<Checker>,
    rejection: Option<Rejection>,
}

impl Check {
    pub(super) const fn new(checker: Option<Checker>) -> Self {
        Self {
            checker,
            rejection: None,
        }
    }

    pub(super) fn update(&mut self, piece: &[u8]) {
        if let Some(checker) = &mut self.checker
            && let Err(rejection) = checker.update(piece)
        {
            self.checker = None;
            self.rejection = Some(rejection);
        }
    }

    pub(super) fn finish(self) -> Option<Result<FormatReport, Rejection>> {
        match (self.rejection, self.checker) {
            (Some(rejection), _) => Some(Err(rejection)),
            (None, checker) => checker.map(Checker::finish),
        }
    }
}
