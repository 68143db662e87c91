//! Bodies that carry files, on their way in.

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use tokio::task::JoinError;

use crate::app::App;
use crate::http::problem::Problem;

/// The body as a stream of pieces that are counted as they come.
pub fn incoming(app: &App, body: Body) -> impl Stream<Item = Result<Bytes, axum::Error>> + use<> {
    let stream: BodyDataStream = body.into_data_stream();
    counted(app, stream)
}

/// Counts the bytes of files that callers send.
pub fn counted<S, E>(app: &App, stream: S) -> impl Stream<Item = Result<Bytes, E>> + use<S, E>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    let uploaded_bytes = app.metrics.uploaded_bytes.clone();
    stream.inspect(move |piece| {
        if let Ok(piece) = piece {
            uploaded_bytes.inc_by(piece.len() as u64);
        }
    })
}

/// How many bytes the caller said would come. hyper has refused what is no number.
#[must_use]
pub fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Runs work that must reach its end even when the caller goes away: hyper drops the handler
/// then, but not this task, which sees the body break off and takes everything back.
///
/// # Errors
/// Those of the work; an internal error when it panicked.
pub async fn to_its_end<T, F>(app: &App, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    let outcome: Result<_, JoinError> = app.tasks.spawn(work).await;
    outcome.map_err(Problem::internal)?
}
