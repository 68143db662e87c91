//! `GET /v1/purchases/{id}/explain`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use stockroom_domain::{AssetId, Filename, ModelId, PurchaseId, Subject};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::flows::explain::chain::{AssetOutcome, Outcome, Step};
use crate::flows::explain::{self as flow, Explanation, Question};
use crate::flows::ledger;
use crate::http::auth::Identity;
use crate::http::codes::Code;
use crate::http::extract::{Id, Query};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::purchases::SHOP;

/// How many bytes one call reads when it is asked to: a caller waits for the answer.
const MAX_READ_BYTES: u64 = 1 << 30;

/// What is looked at, and how closely.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// Only this file of the model; else the newest version of each, up to 20.
    asset: Option<String>,
    /// `true` reads the copies and compares their hash, up to 1 GiB in all; else only their sizes
    /// are compared.
    deep: Option<bool>,
}

/// Why the buyer can or cannot download.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub struct ExplanationView {
    /// `pur_...`
    #[schema(value_type = String)]
    pub purchase: PurchaseId,
    /// The shop's own name for the order.
    pub order_ref: String,
    /// The user who bought.
    #[schema(value_type = String)]
    pub buyer: Subject,
    /// The model that was bought.
    #[schema(value_type = String)]
    pub model: ModelId,
    /// Whether the chain is whole: nothing keeps the buyer from downloading.
    pub ok: bool,
    /// The link that keeps the buyer from it: the first that is proven broken, else the first that
    /// cannot be told.
    pub first_broken: Option<&'static str>,
    /// What to do about that link.
    pub fix: Option<String>,
    /// Every link: `purchase`, `model`, `asset`, `record`, `placements`, `bytes`, `link`, `clock`.
    pub steps: Vec<StepView>,
}

/// One link of the chain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplanationStep)]
pub struct StepView {
    /// Which.
    pub step: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub outcome: OutcomeView,
    /// The files for which there is something to say, where several were looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<AssetOutcomeView>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplanationOutcome)]
pub struct OutcomeView {
    /// Whether the buyer gets past this link; `null` where it was not tried.
    pub ok: Option<bool>,
    /// `ok`; `warning`: it holds, and something should be looked at; `broken`; `unknown`: it cannot
    /// be told now; `skipped`: it was not tried, because an earlier link does not hold.
    pub state: &'static str,
    /// What was found, in sentences.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What was found for one file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplanationAsset)]
pub struct AssetOutcomeView {
    /// `ast_...`
    #[schema(value_type = String)]
    pub asset: AssetId,
    /// The name the artist gave it.
    #[schema(value_type = String)]
    pub filename: Filename,
    /// What was found.
    #[serde(flatten)]
    pub outcome: OutcomeView,
}

/// Says why the buyer can or cannot download: follows the purchase from the gate to the bytes, and
/// names the first link that does not hold with its fix. Nothing is changed.
#[utoipa::path(get, path = "/v1/purchases/{id}/explain", tag = "purchases",
    params(("id" = String, Path), ExplainQuery),
    responses(
        (status = 200, description = "The chain, whole or not.", body = ExplanationView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn explain(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<PurchaseId>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<ExplanationView>, Problem> {
    identity.require(&SHOP)?;
    // The answer tells of stores and of other orders, which are no business of one user.
    if !identity.caller.runs_the_shop() {
        return Err(Problem::new(
            Code::Forbidden,
            "This is answered to the shop itself. Leave the header Stockroom-Act-As out.",
        ));
    }
    let question = Question {
        asset: query.asset.as_deref().map(asset_id).transpose()?,
        max_read_bytes: query.deep.unwrap_or(false).then_some(MAX_READ_BYTES),
        patience: Question::PATIENCE,
    };
    // Without it the counts are a moment old, which is no reason to refuse.
    let _ = ledger::flush(&app).await;
    let purchase = app.catalog.find_purchase(id).await?;
    let purchase = purchase.ok_or_else(Problem::not_found)?;
    Ok(Json(flow::explain(&app, purchase, question).await?.into()))
}

fn asset_id(text: &str) -> Result<AssetId, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid("asset is the id of a file, which begins with ast_."))
}

impl From<Explanation> for ExplanationView {
    fn from(explanation: Explanation) -> Self {
        let first_broken = explanation.first_broken();
        Self {
            ok: first_broken.is_none(),
            first_broken: first_broken.map(|step| step.name.as_str()),
            fix: first_broken.and_then(|step| step.outcome.fix.clone()),
            steps: explanation.steps.into_iter().map(StepView::from).collect(),
            purchase: explanation.purchase.id,
            order_ref: explanation.purchase.order_ref,
            buyer: explanation.purchase.buyer,
            model: explanation.purchase.model_id,
        }
    }
}

impl From<Step> for StepView {
    fn from(step: Step) -> Self {
        Self {
            step: step.name.as_str(),
            outcome: step.outcome.into(),
            assets: step.assets.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Outcome> for OutcomeView {
    fn from(outcome: Outcome) -> Self {
        Self {
            ok: outcome.state.holds(),
            state: outcome.state.as_str(),
            detail: outcome.detail,
            fix: outcome.fix,
        }
    }
}

impl From<AssetOutcome> for AssetOutcomeView {
    fn from(found: AssetOutcome) -> Self {
        Self {
            asset: found.asset,
            filename: found.filename,
            outcome: found.outcome.into(),
        }
    }
}
