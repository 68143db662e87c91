//! `POST /v1/webhooks/purchases`

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::Serialize;
use stockroom_domain::Timestamp;
use utoipa::ToSchema;

use crate::app::App;
use crate::flows::orders::{self, ApplyError, BodyError, OrderEvent, Outcome, stripe};
use crate::flows::signatures::{SignatureError, TOLERANCE, standard};
use crate::http::codes::Code;
use crate::http::extract::RawBody;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::PurchaseView;

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PurchaseEventOutcome)]
pub struct OutcomeView {
    /// `recorded`, `refunded`, `unchanged` (the same was known before) or `ignored`.
    outcome: &'static str,
    /// The purchase of the order as it is now; `null` when there is none yet.
    purchase: Option<PurchaseView>,
    /// The shop's own name for the order; `null` when the event is about none.
    order_ref: Option<String>,
    /// Why the event was ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// Records or refunds the purchase that a signed event tells of. An event may come twice, late or
/// before the one it follows: what is recorded in the end is the same. Two dialects are known by
/// their headers: Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`) with
/// the events `purchase.created` and `purchase.refunded`, and Stripe (`Stripe-Signature`).
#[utoipa::path(post, path = "/v1/webhooks/purchases", tag = "purchases", security(()),
    params(
        ("webhook-id" = Option<String>, Header, description = "The event's id, without a full stop."),
        ("webhook-timestamp" = Option<i64>, Header, description = "When it was signed, in seconds since 1970."),
        ("webhook-signature" = Option<String>, Header, description = "`v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`; several with spaces in between."),
        ("Stripe-Signature" = Option<String>, Header, description = "In the place of the other three, for events of Stripe."),
    ),
    request_body(content = Object, description = "The event. Its signature covers every byte.",
        example = json!({"type": "purchase.created", "timestamp": "2026-11-23T09:30:00Z", "data": {
            "order_ref": "A-1001", "buyer": "u-42", "model": "mdl_01k9g9q3v5w8x2y4z6a8b0c2d4",
            "expires_at": null, "download_limit": 5}})),
    responses(
        (status = 200, description = "What became of it.", body = OutcomeView),
        (status = 403, description = "`bad_signature` or `signature_expired`", body = ProblemBody),
        (status = 404, description = "`not_found`: it names a model that does not exist", body = ProblemBody),
        (status = 409, description = "`order_conflict`", body = ProblemBody),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn receive(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<RawBody, Problem>,
) -> Result<Json<OutcomeView>, Problem> {
    let signature = Signature::in_headers(&headers)?;
    let RawBody(body) = body?;
    let event = signature.open(&app, &body)?;
    let order_ref = event.order_ref().map(str::to_owned);
    let outcome = orders::apply(&app, event).await?;
    Ok(Json(view(outcome, order_ref, app.clock.now())))
}

/// The headers of one of the two dialects.
enum Signature<'h> {
    Standard {
        id: &'h str,
        timestamp: &'h str,
        signature: &'h str,
    },
    Stripe(&'h str),
}

impl<'h> Signature<'h> {
    fn in_headers(headers: &'h HeaderMap) -> Result<Self, Problem> {
        let of_standard = [standard::ID, standard::TIMESTAMP, standard::SIGNATURE];
        let is_standard = of_standard.iter().any(|name| headers.contains_key(*name));
        let is_stripe = headers.contains_key(stripe::SIGNATURE);
        match (is_standard, is_stripe) {
            (true, false) => Ok(Self::Standard {
                id: the_one(headers, standard::ID)?,
                timestamp: the_one(headers, standard::TIMESTAMP)?,
                signature: the_one(headers, standard::SIGNATURE)?,
            }),
            (false, true) => Ok(Self::Stripe(the_one(headers, stripe::SIGNATURE)?)),
            (false, false) => Err(bad_signature(
                "The event is not signed. Send webhook-id, webhook-timestamp and webhook-signature, or Stripe-Signature.",
            )),
            (true, true) => Err(bad_signature(
                "The event is signed in two ways. Send either the headers webhook-* or Stripe-Signature.",
            )),
        }
    }

    /// The event in a body that was signed in this way.
    fn open(&self, app: &App, body: &[u8]) -> Result<OrderEvent, Problem> {
        let secrets = &app.purchase_events;
        let now = app.clock.now();
        match self {
            Self::Standard { .. } if secrets.standard.is_empty() => {
                Err(no_secret("PURCHASE_WEBHOOK_SECRETS"))
            }
            Self::Stripe(_) if secrets.stripe.is_empty() => {
                Err(no_secret("STRIPE_WEBHOOK_SECRETS"))
            }
            Self::Standard {
                id,
                timestamp,
                signature,
            } => {
                let verified =
                    standard::verify(&secrets.standard, id, timestamp, signature, body, now)?;
                Ok(orders::standard::parse(verified.body())?)
            }
            Self::Stripe(header) => {
                let verified = stripe::verify(&secrets.stripe, header, body, now)?;
                Ok(stripe::parse(verified.body())?)
            }
        }
    }
}

/// The value of a header that must be there once.
fn the_one<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(http::HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        (None, _) => Err(bad_signature(format!("The header {name} is missing."))),
        (Some(_), _) => Err(bad_signature(format!(
            "The header {name} must be there once, in visible ASCII characters."
        ))),
    }
}

fn bad_signature(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::BadSignature, detail)
}

fn no_secret(setting: &str) -> Problem {
    bad_signature(format!(
        "No event that is signed in this way is taken here. Set {setting} on the server first."
    ))
}

fn view(outcome: Outcome, order_ref: Option<String>, now: Timestamp) -> OutcomeView {
    let (outcome, row, reason) = match outcome {
        Outcome::Recorded(row) => ("recorded", Some(row), None),
        Outcome::Refunded(row) => ("refunded", row, None),
        Outcome::Unchanged(row) => ("unchanged", row, None),
        Outcome::Ignored(reason) => ("ignored", None, Some(reason)),
    };
    OutcomeView {
        outcome,
        purchase: row.map(|row| PurchaseView::of(row, now)),
        order_ref,
        reason,
    }
}

impl From<SignatureError> for Problem {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Malformed { header, wrong } => {
                bad_signature(format!("The header {header} {wrong}."))
            }
            SignatureError::Mismatch => bad_signature(
                "No signature was made over this body with a secret that is known here. Send the body byte by byte as it was signed, and compare the secrets.",
            ),
            SignatureError::Expired => Self::new(
                Code::SignatureExpired,
                format!(
                    "The signature is right, and was made more than {} seconds from now. Send the event again, signed anew; if that does not help, compare the clocks.",
                    TOLERANCE.as_secs()
                ),
            ),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::invalid(format!("The event does not fit: {error}."))
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::NoSuchModel => Self::new(
                Code::NotFound,
                "The event names a model that does not exist here.",
            ),
            ApplyError::Catalog(error) => error.into(),
        }
    }
}
