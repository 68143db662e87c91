//! `POST /v1/assets/{id}/signed-url`

use axum::extract::State;
use serde::Deserialize;
use stockroom_domain::{Action, AssetId, GrantKind};
use utoipa::ToSchema;

use crate::app::App;
use crate::flows::deliver::{self, Presentation};
use crate::flows::ledger::{self, Account, Asker, Giving};
use crate::http::address::ClientAddress;
use crate::http::assets::{link_to, permitted};
use crate::http::auth::Credentials;
use crate::http::bytes::{parse_disposition, parse_expires_in};
use crate::http::extract::{Id, JsonOrNothing};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::{SignedUrlView, content_type};

/// What the URL should be like.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignBody {
    /// How long it lives, in seconds: 1 to 604,800; 900 when left out.
    pub expires_in: Option<u64>,
    /// `attachment` (when left out) or `inline`.
    pub disposition: Option<String>,
}

/// Makes a URL with which anybody can download the file until it ends.
#[utoipa::path(post, path = "/v1/assets/{id}/signed-url", tag = "assets",
    params(("id" = String, Path)), request_body = SignBody,
    responses(
        (status = 200, description = "The URL.", body = SignedUrlView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn sign(
    State(app): State<App>,
    credentials: Credentials,
    address: Option<ClientAddress>,
    Id(id): Id<AssetId>,
    body: Result<JsonOrNothing<SignBody>, Problem>,
) -> Result<axum::Json<SignedUrlView>, Problem> {
    let permitted = permitted(&app, &credentials, id, Action::SignUrl).await?;
    let JsonOrNothing(body) = body?;
    let details = &permitted.details;
    let filename = details.asset.filename.as_str().to_owned();
    let presentation = Presentation {
        disposition: parse_disposition(body.disposition.as_deref(), Some(filename))?,
        content_type: Some(content_type(&details.asset)),
    };
    let expires_in = parse_expires_in(body.expires_in)?;
    let asker = Asker {
        key: permitted.identity.key,
        address: address.map(|ClientAddress(address)| address),
    };
    let account = Account::of(&permitted.grant, details, asker);
    let object = &details.asset.object;
    let to = link_to(account.as_ref());
    let link = deliver::sign(&app, object, presentation, to, expires_in).await?;
    if let Some(account) = account {
        let giving = Giving::link(GrantKind::SignedUrl, 0..object.size_bytes, link.store);
        ledger::charge(&app, &account, giving).await?;
    }
    Ok(axum::Json(link.signed.into()))
}
