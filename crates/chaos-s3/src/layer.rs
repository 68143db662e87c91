//! The HTTP layer around `s3s`: logs the call, lets faults strike, checks what `s3s` does not
//! know about, and only then passes the request on.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{DATE, HeaderValue, RANGE};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use md5::{Digest, Md5};
use s3s::Body;
use s3s::service::S3Service;

use crate::answer::Refusal;
use crate::body::{BodyPlan, RequestBody, ResponseBody};
use crate::calls::{CallCounters, CallLog};
use crate::clock::http_date;
use crate::connection::{ConnectionControl, Cut};
use crate::faults::{FaultAction, FaultPlan};
use crate::locked;
use crate::operation::{Operation, Target};
use crate::options::Profile;
use crate::service::Store;
use crate::{gate, profile};

/// Everything the connections of one server share.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) s3: S3Service,
    pub(crate) faults: FaultPlan,
    pub(crate) calls: CallLog,
    pub(crate) connections: AtomicU64,
}

/// Answers one request, or ends its connection.
pub(crate) async fn handle(
    shared: Arc<Shared>,
    control: Arc<ConnectionControl>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let target = Target::of(&parts);
    let range = parts.headers.get(RANGE);
    let call = shared.calls.begin(
        target.operation,
        target.key.clone(),
        control.id,
        range.and_then(|r| r.to_str().ok()).map(str::to_owned),
    );
    let (mut body, slot) = RequestBody::new(body, Arc::clone(&call));

    let fault = shared.faults.strike(&target);
    if let Some(answer) = strike_before(fault.as_ref(), &control, &mut body).await {
        return finish(&shared, answer, BodyPlan::Whole, &control, call);
    }

    let response = match run(&shared, target.operation, parts, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    // A client that is still sending would see a broken pipe instead of the answer.
    let unread = locked(&slot).take();
    if let Some(rest) = unread {
        let (mut rest, _slot) = RequestBody::new(rest, Arc::clone(&call));
        read_up_to(&mut rest, u64::MAX).await;
    }

    let plan = match fault {
        Some(FaultAction::LoseAnswerAfterCommit) => control.cut_now(Cut::Reset).await,
        Some(FaultAction::ResetAfterResponseBytes(_)) if response.body().is_end_stream() => {
            control.cut_now(Cut::Reset).await
        }
        Some(FaultAction::ResetAfterResponseBytes(bytes)) => BodyPlan::CutAfter {
            bytes,
            how: Cut::DeliverThenReset,
        },
        Some(FaultAction::TruncateBody(bytes)) => BodyPlan::CutAfter {
            bytes,
            how: Cut::Close,
        },
        Some(FaultAction::FlipBit { offset }) => BodyPlan::FlipBit { offset },
        _ => BodyPlan::Whole,
    };
    finish(&shared, response, plan, &control, call)
}

/// The faults that strike before the operation could take effect.
async fn strike_before(
    fault: Option<&FaultAction>,
    control: &ConnectionControl,
    body: &mut RequestBody,
) -> Option<Response<Body>> {
    match fault? {
        FaultAction::Status {
            status,
            code,
            retry_after_s,
        } => {
            read_up_to(body, u64::MAX).await;
            let mut refusal = Refusal::new(*status, code, "scripted fault");
            if let Some(seconds) = retry_after_s {
                refusal = refusal.header("retry-after", seconds.to_string());
            }
            Some(refusal.into_response())
        }
        FaultAction::CompleteErrorIn200 => {
            read_up_to(body, u64::MAX).await;
            let message = "We encountered an internal error. Please try again.";
            Some(Refusal::new(200, "InternalError", message).into_response())
        }
        FaultAction::ResetAfterRequestBytes(bytes) => {
            read_up_to(body, *bytes).await;
            control.cut_now(Cut::Reset).await
        }
        FaultAction::Hang => std::future::pending().await,
        FaultAction::Delay(duration) => {
            tokio::time::sleep(*duration).await;
            None
        }
        FaultAction::FlipRequestBit { offset } => {
            body.flip_bit(*offset);
            None
        }
        FaultAction::ResetAfterResponseBytes(_)
        | FaultAction::TruncateBody(_)
        | FaultAction::FlipBit { .. }
        | FaultAction::LoseAnswerAfterCommit => None,
    }
}

/// The operation itself.
async fn run(
    shared: &Shared,
    operation: Operation,
    parts: Parts,
    body: RequestBody,
) -> Result<Response<Body>, Refusal> {
    let options = &shared.store.options;
    gate::check(options, &shared.store.clock, &parts)?;
    if options.profile == Profile::B2 {
        profile::check(operation, &parts)?;
    }
    let body = if operation.has_xml_body() {
        checked_xml(&parts, body).await?
    } else {
        Body::http_body_unsync(body)
    };
    let request = Request::from_parts(parts, body);
    shared.s3.call(request).await.map_err(|error| {
        tracing::error!(?error, "the S3 service failed");
        Refusal::new(500, "InternalError", "the S3 service failed")
    })
}

/// Reads a small body whole and verifies its Content-MD5, which `s3s` leaves alone.
async fn checked_xml(parts: &Parts, body: RequestBody) -> Result<Body, Refusal> {
    let bytes = body
        .collect()
        .await
        .map_err(|_| Refusal::new(400, "IncompleteBody", "The request body ended early."))?
        .to_bytes();
    if let Some(given) = parts.headers.get("content-md5") {
        let given = BASE64_STANDARD
            .decode(given.as_bytes())
            .map_err(|_| Refusal::new(400, "InvalidDigest", "The Content-MD5 is not valid."))?;
        if given != Md5::digest(&bytes).as_slice() {
            let message = "The Content-MD5 you specified did not match what we received.";
            return Err(Refusal::new(400, "BadDigest", message));
        }
    }
    Ok(Body::from(bytes))
}

/// Reads and throws away. Errors end the reading: the client is gone.
async fn read_up_to(body: &mut RequestBody, limit_bytes: u64) {
    let mut read = 0;
    while read < limit_bytes {
        match body.frame().await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) | None => return,
        }
    }
}

fn finish(
    shared: &Shared,
    response: Response<Body>,
    plan: BodyPlan,
    control: &Arc<ConnectionControl>,
    call: Arc<CallCounters>,
) -> Response<ResponseBody> {
    call.answered(response.status());
    let mut response =
        response.map(|body| ResponseBody::new(body, plan, Arc::clone(control), call));
    if let Ok(date) = HeaderValue::try_from(http_date(shared.store.clock.now())) {
        response.headers_mut().insert(DATE, date);
    }
    response
}
