//! Stockroom as a contender: its defaults, but for where it keeps what and that nothing is read in the background.

use std::path::Path;

use serde_json::json;

use super::contender::{Offer, Running, Started, Store};
use super::model_file::ModelFile;
use crate::peers::Contestant;
use crate::server::{Server, free_address};
use crate::shop::Shop;
use crate::{Bench, Outcome};

const BUYER: &str = "buyer-1";

pub(super) fn start(
    bench: &Bench,
    folder: &Path,
    program: &Contestant,
    store: Store<'_>,
) -> Outcome<Started> {
    let name = folder.file_name().and_then(|it| it.to_str());
    let shop = Shop::new(bench, name.ok_or("a folder without a name")?)?;
    let seller = shop.key(&program.program, "service", None)?;
    let buyer = shop.key(&program.program, "buyer", Some(BUYER))?;
    let (mode, bucket) = match store {
        Store::Disk => ("local", None),
        Store::Bucket(server, bucket) => ("s3", Some((server, bucket))),
    };
    let address = free_address()?;
    let mut command = shop.serve(&program.program, bucket, address);
    command.env("STORAGE_MODE", mode);
    let server = Server::start(&mut command, address)?;
    Ok(Started {
        server,
        seller: vec![format!("authorization: Bearer {seller}")],
        buyer: vec![format!("authorization: Bearer {buyer}")],
        files: shop.uploads,
    })
}

pub(super) fn sell(running: &Running, file: &ModelFile) -> Outcome<Offer> {
    let mut shop = running.connect(&running.seller)?;
    let body = json!({ "title": "a model", "artist": "artist-1" });
    let model = id(&shop.send("POST", "/v1/models", &body)?)?;
    let uploaded = shop.form(&forms(&model), "model.stl", &file.path)?;
    let asset = id(&uploaded["data"][0])?;
    let published = json!({ "status": "published" });
    shop.send("PATCH", &format!("/v1/models/{model}"), &published)?;
    let purchase = json!({ "buyer": BUYER, "model": model, "order_ref": model });
    shop.send("POST", "/v1/purchases", &purchase)?;
    Ok(Offer {
        download: format!("/v1/assets/{asset}/download"),
        signed: ("POST", format!("/v1/assets/{asset}/signed-url")),
    })
}

/// Artists have many models; not all uploads of a shop go to the same one.
pub(super) fn form_paths(running: &Running, count: usize) -> Outcome<Vec<String>> {
    let mut shop = running.connect(&running.seller)?;
    let body = json!({ "title": "a model", "artist": "artist-1" });
    (0..count)
        .map(|_| Ok(forms(&id(&shop.send("POST", "/v1/models", &body)?)?)))
        .collect()
}

fn forms(model: &str) -> String {
    format!("/v1/models/{model}/assets")
}

fn id(answer: &serde_json::Value) -> Outcome<String> {
    let id = answer["id"].as_str();
    Ok(id.ok_or_else(|| format!("no id in {answer}"))?.to_owned())
}
