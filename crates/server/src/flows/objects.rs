//! The storage facade as operators use it: put, find, retire and restore objects by key.

use bytes::Bytes;
use futures::Stream;
use stockroom_catalog::{ObjectDetails, ObjectRow};
use stockroom_domain::Key;

use crate::app::App;
use crate::flows::error::FlowError;
use crate::flows::receive::{Intake, discard, receive};

/// Stores an object under a key. One that is there is replaced at once for new readers; its
/// bytes go after the grace period.
///
/// # Errors
/// Any [`FlowError`]; what was there stays then.
pub async fn put<S, E>(app: &App, intake: Intake, body: S) -> Result<ObjectRow, FlowError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let received = receive(app, intake, body).await?;
    let now = app.clock.now();
    let retire_after = now.after(app.limits.delete_grace);
    match app
        .catalog
        .record_object(&received.upload(), now, retire_after)
        .await
    {
        Ok(recorded) => {
            app.wake_engine([&received]);
            Ok(recorded.object)
        }
        Err(error) if error.is_refusal() => {
            discard(app, received).await;
            Err(error.into())
        }
        // As in `record_assets`: a failure may hide a commit, so the bytes stay.
        Err(error) => Err(error.into()),
    }
}

/// Stores the first object under a key: one that is there is no more replaced than one that comes
/// to be there meanwhile.
///
/// # Errors
/// Any [`FlowError`]; among them the conflict that the key names an object.
pub async fn put_first<S, E>(app: &App, intake: Intake, body: S) -> Result<ObjectRow, FlowError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let received = receive(app, intake, body).await?;
    let recorded = app
        .catalog
        .record_first_object(&received.upload(), app.clock.now())
        .await;
    match recorded {
        Ok(object) => {
            app.wake_engine([&received]);
            Ok(object)
        }
        Err(error) if error.is_refusal() => {
            discard(app, received).await;
            Err(error.into())
        }
        // As in `record_assets`: a failure may hide a commit, so the bytes stay.
        Err(error) => Err(error.into()),
    }
}

/// The object under a key.
///
/// # Errors
/// `NotFound`, or that of the catalog.
pub async fn find(app: &App, key: &Key) -> Result<ObjectDetails, FlowError> {
    app.catalog
        .find_object(key)
        .await?
        .ok_or(FlowError::NotFound)
}

/// Deletes the object under a key: at once for readers, its bytes after the grace period.
///
/// # Errors
/// `NotFound`, or that of the catalog.
pub async fn retire(app: &App, key: &Key) -> Result<(), FlowError> {
    let now = app.clock.now();
    app.catalog
        .retire_object(key, now.after(app.limits.delete_grace))
        .await?;
    Ok(())
}

/// Brings back the object of a key that was deleted last, while the grace period lasts.
///
/// # Errors
/// That of the catalog: there is none, or the key names an object.
pub async fn restore(app: &App, key: &Key) -> Result<ObjectRow, FlowError> {
    let object = app.catalog.restore_object(key, app.clock.now()).await?;
    // What a store owed before the deletion it owes again.
    app.engine_bell.notify_one();
    Ok(object)
}
