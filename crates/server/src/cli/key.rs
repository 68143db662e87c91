//! `stockroom key`: makes, lists and revokes API keys.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use stockroom_catalog::{AuditRow, Catalog, KeyRow, Page};
use stockroom_domain::{AuditId, KeyId, Role, Subject, Timestamp};

use super::Context;
use super::error::CliError;
use crate::config::parse_duration;
use crate::exit::Exit;
use crate::flows::keys::{self, KeyRequest, SubjectFault};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it; it cannot be shown again
    Create(CreateArgs),
    /// List all keys, newest first
    List,
    /// End a key for good
    Revoke(RevokeArgs),
}

/// What a new key is for.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// operator, service, artist or buyer
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// The user whose key it is, by the shop's own id; for artist and buyer
    #[arg(long)]
    subject: Option<Subject>,
    /// A name to recognise the key by
    #[arg(long)]
    name: Option<String>,
    /// How long the key is good for, such as 24h or 90d; without it for ever
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Option<Duration>,
}

/// Which key to revoke.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The id of the key, as `key list` shows it
    // Not parsed by clap, which would repeat it: a secret key may stand here by mistake.
    id: String,
}

/// A key as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    id: KeyId,
    role: Role,
    subject: Option<&'a Subject>,
    name: Option<&'a str>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

/// A key as it is shown once.
#[derive(Serialize)]
struct Created<'a> {
    id: KeyId,
    key: String,
    role: Role,
    subject: Option<&'a Subject>,
    name: Option<&'a str>,
    expires_at: Option<Timestamp>,
}

/// A request that makes sense.
enum Request {
    Create(CreateArgs),
    List,
    Revoke(KeyId),
}

/// Does what was asked for.
///
/// # Errors
/// The request makes no sense, or the database fails.
pub async fn run(context: &Context, command: KeyCommand) -> Result<Exit, CliError> {
    // Before the catalog is opened, which would make one.
    let request = check(command)?;
    let catalog = context.catalog().await?;
    let outcome = match request {
        Request::Create(args) => create(context, &catalog, args).await,
        Request::List => list(context, &catalog).await,
        Request::Revoke(id) => revoke(context, &catalog, id).await,
    };
    catalog.close().await;
    outcome.map(|()| Exit::Ok)
}

fn check(command: KeyCommand) -> Result<Request, CliError> {
    match command {
        KeyCommand::Create(args) => {
            keys::check_subject(args.role, args.subject.as_ref()).map_err(wrong_subject)?;
            Ok(Request::Create(args))
        }
        KeyCommand::List => Ok(Request::List),
        KeyCommand::Revoke(args) => args.id.parse().map(Request::Revoke).map_err(|_| {
            CliError::usage("This is not the id of a key.")
                .with_fix("Give the id that begins with key_; stockroom key list shows it.")
        }),
    }
}

fn wrong_subject(fault: SubjectFault) -> CliError {
    CliError::usage(fault.to_string()).with_fix(match fault {
        SubjectFault::Missing(_) => "Add --subject and the shop's id of the user.",
        SubjectFault::Needless(_) => "Leave --subject out; --name can say what the key is for.",
    })
}

async fn create(context: &Context, catalog: &Catalog, args: CreateArgs) -> Result<(), CliError> {
    let (now, entropy) = (context.clock.now(), context.entropy.as_ref());
    let request = KeyRequest {
        role: args.role,
        subject: args.subject,
        name: args.name,
        expires_at: args.expires.map(|lifetime| now.after(lifetime)),
    };
    let (secret, key) = keys::create(catalog, entropy, now, request).await?;
    record(context, catalog, "stockroom key create", key.id).await;
    let created = Created {
        id: key.id,
        key: secret.reveal(),
        role: key.role,
        subject: key.subject.as_ref(),
        name: key.name.as_deref(),
        expires_at: key.expires_at,
    };
    context.output.note(&format!(
        "{} with the role {}. This is the only time the key is shown:",
        key.id, key.role
    ));
    context.output.result(&created, &created.key)
}

async fn list(context: &Context, catalog: &Catalog) -> Result<(), CliError> {
    let now = context.clock.now();
    let mut rows = Vec::new();
    let mut page = Page::first(Page::MAX_LIMIT);
    loop {
        let keys = catalog.list_keys(&page).await?;
        for key in &keys.items {
            if context.output.is_json() {
                context.output.record(&listed(key))?;
            } else {
                rows.push(table_row(key, now));
            }
        }
        page.after = keys.next;
        if page.after.is_none() {
            break;
        }
    }
    if context.output.is_json() {
        return Ok(());
    }
    let header = [
        "id",
        "role",
        "subject",
        "name",
        "created",
        "last used",
        "state",
    ];
    context.output.table(header, rows)
}

async fn revoke(context: &Context, catalog: &Catalog, id: KeyId) -> Result<(), CliError> {
    let was_usable = catalog.revoke_key(id, context.clock.now()).await?;
    record(context, catalog, "stockroom key revoke", id).await;
    let text = if was_usable {
        format!("{id} is revoked.")
    } else {
        format!("{id} was revoked before.")
    };
    context
        .output
        .result(&serde_json::json!({"id": id, "revoked": true}), &text)
}

/// Puts on record what was done here. What was done stays done when that fails.
async fn record(context: &Context, catalog: &Catalog, action: &str, key: KeyId) {
    let now = context.clock.now();
    let row = AuditRow {
        id: AuditId::generate(now, context.entropy.as_ref()),
        at: now,
        key: None,
        action: action.to_owned(),
        target: Some(key.to_string()),
        status: None,
        request_id: None,
        address: None,
    };
    if let Err(error) = catalog.record_audit(&row).await {
        tracing::error!(%error, action, %key, "what was done is not recorded");
    }
}

fn lifetime(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).and_then(|lifetime| {
        if lifetime.is_zero() {
            Err("a key has to be good for some time")
        } else {
            Ok(lifetime)
        }
    })
}

fn listed(key: &KeyRow) -> Listed<'_> {
    Listed {
        id: key.id,
        role: key.role,
        subject: key.subject.as_ref(),
        name: key.name.as_deref(),
        created_at: key.created_at,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
        last_used_at: key.last_used_at,
    }
}

fn table_row(key: &KeyRow, now: Timestamp) -> [String; 7] {
    let state = if key.revoked_at.is_some() {
        "revoked"
    } else if key.is_usable(now) {
        "usable"
    } else {
        "expired"
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        key.id.to_string(),
        key.role.to_string(),
        or_dash(key.subject.as_ref().map(ToString::to_string)),
        or_dash(key.name.clone()),
        key.created_at.to_string(),
        or_dash(key.last_used_at.map(|time| time.to_string())),
        state.to_owned(),
    ]
}
