//! The service on Express as a contender: `bench/express/server.js`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::contender::{Offer, Running, Started, Store};
use super::model_file::ModelFile;
use crate::Outcome;
use crate::peers::Contestant;
use crate::server::{S3Server, Server, free_address};

/// Where it takes forms.
pub(super) const FORMS: &str = "/models";

const BUYER: &str = "buyer-1";

pub(super) fn start(
    folder: &Path,
    node: &Contestant,
    script: &Path,
    store: Store<'_>,
) -> Outcome<Started> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let mut command = Command::new(&node.program);
    command
        .arg(script)
        .env_clear()
        .current_dir(folder)
        .env("NODE_ENV", "production")
        .env("UPLOAD_DIR", folder)
        .env("PORT", address.port().to_string());
    if let Store::Bucket(server, bucket) = store {
        command
            .env("S3_ENDPOINT", server.endpoint())
            .env("S3_REGION", S3Server::REGION)
            .env("S3_BUCKET", bucket)
            .env("S3_KEY_ID", S3Server::KEY_ID)
            .env("S3_APPLICATION_KEY", S3Server::SECRET);
    }
    Ok(Started {
        server: Server::start(&mut command, address)?,
        seller: Vec::new(),
        buyer: vec![format!("x-buyer: {BUYER}")],
        files: folder.join("models"),
    })
}

pub(super) fn sell(running: &Running, file: &ModelFile) -> Outcome<Offer> {
    let mut shop = running.connect(&running.seller)?;
    let model = shop.form(FORMS, "model.stl", &file.path)?;
    let id = model["id"].as_str();
    let id = id.ok_or_else(|| format!("no id in {model}"))?;
    shop.send("POST", &format!("/purchases/{BUYER}/{id}"), &json!({}))?;
    Ok(Offer {
        download: format!("/models/{id}/download"),
        signed: ("GET", format!("/models/{id}/url")),
    })
}
