//! `stockroom signing-key`: lists, exchanges and retires the keys of this server's own links.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use stockroom_storage::{SigningKey, SigningKeys};

use super::Context;
use super::error::{CliError, sentence};
use crate::config::{RotationError, SigningSettings, ToRetire};
use crate::exit::Exit;

/// What a running server has to be told.
const READ_AGAIN: &str = "A server that runs goes on with the keys it has: send it SIGHUP, or \
    restart it.";

/// What to do with the signing keys.
#[derive(Debug, Subcommand)]
pub enum SigningKeyCommand {
    /// List the ids of the keys, newest first, without their secrets
    List,
    /// Make a new key, which signs from then on; links of the others go on working
    Rotate,
    /// Take a key out; its links end at once
    Retire(RetireArgs),
}

/// Which key to take out.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct RetireArgs {
    /// The id of the key, as `signing-key list` shows it
    // Not repeated by an error: a secret may stand here by mistake.
    kid: Option<String>,
    /// All keys but the one that signs
    #[arg(long)]
    old: bool,
}

/// A key as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    kid: &'a str,
    signs: bool,
}

/// Does what was asked for.
///
/// # Errors
/// `SIGNING_KEYS` is set, the key is not there or signs, or the file cannot be written.
pub async fn run(context: &Context, command: SigningKeyCommand) -> Result<Exit, CliError> {
    let settings = context.loaded.config.signing.clone();
    match command {
        SigningKeyCommand::List => list(context, settings.keys.as_ref())?,
        SigningKeyCommand::Rotate => rotate(context, settings).await?,
        SigningKeyCommand::Retire(args) => retire(context, settings, args).await?,
    }
    Ok(Exit::Ok)
}

fn list(context: &Context, keys: Option<&SigningKeys>) -> Result<(), CliError> {
    let output = &context.output;
    let Some(keys) = keys else {
        output.note("There is no key yet: the first start of the server makes one.");
        return Ok(());
    };
    let listed: Vec<Listed<'_>> = keys.iter().map(|key| listed(key, keys)).collect();
    if output.is_json() {
        return listed.iter().try_for_each(|key| output.record(key));
    }
    let use_of = |key: &Listed<'_>| {
        if key.signs {
            "signs and verifies"
        } else {
            "verifies"
        }
    };
    let rows = listed
        .iter()
        .map(|key| [key.kid.to_owned(), use_of(key).to_owned()]);
    output.table(["kid", "use"], rows)
}

fn listed<'a>(key: &'a SigningKey, keys: &SigningKeys) -> Listed<'a> {
    Listed {
        kid: key.kid(),
        signs: key == keys.newest(),
    }
}

async fn rotate(context: &Context, settings: SigningSettings) -> Result<(), CliError> {
    let entropy = Arc::clone(&context.entropy);
    let keys = apart(move || settings.rotate(&*entropy)).await?;
    let newest = listed(keys.newest(), &keys);
    let older: Vec<&str> = keys.iter().skip(1).map(SigningKey::kid).collect();
    let mut text = format!("{} signs from now on.", newest.kid);
    if !older.is_empty() {
        text.push_str(&format!(
            " Links of {} go on working; after 7 days, the longest life of a link: stockroom \
             signing-key retire --old",
            older.join(", ")
        ));
    }
    context.output.result(&newest, &text)?;
    context.output.note(READ_AGAIN);
    Ok(())
}

async fn retire(
    context: &Context,
    settings: SigningSettings,
    args: RetireArgs,
) -> Result<(), CliError> {
    let which = args.kid.map_or(ToRetire::Old, ToRetire::Kid);
    let retired = apart(move || settings.retire(&which)).await?;
    let output = &context.output;
    if retired.is_empty() {
        output.note("There is no key but the one that signs.");
        return Ok(());
    }
    for kid in retired {
        let json = serde_json::json!({"kid": kid, "retired": true});
        output.result(&json, &format!("{kid} is retired; its links are refused."))?;
    }
    output.note(READ_AGAIN);
    Ok(())
}

/// Files are locked and synced, which may take a while.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RotationError> + Send + 'static,
) -> Result<T, CliError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(CliError::from),
        Err(error) => Err(CliError::failed("runtime", sentence(&error.to_string()))),
    }
}

impl From<RotationError> for CliError {
    fn from(error: RotationError) -> Self {
        let detail = sentence(&error.to_string());
        match error {
            RotationError::SetElsewhere(_) => Self::usage(detail).with_fix(
                "Exchange the keys where SIGNING_KEYS is set: put a new kid:secret with a comma \
                 before the others, restart the server, and take the old one out after 7 days.",
            ),
            RotationError::Unknown => Self::failed("not_found", detail)
                .with_fix("stockroom signing-key list shows the ids."),
            RotationError::Signs(_) => Self::failed("key_in_use", detail)
                .with_fix("Make a new one first, with stockroom signing-key rotate."),
            RotationError::Unusable(_) => Self::failed("configuration", detail).with_fix(
                "Put the file back from a backup; without it no link that was made works.",
            ),
            RotationError::Io { .. } => Self::failed("signing_keys", detail).with_fix(
                "Run this as the user that runs the server, and see that DATA_DIR can be written.",
            ),
        }
    }
}
