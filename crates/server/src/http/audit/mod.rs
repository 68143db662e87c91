//! The record of what operators did: every call with an operator's key that is no GET or HEAD.
//!
//! [`Watch`] is begun around each such call by [`super::layers::around`]; who is calling turns out
//! later, when the key is recognised. The row is written before the answer leaves, in a task of its
//! own, so that neither a failure nor a caller who goes away undoes what was done.

pub mod list;

use std::sync::{Arc, OnceLock};

use axum::extract::Request;
use axum::response::Response;
use http::{Method, StatusCode, Uri};
use stockroom_catalog::AuditRow;
use stockroom_domain::{AuditId, KeyId, Role};
use tokio::runtime::Handle;

use crate::app::App;
use crate::http::address::ClientAddress;
use crate::http::auth::Identity;
use crate::secret_key;

/// The longest target that is recorded, in characters: the longest key, every byte escaped.
const MAX_TARGET: usize = 3_072;

/// What a call made, for the record: an extension of its response. Without it the record names
/// the parameters of the path.
#[derive(Debug, Clone)]
pub struct Target(pub String);

/// Where the operator's key of a call is noted once it is known: an extension of its request.
#[derive(Debug, Clone, Default)]
pub struct OperatorKey(Arc<OnceLock<KeyId>>);

impl OperatorKey {
    /// Notes who is calling.
    pub fn note(&self, identity: &Identity) {
        if let (Some(key), Some(Role::Operator)) = (identity.key, identity.role) {
            // It is the same key each time that one call is recognised.
            self.0.get_or_init(|| key);
        }
    }
}

/// A call that goes into the record when an operator turns out to be calling.
#[derive(Debug)]
pub struct Watch {
    app: App,
    operator: OperatorKey,
    method: Method,
    route: String,
    uri: Uri,
    request_id: String,
    address: Option<ClientAddress>,
}

impl Watch {
    /// Begins to watch a call that may change something.
    pub fn begin(app: &App, request: &mut Request, route: &str, request_id: &str) -> Option<Self> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let operator = OperatorKey::default();
        request.extensions_mut().insert(operator.clone());
        Some(Self {
            app: app.clone(),
            operator,
            method: request.method().clone(),
            route: route.to_owned(),
            uri: request.uri().clone(),
            request_id: request_id.to_owned(),
            address: request.extensions().get().copied(),
        })
    }

    /// Writes what was answered.
    pub fn end(mut self, response: &Response) -> impl Future<Output = ()> + Send + use<> {
        let made = response.extensions().get::<Target>().cloned();
        let row = self.row(Some(response.status()), made);
        // So that it is not recorded once more when this is dropped.
        self.operator = OperatorKey::default();
        let app = self.app.clone();
        async move {
            let Some(row) = row else {
                return;
            };
            // A task does not end when the caller goes away meanwhile.
            let written = app.tasks.spawn(write(app.clone(), row));
            if let Err(error) = written.await {
                tracing::error!(%error, "what an operator did is perhaps not recorded");
            }
        }
    }

    /// What to record; nothing when it was no operator who called.
    fn row(&self, status: Option<StatusCode>, made: Option<Target>) -> Option<AuditRow> {
        let key = *self.operator.0.get()?;
        let now = self.app.clock.now();
        let target = made.map_or_else(|| target(&self.route, self.uri.path()), |made| Some(made.0));
        // Somebody wrote a key where its id belongs: what is on record stays there for ever.
        let target = target.map(|target| secret_key::without_keys(&target));
        Some(AuditRow {
            id: AuditId::generate(now, &*self.app.entropy),
            at: now,
            key: Some(key),
            action: format!("{} {}", self.method, self.route),
            target,
            status: status.map(|status| status.as_u16()),
            request_id: Some(self.request_id.clone()),
            address: self.address.map(|ClientAddress(address)| address),
        })
    }
}

impl Drop for Watch {
    /// The caller went away before there was an answer, and what it asked for may be done or not.
    fn drop(&mut self) {
        let Some(row) = self.row(None, None) else {
            return;
        };
        match Handle::try_current() {
            Ok(runtime) => {
                let writing = write(self.app.clone(), row);
                self.app.tasks.spawn_on(writing, &runtime);
            }
            Err(error) => tracing::error!(%error, ?row, "what an operator did is not recorded"),
        }
    }
}

async fn write(app: App, row: AuditRow) {
    if let Err(error) = app.catalog.record_audit(&row).await {
        app.metrics.audit_failures.inc();
        tracing::error!(%error, ?row, "what an operator did is not recorded");
    }
}

/// The parameters of the path as they stood in it, with slashes between them.
fn target(route: &str, path: &str) -> Option<String> {
    let mut parameters = Vec::new();
    let (mut pattern, mut rest) = (route, path);
    while let Some((before, after)) = pattern.split_once('{') {
        let (name, following) = after.split_once('}')?;
        rest = rest.get(before.len()..)?;
        let end = match name.starts_with('*') {
            true => rest.len(),
            false => rest.find('/').unwrap_or(rest.len()),
        };
        let (parameter, remaining) = rest.split_at(end);
        parameters.push(parameter);
        (pattern, rest) = (following, remaining);
    }
    let target: String = parameters.join("/").chars().take(MAX_TARGET).collect();
    (!parameters.is_empty()).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_the_path_names() {
        for (route, path, named) in [
            ("/v1/models", "/v1/models", None),
            ("/v1/models/{id}", "/v1/models/mdl_1", Some("mdl_1")),
            (
                "/v1/models/{id}/restore",
                "/v1/models/mdl_1/restore",
                Some("mdl_1"),
            ),
            (
                "/v1/models/{id}/assets/{filename}",
                "/v1/models/mdl_1/assets/a%2Fb%00.stl",
                Some("mdl_1/a%2Fb%00.stl"),
            ),
            (
                "/v1/objects/{*key}",
                "/v1/objects/models/a/b",
                Some("models/a/b"),
            ),
            ("unmatched", "/a", None),
            ("/v1/models/{id}", "/v1", None),
        ] {
            assert_eq!(target(route, path).as_deref(), named, "{path}");
        }
        let long = format!("/v1/models/{}", "x".repeat(10_000));
        let named = target("/v1/models/{id}", &long).unwrap();
        assert_eq!(named.len(), MAX_TARGET);
    }
}
