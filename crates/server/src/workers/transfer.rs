//! Transfer: bring the bytes of an object to a store from its healthy copies elsewhere.

use futures::TryStreamExt as _;
use stockroom_catalog::{ObjectDetails, ObjectRow};
use stockroom_storage::{ContentHasher, Error, Metadata, Source, Store, WriteOptions};

use crate::app::App;
use crate::flows::deliver::{self, Recorded};
use crate::flows::prove::mismatch;
use crate::workers::pace::Pace;

/// The copies that could be copied from, best first.
pub(super) fn sources(app: &App, object: &ObjectRow, destination: &dyn Store) -> Vec<Source> {
    let mut sources = deliver::sources(app, object);
    sources.retain(|source| source.store.name() != destination.name());
    sources
}

/// Copies the object, at the pace of all copies and at this one. The hash is compared before the copy is published, so that a copy of wrong
/// bytes is never visible; what is there already is replaced in one step.
///
/// # Errors
/// That of the source or the destination; nothing is left behind then.
pub(super) async fn transfer(
    app: &App,
    sources: Vec<Source>,
    destination: &dyn Store,
    details: &ObjectDetails,
    pace: Option<&Pace>,
) -> Result<(), Error> {
    let object = &details.object;
    let mut read = deliver::open_from(app, sources, Recorded::from(details)).await?;
    let mut writer = destination
        .writer(&object.location, options(object))
        .await?;
    let mut hasher = ContentHasher::new();
    let passed: Result<(), Error> = async {
        while let Some(piece) = read.stream.try_next().await? {
            app.pace.spend(piece.len() as u64).await;
            if let Some(pace) = pace {
                pace.spend(piece.len() as u64).await;
            }
            hasher.update(&piece);
            writer.write(piece).await?;
        }
        Ok(())
    }
    .await;
    let facts = hasher.finish();
    match passed {
        Ok(()) if facts.sha256 == object.sha256 => writer.finish(&facts).await.map(drop),
        Ok(()) => {
            writer.abort().await;
            Err(mismatch(destination, object, facts.sha256))
        }
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    }
}

fn options(object: &ObjectRow) -> WriteOptions {
    let mut metadata = Metadata::default();
    for (name, value) in &object.metadata {
        // It was accepted when the object was stored; were a rule narrower by now, the catalog
        // still knows the value.
        let _ = metadata.insert(name, value);
    }
    WriteOptions {
        content_type: Some(object.content_type.clone()),
        metadata,
        size_hint_bytes: Some(object.size_bytes),
        sha256: Some(object.sha256),
    }
}
