//! A file of another folder gets a second name in the store, in the place of being copied.
//!
//! The intent row comes first: what a kill leaves is the name in the store, and the sweep removes
//! that one. The file keeps its own.

use std::sync::Arc;

use stockroom_catalog::{CatalogError, NewUpload, ReceivedUpload};
use stockroom_domain::{Key, ObjectId};
use stockroom_formats::{Checker, Report as FormatReport};
use stockroom_storage::{
    Facts, FileStamp, LocalStore, Metadata, SourceFile, SourceFolder, Store as _, WriteOptions,
};

use super::ImportError;
use super::adopt::{Check, refused};
use super::copy::{pieces, unreadable};
use super::job::{Candidate, Done, Job};
use super::listing::Sold;
use super::report::Outcome;
use super::standing::placements;
use crate::flows::prove::facts_of;
use crate::flows::publish::{NewFile, content_type_of};
use crate::flows::receive::{LEASE, recorded_facts};

/// A file that was read to its end.
struct Read {
    stamp: FileStamp,
    facts: Facts,
    /// What it is sold as.
    sold: Option<(stockroom_catalog::ModelRow, NewFile, FormatReport)>,
    /// Why it cannot be sold as the map wants.
    unlisted: Option<String>,
}

/// Links a file into the store; none when that cannot be, and it is to be copied.
pub(super) async fn take(
    job: &Job,
    folder: &SourceFolder,
    file: &Candidate,
    source: SourceFile,
    sold: Sold,
) -> Result<Option<Done>, ImportError> {
    let Some(local) = job.app.local.clone() else {
        return Ok(None);
    };
    let read = match read(job, file, source, sold).await? {
        Ok(read) => read,
        Err(done) => return Ok(Some(done)),
    };
    let name = match &read.sold {
        Some((_, new_file, _)) => new_file.filename.as_str(),
        None => file.key.file_name(),
    };
    let options = WriteOptions {
        content_type: Some(content_type_of(name).to_owned()),
        metadata: match &read.sold {
            Some((model, new_file, _)) => new_file.metadata(model),
            None => Metadata::default(),
        },
        ..WriteOptions::default()
    };
    let (object, location) = open(job, file, &options).await?;
    let linked = match local.link(&location, folder, &file.path, read.stamp).await {
        Ok(Some(linked)) => linked,
        Ok(None) => {
            job.app.catalog.discard_upload(object).await?;
            return Ok(None);
        }
        Err(error) => {
            // There is no second name, so nothing is left.
            job.app.catalog.discard_upload(object).await?;
            return Done::of_store_error(error).map(Some);
        }
    };
    let done = finish(job, &local, &location, linked, object, options, read).await;
    match done {
        Ok(done) => Ok(Some(done)),
        Err(failure) => {
            take_back(job, &local, &location, object).await?;
            failure.map(Some)
        }
    }
}

async fn read(
    job: &Job,
    file: &Candidate,
    source: SourceFile,
    sold: Sold,
) -> Result<Result<Read, Done>, ImportError> {
    let line = job.listings.line(&file.path);
    let new_file = line.map(|line| NewFile::new(&job.app, line.filename.clone()));
    let (wanted, mut unlisted) = match (sold, new_file) {
        (Sold::Wanted(model), Some(new_file)) => (Some((*model, new_file)), None),
        (Sold::Impossible(why), _) => (None, Some(why.to_owned())),
        _ => (None, None),
    };
    let checker = wanted
        .as_ref()
        .map(|(_, new_file)| Checker::new(new_file.filename.as_str()));
    let mut check = Check::new(checker);
    let stamp = source.stamp();
    let facts = facts_of(&job.app, pieces(job, source), |piece| check.update(piece)).await;
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => return unreadable(&error).map(Err),
    };
    let sold = match (wanted, check.finish()) {
        (Some((model, new_file)), Some(Ok(report))) => Some((model, new_file, report)),
        (_, Some(Err(rejection))) => {
            unlisted = Some(rejection.to_string());
            None
        }
        _ => None,
    };
    Ok(Ok(Read {
        stamp,
        facts,
        sold,
        unlisted,
    }))
}

async fn open(
    job: &Job,
    file: &Candidate,
    options: &WriteOptions,
) -> Result<(ObjectId, Key), CatalogError> {
    let now = job.app.clock.now();
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let upload = NewUpload {
        object_id: ObjectId::generate(now, &*job.app.entropy),
        key: file.key.clone(),
        content_type: options.content_type.clone().unwrap_or_default(),
        metadata: options.metadata.iter().map(owned).collect(),
        opened_at: now,
        lease_until: now.after(LEASE),
    };
    let opened = job.app.catalog.open_upload(upload).await?;
    Ok((opened.object_id, opened.location))
}

/// Makes the second name durable and records it. What fails before the record is to be taken back.
async fn finish(
    job: &Job,
    local: &Arc<LocalStore>,
    location: &Key,
    linked: FileStamp,
    object: ObjectId,
    options: WriteOptions,
    read: Read,
) -> Result<Done, Result<Done, ImportError>> {
    let app = &job.app;
    local
        .adopt(location, linked, options, &read.facts)
        .await
        .map_err(Done::of_store_error)?;
    let (placements, _) = placements(app, location, local.name())
        .await
        .map_err(Done::of_store_error)?;
    let owes = placements.len() > 1;
    let received = ReceivedUpload {
        object_id: object,
        facts: recorded_facts(&read.facts),
        placements,
    };
    let now = app.clock.now();
    let asset = read.sold.map(|(model, new_file, report)| {
        new_file.asset_of(model.id, Some(&report), received.clone())
    });
    let recorded = match &asset {
        Some(asset) => app
            .catalog
            .record_assets(std::slice::from_ref(asset), now)
            .await
            .map(drop),
        None => app
            .catalog
            .record_first_object(&received, now)
            .await
            .map(drop),
    };
    match recorded {
        Ok(()) => {}
        Err(error) if error.is_refusal() => return Err(Ok(refused(&error))),
        // It may be recorded all the same. If it is not, the sweep removes the name.
        Err(error) => {
            tracing::warn!(%error, %object, "whether a file was recorded is not known");
            return Ok(Done::failed(format!(
                "the database failed: {error}; import again"
            )));
        }
    }
    if owes {
        app.engine_bell.notify_one();
    }
    let done = match read.unlisted {
        Some(why) => Done::unlisted(why),
        None => Done::new(Outcome::Linked),
    };
    let done = done.durable();
    Ok(match asset {
        Some(asset) => done.sold(asset.model_id, asset.id),
        None => done,
    })
}

async fn take_back(
    job: &Job,
    local: &Arc<LocalStore>,
    location: &Key,
    object: ObjectId,
) -> Result<(), CatalogError> {
    let catalog = &job.app.catalog;
    match local.delete(location).await {
        Ok(()) => catalog.discard_upload(object).await.map(drop),
        Err(error) => {
            tracing::warn!(%error, "a second name stays behind until the sweep");
            let now = job.app.clock.now();
            catalog.abandon_upload(object, now).await.map(drop)
        }
    }
}
