//! `POST /v1/keys`

use std::fmt;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use stockroom_domain::{Role, Subject, Timestamp};
use utoipa::ToSchema;

use crate::app::App;
use crate::flows::keys::{self, KeyRequest, SubjectFault};
use crate::http::audit::Target;
use crate::http::auth::Identity;
use crate::http::extract::Json;
use crate::http::fields;
use crate::http::keys::KeyView;
use crate::http::problem::{Problem, ProblemBody};

/// A new key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyBody {
    /// `operator`, `service`, `artist` or `buyer`.
    #[schema(value_type = String)]
    role: Role,
    /// The user whose key it is, by the shop's own id; for artists and buyers, and for nobody else.
    #[schema(value_type = Option<String>)]
    subject: Option<Subject>,
    /// A name to recognise it by.
    name: Option<String>,
    /// When it ends, RFC 3339; never when left out.
    #[schema(value_type = Option<String>)]
    expires_at: Option<Timestamp>,
}

/// A key as it is shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = NewKey)]
pub struct NewKeyView {
    /// What callers send: `sr_live_...`. It is not kept and cannot be shown again.
    key: String,
    #[serde(flatten)]
    row: KeyView,
}

impl fmt::Debug for NewKeyView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.row, f)
    }
}

/// Makes a key. Its secret form is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = NewKeyBody,
    responses(
        (status = 201, description = "The key, with its secret form.", body = NewKeyView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn create(
    State(app): State<App>,
    identity: Identity,
    body: Result<Json<NewKeyBody>, Problem>,
) -> Result<Response, Problem> {
    identity.require_operator()?;
    let Json(body) = body?;
    keys::check_subject(body.role, body.subject.as_ref())?;
    let now = app.clock.now();
    if body.expires_at.is_some_and(|end| end <= now) {
        return Err(Problem::invalid("expires_at is not in the future."));
    }
    let request = KeyRequest {
        role: body.role,
        subject: body.subject,
        name: body.name.as_deref().map(fields::key_name).transpose()?,
        expires_at: body.expires_at,
    };
    let (secret, row) = keys::create(&app.catalog, &*app.entropy, now, request).await?;
    let created = NewKeyView {
        key: secret.reveal(),
        row: row.into(),
    };
    let made = Extension(Target(created.row.id.to_string()));
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, made, axum::Json(created)).into_response())
}

impl From<SubjectFault> for Problem {
    fn from(fault: SubjectFault) -> Self {
        let fix = match fault {
            SubjectFault::Missing(_) => "Send subject, the shop's id of the user.",
            SubjectFault::Needless(_) => "Leave subject out; name can say what the key is for.",
        };
        Self::invalid(format!("{fault} {fix}"))
    }
}
