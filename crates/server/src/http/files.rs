//! `GET` and `HEAD /files/...`: this server's own signed URLs.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method, Uri};
use stockroom_domain::{Action, Caller, Decision, GrantKind, PurchaseId, permits};
use stockroom_storage::{SignatureError, VerifiedUrl};

use crate::app::App;
use crate::flows::deliver::Presentation;
use crate::flows::ledger::{Account, Asker};
use crate::http::address::ClientAddress;
use crate::http::bytes::respond;
use crate::http::codes::Code;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::content_type;

/// Delivers a file to whoever has a signed URL for it. Nothing else is asked for. A URL that was
/// made for a purchase ends with it: after a refund it is refused like any other download.
#[utoipa::path(method(get, head), path = "/files/{*key}", tag = "files", security(()),
    params(("key" = String, Path, description = "As it was signed.")),
    responses(
        (status = 200, description = "All bytes.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The caller's copy is current."),
        (status = 403, description = "`bad_signature`, `signature_expired`; or as for a download, when the purchase ended", body = ProblemBody),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn get(
    State(app): State<App>,
    address: Option<ClientAddress>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let raw_path = uri
        .path()
        .strip_prefix("/files/")
        .ok_or_else(Problem::not_found)?;
    let raw_query = uri.query().unwrap_or_default();
    let verified = app
        .signer
        .verify(method.as_str(), raw_path, raw_query, app.clock.now())
        .map_err(refused)?;
    if let Some(holder) = &verified.holder {
        let purchase = holder.parse().map_err(|_| refused(SignatureError::Bad))?;
        return purchased(&app, purchase, verified, address, &method, &headers).await;
    }
    // The signature names where the bytes lie, so that a link never leads to other bytes than
    // those it was made for.
    let row = app
        .catalog
        .find_object_by_location(&verified.key)
        .await?
        .ok_or_else(Problem::not_found)?;
    let presentation = Presentation {
        disposition: verified.disposition,
        content_type: verified
            .content_type
            .or_else(|| Some(row.object.content_type.clone())),
    };
    respond(&app, (&row).into(), None, &presentation, &method, &headers).await
}

/// Asks the gate whether the purchase that a link was made for still stands.
async fn purchased(
    app: &App,
    purchase: PurchaseId,
    link: VerifiedUrl,
    address: Option<ClientAddress>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let details = app.catalog.linked_asset(&link.key, purchase).await?;
    let Some((details, buyer)) = details.and_then(|details| {
        let buyer = details.purchase.as_ref()?.buyer.clone();
        Some((details, buyer))
    }) else {
        return Err(Problem::not_found());
    };
    // Whoever made the link acted for the buyer, and whoever follows it can do no more.
    let grant = match permits(
        &Caller::Buyer(buyer),
        &details.facts(),
        Action::Download,
        now,
    ) {
        Decision::Allow(grant) => grant,
        Decision::Deny(denial) => return Err(denial.into()),
    };
    let asker = Asker {
        key: None,
        address: address.map(|ClientAddress(address)| address),
    };
    let account = Account::of(&grant, &details, asker);
    let on = account.as_ref().map(|it| (it, GrantKind::Link));
    let presentation = Presentation {
        disposition: link.disposition,
        content_type: link
            .content_type
            .or_else(|| Some(content_type(&details.asset))),
    };
    respond(app, (&details).into(), on, &presentation, method, headers).await
}

fn refused(error: SignatureError) -> Problem {
    match error {
        SignatureError::Bad => Problem::new(
            Code::BadSignature,
            "This link was not made here, or it was changed. Ask for a new one.",
        ),
        SignatureError::Expired => Problem::new(
            Code::SignatureExpired,
            "This link has expired. Ask for a new one.",
        ),
    }
}
