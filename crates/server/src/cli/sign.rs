//! `stockroom sign`: makes a URL with which anybody can read an object for a while.

use std::time::Duration;

use clap::Args;
use stockroom_domain::Key;
use stockroom_storage::{Disposition, MAX_EXPIRES_IN, SignedUrl};

use super::error::CliError;
use super::{Context, object_key, settle};
use crate::app::App;
use crate::config::parse_duration;
use crate::exit::Exit;
use crate::flows::deliver::{self, LinkTo, Presentation};
use crate::flows::objects;
use crate::http::views::SignedUrlView;

/// Which object, and for how long.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The key of the object
    key: String,
    /// How long the URL lives, such as 30s, 15m, 24h or 7d
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = lifetime)]
    expires: Duration,
    /// Let a browser show the object; else it saves it
    #[arg(long)]
    inline: bool,
}

/// Prints a signed URL.
///
/// # Errors
/// There is no such object, or no store can sign.
pub async fn run(context: &Context, args: SignArgs) -> Result<Exit, CliError> {
    let key = object_key(&args.key)?;
    let app = context.app().await?;
    let outcome = sign(context, &app, &key, &args).await;
    settle(&app).await;
    let signed = outcome?;
    context
        .output
        .note(&format!("Good until {}:", signed.expires_at));
    let url = signed.url.clone();
    context.output.result(&SignedUrlView::from(signed), &url)?;
    Ok(Exit::Ok)
}

async fn sign(
    context: &Context,
    app: &App,
    key: &Key,
    args: &SignArgs,
) -> Result<SignedUrl, CliError> {
    let object = objects::find(app, key).await?.object;
    let presentation = Presentation {
        disposition: if args.inline {
            Disposition::Inline { filename: None }
        } else {
            Disposition::Attachment { filename: None }
        },
        content_type: Some(object.content_type.clone()),
    };
    let signed = deliver::sign(app, &object, presentation, LinkTo::Object, args.expires)
        .await?
        .signed;
    let http = &context.loaded.config.http;
    let is_port_unknown = http.public_url.is_none() && http.listen.port() == 0;
    if is_port_unknown && signed.url.starts_with(&app.public_url) {
        return Err(CliError::failed(
            "configuration",
            "With port 0 in LISTEN nobody knows yet where the server will be reached.",
        )
        .with_fix("Set PUBLIC_URL, or a port in LISTEN."));
    }
    Ok(signed)
}

fn lifetime(text: &str) -> Result<Duration, &'static str> {
    let lifetime = parse_duration(text)?;
    let is_whole = lifetime.subsec_nanos() == 0;
    if lifetime.is_zero() || lifetime > MAX_EXPIRES_IN || !is_whole {
        return Err("a signed URL lives 1s to 7d, in whole seconds");
    }
    Ok(lifetime)
}
