//! The tables. Read them as sentences: this route, in this state of the stock, gives that to
//! those.

use super::callers::GROUPS;
use super::stock::State;

/// `(what happens, to whom)`; together they name every caller once.
pub(crate) type Outcomes = &'static [(&'static str, &'static str)];

const EVERYBODY_EVEN_WITH_BAD_KEYS: &str =
    "anonymous buyers other_artist owner services operators bad_keys";

/// Asks nobody for a key.
const OPEN: Outcomes = &[("200 text", EVERYBODY_EVEN_WITH_BAD_KEYS)];

/// A record that everybody may read; a key that is no good is refused all the same.
const PUBLIC_RECORD: Outcomes = &[
    (
        "200 json",
        "anonymous buyers other_artist owner services operators",
    ),
    ("401 unauthenticated", "bad_keys"),
];

/// Bytes that were paid for. A shop's key gets them for a user only, an operator's for itself too.
const PAID_BYTES: Outcomes = &[
    ("200 file", WHO_GETS_BYTES),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "service"),
    (
        "403 not_purchased",
        "other_buyer refunded expired other_artist service_for_stranger",
    ),
    ("403 download_limit_reached", "used_up"),
];
const PAID_LINK: Outcomes = &[
    ("200 link", WHO_GETS_BYTES),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "service"),
    (
        "403 not_purchased",
        "other_buyer refunded expired other_artist service_for_stranger",
    ),
    ("403 download_limit_reached", "used_up"),
];
const PAID_REDIRECT: Outcomes = &[
    ("302 redirect", WHO_GETS_BYTES),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "service"),
    (
        "403 not_purchased",
        "other_buyer refunded expired other_artist service_for_stranger",
    ),
    ("403 download_limit_reached", "used_up"),
];
const WHO_GETS_BYTES: &str =
    "buyer owner service_for_buyer service_for_owner operator operator_for_buyer";

/// The artist and who runs the shop change a model and its files.
const WHO_CHANGES: &str = "owner service service_for_owner operator";
const WHO_DOES_NOT_CHANGE: &str =
    "buyers other_artist service_for_buyer service_for_stranger operator_for_buyer";
const CHANGED: Outcomes = &[
    ("200 json", WHO_CHANGES),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", WHO_DOES_NOT_CHANGE),
];
const ADDED: Outcomes = &[
    ("201 json", WHO_CHANGES),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", WHO_DOES_NOT_CHANGE),
];
const DELETED: Outcomes = &[
    ("204 nothing", WHO_CHANGES),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", WHO_DOES_NOT_CHANGE),
];

/// Keys of the shop tell of purchases, for whomever they act.
const RECORDED_BY_THE_SHOP: Outcomes = &[
    ("201 json", "services operators"),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "buyers other_artist owner"),
];
const REFUNDED_BY_THE_SHOP: Outcomes = &[
    ("200 json", "services operators"),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "buyers other_artist owner"),
];

/// The storage facade and what shows the machine.
const OPERATOR_ONLY: Outcomes = &[
    ("200 json", "operators"),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "buyers other_artist owner services"),
];
const OPERATOR_MAKES: Outcomes = &[
    ("201 json", "operators"),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "buyers other_artist owner services"),
];
const OPERATOR_DELETES: Outcomes = &[
    ("204 nothing", "operators"),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "buyers other_artist owner services"),
];

/// Objects are for an operator who acts for nobody else.
const OBJECT_RECORD: Outcomes = &[
    ("200 json", "operator"),
    ("401 unauthenticated", "anonymous bad_keys"),
    (
        "403 forbidden",
        "buyers other_artist owner services operator_for_buyer",
    ),
];
const OBJECT_BYTES: Outcomes = &[
    ("200 object", "operator"),
    ("401 unauthenticated", "anonymous bad_keys"),
    (
        "403 forbidden",
        "buyers other_artist owner services operator_for_buyer",
    ),
];
const OBJECT_SIGNED: Outcomes = &[
    ("200 object_link", "operator"),
    ("401 unauthenticated", "anonymous bad_keys"),
    (
        "403 forbidden",
        "buyers other_artist owner services operator_for_buyer",
    ),
];
const OBJECT_STORED: Outcomes = &[
    ("201 json", "operator"),
    ("401 unauthenticated", "anonymous bad_keys"),
    (
        "403 forbidden",
        "buyers other_artist owner services operator_for_buyer",
    ),
];
const OBJECT_DELETED: Outcomes = &[
    ("204 nothing", "operator"),
    ("401 unauthenticated", "anonymous bad_keys"),
    (
        "403 forbidden",
        "buyers other_artist owner services operator_for_buyer",
    ),
];
const OBJECT_NOT_FOUND: Outcomes = &[
    ("404 not_found", "operator"),
    ("401 unauthenticated", "anonymous bad_keys"),
    (
        "403 forbidden",
        "buyers other_artist owner services operator_for_buyer",
    ),
];

/// What nobody may know of. Who must show a key to be told even that is told nothing else.
const NOTHING_THERE: Outcomes = &[
    (
        "404 not_found",
        "anonymous buyers other_artist owner services operators",
    ),
    ("401 unauthenticated", "bad_keys"),
];
const NO_BYTES_THERE: Outcomes = &[
    (
        "404 not_found",
        "buyers other_artist owner services operators",
    ),
    ("401 unauthenticated", "anonymous bad_keys"),
];

/// Every route, with a model that is on show and what was sold of it.
pub(crate) fn published() -> Vec<Row> {
    vec![
        // Models.
        row("POST /v1/models", &[
            ("201 json", "other_artist owner service_for_buyer service_for_stranger service_for_owner operator_for_buyer"),
            // Whose model is it?
            ("400 invalid_request", "service operator"),
            ("401 unauthenticated", "anonymous bad_keys"),
            ("403 forbidden", "buyers"),
        ]).json(r#"{"title": "Helmet"}"#).changes(),
        row("POST /v1/models", &[
            ("201 json", "owner service service_for_owner operator"),
            ("401 unauthenticated", "anonymous bad_keys"),
            ("403 forbidden", "buyers other_artist service_for_buyer service_for_stranger operator_for_buyer"),
        ]).json(r#"{"title": "Helmet", "artist": "mia"}"#).changes(),
        row("GET /v1/models", LISTED).query("q={title}"),
        row("GET /v1/models/{id}", PUBLIC_RECORD),
        row("PATCH /v1/models/{id}", CHANGED).json(r#"{"title": "Boot"}"#).changes(),
        row("PATCH /v1/models/{id}", CHANGED).json(r#"{"status": "draft"}"#).changes(),
        row("DELETE /v1/models/{id}", DELETED).changes(),
        row("POST /v1/models/{id}/restore", CHANGED).changes(),
        // Files.
        row("GET /v1/models/{id}/assets", PUBLIC_RECORD),
        row("POST /v1/models/{id}/assets", ADDED).form().changes(),
        row("PUT /v1/models/{id}/assets/{filename}", ADDED).file().changes(),
        row("GET /v1/assets/{id}", PUBLIC_RECORD),
        row("DELETE /v1/assets/{id}", DELETED).changes(),
        row("POST /v1/assets/{id}/restore", CHANGED).changes(),
        row("GET /v1/assets/{id}/download", PAID_BYTES),
        row("GET /v1/assets/{id}/download", PAID_BYTES).query("delivery=stream"),
        row("GET /v1/assets/{id}/download", PAID_REDIRECT).query("delivery=redirect"),
        row("POST /v1/assets/{id}/signed-url", PAID_LINK),
        row("POST /v1/assets/{id}/signed-url", PAID_LINK).json(r#"{"expires_in": 60}"#),
        // Links. Whoever has one needs nothing else, and without one nothing else helps.
        row("GET /files/{*key}", &[("200 file", EVERYBODY_EVEN_WITH_BAD_KEYS)]).with_link(),
        row("GET /files/{*key}", &[("403 bad_signature", EVERYBODY_EVEN_WITH_BAD_KEYS)]),
        // Purchases. The one that is read and refunded is the buyer's.
        row("POST /v1/purchases", RECORDED_BY_THE_SHOP)
            .json(r#"{"buyer": "nina", "model": "{model}", "order_ref": "new order of {model}"}"#)
            .changes(),
        row("GET /v1/purchases", &[
            ("200 purchases", "buyers other_artist owner services operators"),
            ("401 unauthenticated", "anonymous bad_keys"),
        ]).query("model={model}"),
        row("GET /v1/purchases", &[
            ("200 purchases", "buyer service service_for_buyer operators"),
            ("401 unauthenticated", "anonymous bad_keys"),
            ("403 forbidden", "other_buyer refunded expired used_up other_artist owner service_for_stranger service_for_owner"),
        ]).query("buyer=ben&model={model}"),
        row("GET /v1/purchases/{id}", &[
            ("200 json", "buyer service service_for_buyer operators"),
            ("401 unauthenticated", "anonymous bad_keys"),
            ("404 not_found", "other_buyer refunded expired used_up other_artist owner service_for_stranger service_for_owner"),
        ]),
        row("GET /v1/purchases/{id}/receipt", &[
            ("200 json", "buyer service service_for_buyer operators"),
            ("401 unauthenticated", "anonymous bad_keys"),
            ("404 not_found", "other_buyer refunded expired used_up other_artist owner service_for_stranger service_for_owner"),
        ]),
        row("GET /v1/purchases/{id}/explain", &[
            ("200 json", "service operator"),
            ("401 unauthenticated", "anonymous bad_keys"),
            // It tells of stores and of other orders, which are no business of one user.
            ("403 forbidden", "buyers other_artist owner service_for_buyer service_for_stranger service_for_owner operator_for_buyer"),
        ]),
        row("POST /v1/purchases/{id}/refund", REFUNDED_BY_THE_SHOP).changes(),
        // A signature counts here, and no key helps.
        row("POST /v1/webhooks/purchases", &[("403 bad_signature", EVERYBODY_EVEN_WITH_BAD_KEYS)])
            .json(r#"{"type": "purchase.refunded", "data": {"order_ref": "{model} for buyer"}}"#),
        row("GET /v1/library", &[
            ("200 purchases", "buyers other_artist owner service_for_buyer service_for_stranger service_for_owner operator_for_buyer"),
            // Whose library is it?
            ("400 invalid_request", "service operator"),
            ("401 unauthenticated", "anonymous bad_keys"),
        ]),
        // The storage facade.
        row("GET /v1/objects", OBJECT_RECORD),
        row("PUT /v1/objects/{*key}", OBJECT_STORED).file().changes(),
        row("GET /v1/objects/{*key}", OBJECT_BYTES),
        row("DELETE /v1/objects/{*key}", OBJECT_DELETED).changes(),
        row("POST /v1/objects/{*key}", OBJECT_NOT_FOUND),
        row("POST /v1/objects/{key}/signed-url", OBJECT_SIGNED),
        row("POST /v1/objects/{key}/restore", OBJECT_RECORD).changes(),
        row("GET /v1/storage", OPERATOR_ONLY),
        // Who may call, who is told what happens, and what operators did.
        row("POST /v1/keys", OPERATOR_MAKES).json(r#"{"role": "service"}"#).changes(),
        row("GET /v1/keys", OPERATOR_ONLY),
        row("GET /v1/keys/{id}", OPERATOR_ONLY),
        row("POST /v1/keys/{id}/revoke", OPERATOR_ONLY).changes(),
        row("GET /v1/audit", OPERATOR_ONLY),
        row("POST /v1/webhook-endpoints", OPERATOR_MAKES)
            .json(r#"{"url": "https://shop.example/hooks", "events": ["purchase.refunded"]}"#)
            .changes(),
        row("GET /v1/webhook-endpoints", OPERATOR_ONLY),
        row("GET /v1/webhook-endpoints/{id}", OPERATOR_ONLY),
        row("PATCH /v1/webhook-endpoints/{id}", OPERATOR_ONLY)
            .json(r#"{"status": "disabled"}"#)
            .changes(),
        row("DELETE /v1/webhook-endpoints/{id}", OPERATOR_DELETES).changes(),
        row("POST /v1/webhook-endpoints/{id}/rotate-secret", OPERATOR_ONLY).changes(),
        row("POST /v1/webhook-endpoints/{id}/test", &[
            ("202 json", "operators"),
            ("401 unauthenticated", "anonymous bad_keys"),
            ("403 forbidden", "buyers other_artist owner services"),
        ]).changes(),
        row("GET /v1/webhook-endpoints/{id}/deliveries", OPERATOR_ONLY),
        row("POST /v1/webhook-endpoints/{id}/deliveries/{event}/redeliver", OPERATOR_ONLY).changes(),
        row("POST /v1/webhook-endpoints/{id}/redeliver", OPERATOR_ONLY).changes(),
        // Moving objects. Where there is no bucket there is nowhere to move them to.
        row("POST /v1/migrations", &[
            ("400 invalid_request", "operators"),
            ("401 unauthenticated", "anonymous bad_keys"),
            ("403 forbidden", "buyers other_artist owner services"),
        ]).json(r#"{"to": "s3"}"#),
        row("GET /v1/migrations", OPERATOR_ONLY),
        row("GET /v1/migrations/{id}", OPERATOR_ONLY),
        row("POST /v1/migrations/{id}/pause", OPERATOR_ONLY).changes(),
        row("POST /v1/migrations/{id}/resume", OPERATOR_ONLY).changes(),
        // New objects are still written to the folder.
        row("POST /v1/migrations/{id}/retire", &[
            ("409 migration_conflict", "operators"),
            ("401 unauthenticated", "anonymous bad_keys"),
            ("403 forbidden", "buyers other_artist owner services"),
        ]),
        row("POST /v1/migrations/{id}/rollback", OPERATOR_ONLY).changes(),
        // What is open to all.
        row("GET /livez", OPEN),
        row("GET /readyz", OPEN),
        row("GET /metrics", OPEN),
        row("GET /", &[("307 nothing", EVERYBODY_EVEN_WITH_BAD_KEYS)]),
        row("GET /openapi.json", OPEN),
        row("GET /docs", OPEN),
        row("GET /docs/page.js", OPEN),
        row("GET /docs/page.css", OPEN),
    ]
}

const LISTED: Outcomes = &[
    (
        "200 listed",
        "anonymous buyers other_artist owner services operators",
    ),
    ("401 unauthenticated", "bad_keys"),
];

/// Who knows of a draft: its artist and the shop; of its files also who bought them while they
/// were on show.
const WHO_MAKES_IT: &str = "owner service service_for_owner operator";
const WHO_OWNS_A_COPY: &str = "buyer used_up service_for_buyer operator_for_buyer";
const WHO_KNOWS_NOTHING: &str =
    "anonymous other_buyer refunded expired other_artist service_for_stranger";
const DRAFT_RECORD: Outcomes = &[
    ("200 json", WHO_MAKES_IT),
    ("200 json", WHO_OWNS_A_COPY),
    ("401 unauthenticated", "bad_keys"),
    ("404 not_found", WHO_KNOWS_NOTHING),
];
const DRAFT_CHANGED: Outcomes = &[
    ("200 json", WHO_MAKES_IT),
    ("401 unauthenticated", "bad_keys"),
    ("403 forbidden", WHO_OWNS_A_COPY),
    ("404 not_found", WHO_KNOWS_NOTHING),
];
const DRAFT_ADDED: Outcomes = &[
    ("201 json", WHO_MAKES_IT),
    ("401 unauthenticated", "bad_keys"),
    ("403 forbidden", WHO_OWNS_A_COPY),
    ("404 not_found", WHO_KNOWS_NOTHING),
];
const DRAFT_DELETED: Outcomes = &[
    ("204 nothing", WHO_MAKES_IT),
    ("401 unauthenticated", "bad_keys"),
    ("403 forbidden", WHO_OWNS_A_COPY),
    ("404 not_found", WHO_KNOWS_NOTHING),
];

/// The routes that know of models and files, with a draft that some bought earlier.
pub(crate) fn drafts() -> Vec<Row> {
    let rows = vec![
        row("GET /v1/models", &[
            ("200 listed", WHO_MAKES_IT),
            ("200 unlisted", "anonymous buyers other_artist service_for_buyer service_for_stranger operator_for_buyer"),
            ("401 unauthenticated", "bad_keys"),
        ]).query("q={title}"),
        row("GET /v1/models/{id}", DRAFT_RECORD),
        row("PATCH /v1/models/{id}", DRAFT_CHANGED).json(r#"{"status": "published"}"#).changes(),
        row("DELETE /v1/models/{id}", DRAFT_DELETED).changes(),
        row("POST /v1/models/{id}/restore", BROUGHT_BACK),
        row("GET /v1/models/{id}/assets", DRAFT_RECORD),
        row("POST /v1/models/{id}/assets", DRAFT_ADDED).form().changes(),
        row("PUT /v1/models/{id}/assets/{filename}", DRAFT_ADDED).file().changes(),
        row("GET /v1/assets/{id}", DRAFT_RECORD),
        row("DELETE /v1/assets/{id}", DRAFT_DELETED).changes(),
        row("POST /v1/assets/{id}/restore", DRAFT_CHANGED),
        row("GET /v1/assets/{id}/download", DRAFT_BYTES),
        row("POST /v1/assets/{id}/signed-url", DRAFT_LINK),
        row("GET /files/{*key}", &[("200 file", EVERYBODY_EVEN_WITH_BAD_KEYS)]).with_link(),
    ];
    rows.into_iter()
        .map(|row| row.in_state(State::Draft))
        .collect()
}

const DRAFT_BYTES: Outcomes = &[
    ("200 file", WHO_GETS_BYTES),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "service"),
    ("403 not_purchased", "refunded expired"),
    ("403 download_limit_reached", "used_up"),
    (
        "404 not_found",
        "other_buyer other_artist service_for_stranger",
    ),
];
const DRAFT_LINK: Outcomes = &[
    ("200 link", WHO_GETS_BYTES),
    ("401 unauthenticated", "anonymous bad_keys"),
    ("403 forbidden", "service"),
    ("403 not_purchased", "refunded expired"),
    ("403 download_limit_reached", "used_up"),
    (
        "404 not_found",
        "other_buyer other_artist service_for_stranger",
    ),
];

/// Only who may bring it back knows that it was there.
const BROUGHT_BACK: Outcomes = &[
    ("200 json", WHO_CHANGES),
    ("401 unauthenticated", "bad_keys"),
    (
        "404 not_found",
        "anonymous buyers other_artist service_for_buyer service_for_stranger operator_for_buyer",
    ),
];

/// The same routes, once the model was deleted, and those of files once the file alone was.
pub(crate) fn deleted() -> Vec<Row> {
    let models = vec![
        row(
            "GET /v1/models",
            &[
                (
                    "200 unlisted",
                    "anonymous buyers other_artist owner services operators",
                ),
                ("401 unauthenticated", "bad_keys"),
            ],
        )
        .query("q={title}"),
        row("GET /v1/models/{id}", NOTHING_THERE),
        row("PATCH /v1/models/{id}", NOTHING_THERE).json(r#"{"status": "published"}"#),
        row("DELETE /v1/models/{id}", NOTHING_THERE),
        row("POST /v1/models/{id}/restore", BROUGHT_BACK).changes(),
        row("GET /v1/models/{id}/assets", NOTHING_THERE),
        row("POST /v1/models/{id}/assets", NOTHING_THERE).form(),
        row("PUT /v1/models/{id}/assets/{filename}", NOTHING_THERE).file(),
        row(
            "POST /v1/purchases",
            &[
                ("404 not_found", "services operators"),
                ("401 unauthenticated", "anonymous bad_keys"),
                ("403 forbidden", "buyers other_artist owner"),
            ],
        )
        .json(r#"{"buyer": "nina", "model": "{model}", "order_ref": "late"}"#),
        row(
            "POST /v1/assets/{id}/restore",
            &[
                ("409 model_deleted", WHO_CHANGES),
                ("401 unauthenticated", "bad_keys"),
                (
                    "404 not_found",
                    "anonymous buyers other_artist service_for_buyer service_for_stranger operator_for_buyer",
                ),
            ],
        ),
    ];
    let files = || {
        vec![
            row("GET /v1/assets/{id}", NOTHING_THERE),
            row("DELETE /v1/assets/{id}", NOTHING_THERE),
            row("GET /v1/assets/{id}/download", NO_BYTES_THERE),
            row("GET /v1/assets/{id}/download", NO_BYTES_THERE).query("delivery=redirect"),
            row("POST /v1/assets/{id}/signed-url", NO_BYTES_THERE),
            row(
                "GET /files/{*key}",
                &[("404 not_found", EVERYBODY_EVEN_WITH_BAD_KEYS)],
            )
            .with_link(),
        ]
    };
    let file_alone = row("POST /v1/assets/{id}/restore", BROUGHT_BACK).changes();
    let model_deleted = models.into_iter().chain(files());
    let file_deleted = files().into_iter().chain([file_alone]);
    model_deleted
        .map(|row| row.in_state(State::ModelDeleted))
        .chain(file_deleted.map(|row| row.in_state(State::FileDeleted)))
        .collect()
}

/// All tables.
pub(crate) fn all() -> Vec<Row> {
    [published(), drafts(), deleted()].concat()
}

/// What a request carries. Texts are filled with what the stock holds: `{model}`, `{title}`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sends {
    Nothing,
    Json(&'static str),
    /// A model file as the body.
    File,
    /// A form with a model file.
    Form,
}

/// One route, what is sent to it, and what comes back to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Method and path, as the router has them.
    pub(crate) route: &'static str,
    pub(crate) query: &'static str,
    pub(crate) sends: Sends,
    /// The path is that of a link which the server signed.
    pub(crate) with_link: bool,
    pub(crate) state: State,
    /// Each cell needs stock of its own.
    pub(crate) changes: bool,
    pub(crate) outcomes: Outcomes,
}

fn row(route: &'static str, outcomes: Outcomes) -> Row {
    Row {
        route,
        query: "",
        sends: Sends::Nothing,
        with_link: false,
        state: State::Published,
        changes: false,
        outcomes,
    }
}

impl Row {
    fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    fn json(self, body: &'static str) -> Self {
        Self {
            sends: Sends::Json(body),
            ..self
        }
    }

    fn file(self) -> Self {
        Self {
            sends: Sends::File,
            ..self
        }
    }

    fn form(self) -> Self {
        Self {
            sends: Sends::Form,
            ..self
        }
    }

    fn with_link(self) -> Self {
        Self {
            with_link: true,
            ..self
        }
    }

    fn changes(self) -> Self {
        Self {
            changes: true,
            ..self
        }
    }

    fn in_state(self, state: State) -> Self {
        Self { state, ..self }
    }

    /// What the row is about, for messages.
    pub(crate) fn name(&self) -> String {
        let (query, sends) = (self.query, self.sends);
        let link = if self.with_link { " with its link" } else { "" };
        format!("{} ?{query}{link}, {:?}, {sends:?}", self.route, self.state)
    }

    /// Every caller with what it gets.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        self.outcomes.iter().flat_map(|(outcome, callers)| {
            callers.split(' ').flat_map(move |word| {
                let group = GROUPS.iter().find(|(name, _)| *name == word);
                let callers = group.map_or(word, |(_, callers)| callers);
                callers.split(' ').map(move |caller| (caller, *outcome))
            })
        })
    }

    /// Whether bytes, or a way to them, come back to anybody.
    pub(crate) fn is_about_bytes(&self) -> bool {
        ["/download", "/signed-url", "/files/"]
            .iter()
            .any(|part| self.route.contains(part))
            || self.route == "GET /v1/objects/{*key}"
    }
}
