//! `GET` and `HEAD /v1/assets/{id}/download`: who -> gate -> where -> deliver.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method};
use serde::Deserialize;
use stockroom_domain::{Action, AssetId, GrantKind};
use stockroom_storage::Disposition;
use utoipa::IntoParams;

use crate::app::App;
use crate::flows::deliver::{self, Delivery, Presentation};
use crate::flows::ledger::{self, Account, Asker, Giving};
use crate::http::address::ClientAddress;
use crate::http::assets::{Permitted, link_to, permitted, permitted_now};
use crate::http::auth::Credentials;
use crate::http::bytes::{REDIRECT_EXPIRES_IN, asked_range, redirect, respond};
use crate::http::extract::{Id, Query, TakenHeaders};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::content_type;

/// How the bytes are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DownloadQuery {
    /// `stream` for the bytes, `redirect` for a signed URL; else as the operator set.
    delivery: Option<String>,
}

/// Downloads a file that the caller bought, made or runs the shop of. Ranges and conditional
/// requests work as in RFC 9110; the ETag is the SHA-256 of the bytes.
#[utoipa::path(method(get, head), path = "/v1/assets/{id}/download", tag = "assets",
    params(("id" = String, Path), DownloadQuery),
    responses(
        (status = 200, description = "All bytes.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 302, description = "The bytes are at the signed URL in `Location`."),
        (status = 304, description = "The caller's copy is current."),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn download(
    State(app): State<App>,
    credentials: Credentials,
    address: Option<ClientAddress>,
    Id(id): Id<AssetId>,
    Query(query): Query<DownloadQuery>,
    method: Method,
    TakenHeaders(headers): TakenHeaders,
) -> Result<Response, Problem> {
    let wanted = Wanted {
        delivery: asked_delivery(query.delivery.as_deref())?,
        address: address.map(|ClientAddress(address)| address),
        method,
        headers,
    };
    let known = permitted(&app, &credentials, id, Action::Download).await?;
    match give(&app, &known, &wanted).await {
        // Another server may have moved the bytes since this one asked where they lie.
        Err(problem) if known.is_kept && problem.status().is_server_error() => {
            let now = permitted_now(&app, &credentials, id, Action::Download).await?;
            give(&app, &now, &wanted).await
        }
        outcome => outcome,
    }
}

/// What a caller wants of the bytes.
struct Wanted {
    delivery: Option<Delivery>,
    address: Option<IpAddr>,
    method: Method,
    headers: HeaderMap,
}

/// Where -> deliver.
async fn give(app: &App, permitted: &Permitted, wanted: &Wanted) -> Result<Response, Problem> {
    let details = &*permitted.details;
    let asker = Asker {
        key: permitted.identity.key,
        address: wanted.address,
    };
    let presentation = Presentation {
        disposition: Disposition::Attachment {
            filename: Some(details.asset.filename.as_str().to_owned()),
        },
        content_type: Some(content_type(&details.asset)),
    };
    let object = &details.asset.object;
    let account = Account::of(&permitted.grant, details, asker);
    let (method, headers) = (&wanted.method, &wanted.headers);
    match deliver::choose(app, object, wanted.delivery) {
        Delivery::Stream => {
            let on = account.as_ref().map(|it| (it, GrantKind::Stream));
            respond(app, details.into(), on, &presentation, method, headers).await
        }
        Delivery::Redirect => {
            let to = link_to(account.as_ref());
            let link = deliver::sign(app, object, presentation, to, REDIRECT_EXPIRES_IN).await?;
            if let Some(account) = account.filter(|_| method == Method::GET) {
                let range = asked_range(object, headers);
                let giving = Giving::link(GrantKind::Redirect, range, link.store);
                ledger::charge(app, &account, giving).await?;
            }
            redirect(&link.signed)
        }
    }
}

fn asked_delivery(text: Option<&str>) -> Result<Option<Delivery>, Problem> {
    match text {
        None | Some("auto") => Ok(None),
        Some("stream") => Ok(Some(Delivery::Stream)),
        Some("redirect") => Ok(Some(Delivery::Redirect)),
        Some(_) => Err(Problem::invalid("delivery is stream or redirect.")),
    }
}
