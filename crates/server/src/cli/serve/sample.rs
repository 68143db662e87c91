//! Sample data, so that a new user has something to upload to, buy and download.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use stockroom_catalog::{ModelFilter, ModelRow, NewKey, NewModel, Page, VisibleTo};
use stockroom_domain::{
    AssetId, Currency, Filename, KeyId, ModelId, ModelStatus, Money, Role, Subject,
};

use super::shapes::{self, Shape};
use crate::app::App;
use crate::cli::error::CliError;
use crate::flows::error::FlowError;
use crate::flows::publish::{NewFile, record_assets};
use crate::flows::receive::receive;
use crate::secret_key::SecretKey;

const ARTIST: &str = "sample-artist";
const BUYER: &str = "sample-buyer";
const KEY_FILE: &str = "sample-service-key";

/// What the sample data is known by.
#[derive(Debug, Serialize)]
pub(super) struct Sample {
    /// A service key.
    key: String,
    /// A published model of the sample artist.
    model: ModelId,
    /// A file of it.
    asset: AssetId,
    /// An STL file to upload.
    file: PathBuf,
}

/// Makes sample models when there is no model yet, and a service key for them.
pub(super) async fn prepare(app: &App, data_dir: &Path) -> Result<Sample, CliError> {
    let key = service_key(app, data_dir).await?;
    let first = Page::first(1);
    let any = ModelFilter {
        visible_to: VisibleTo::All,
        ..ModelFilter::default()
    };
    if app
        .catalog
        .list_models(&any, &first)
        .await?
        .items
        .is_empty()
    {
        for shape in shapes::all() {
            publish(app, &shape).await?;
        }
    }
    let own = ModelFilter {
        artist: Some(subject(ARTIST)?),
        ..any
    };
    let model = app
        .catalog
        .list_models(&own, &first)
        .await?
        .items
        .into_iter()
        .next();
    let Some(model) = model else {
        return Err(not_a_sample());
    };
    let asset = app
        .catalog
        .list_assets(model.id, false, &first)
        .await?
        .items
        .into_iter()
        .next();
    let Some(asset) = asset else {
        return Err(not_a_sample());
    };
    let file = data_dir.join("pyramid.stl");
    std::fs::write(&file, shapes::pyramid().stl()).map_err(|error| cannot_write(&file, &error))?;
    Ok(Sample {
        key,
        model: model.id,
        asset: asset.id,
        file,
    })
}

impl Sample {
    /// Three lines for a shell that do the main job.
    pub(super) fn instructions(&self, url: &str) -> String {
        let Self {
            key,
            model,
            asset,
            file,
        } = self;
        let file = file.display();
        let auth = format!("-H 'Authorization: Bearer {key}'");
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "\n\nA service key for the sample data: {key}\n\n\
             An artist uploads, a buyer buys, the buyer downloads:\n\n\
             curl -fsS {auth} -H 'Stockroom-Act-As: {ARTIST}' -T '{file}' {url}/v1/models/{model}/assets/pyramid.stl\n\
             curl -fsS {auth} --json '{{\"buyer\": \"{BUYER}\", \"model\": \"{model}\", \"order_ref\": \"order-1\"}}' {url}/v1/purchases\n\
             curl -fsS {auth} -H 'Stockroom-Act-As: {BUYER}' -L -o sample.stl {url}/v1/assets/{asset}/download\n\n\
             All calls: {url}/docs"
        );
        text
    }
}

/// The key of the last time, as long as it is good; else a new one.
async fn service_key(app: &App, data_dir: &Path) -> Result<String, CliError> {
    let file = data_dir.join(KEY_FILE);
    let now = app.clock.now();
    if let Ok(text) = std::fs::read_to_string(&file)
        && let Ok(secret) = SecretKey::parse(text.trim())
        && let Some(row) = app.catalog.find_key(&secret.hash()).await?
        && row.is_usable(now)
    {
        return Ok(secret.reveal());
    }
    let secret = SecretKey::generate(&*app.entropy);
    write_private(&file, &secret.reveal()).map_err(|error| cannot_write(&file, &error))?;
    let key = NewKey {
        id: KeyId::generate(now, &*app.entropy),
        hash: secret.hash(),
        role: Role::Service,
        subject: None,
        name: Some("sample data".to_owned()),
        created_at: now,
        expires_at: None,
    };
    app.catalog.insert_key(&key).await?;
    Ok(secret.reveal())
}

fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    writeln!(options.open(file)?, "{text}")
}

async fn publish(app: &App, shape: &Shape) -> Result<(), CliError> {
    let now = app.clock.now();
    let model = NewModel {
        id: ModelId::generate(now, &*app.entropy),
        artist: subject(ARTIST)?,
        title: shape.title.to_owned(),
        description: Some("Made by stockroom serve --sample-data.".to_owned()),
        license: Some("CC0-1.0".to_owned()),
        tags: vec!["sample".to_owned()],
        price: "EUR"
            .parse::<Currency>()
            .and_then(|euro| Money::new(250, euro))
            .ok(),
        status: ModelStatus::Published,
        created_at: now,
    };
    let model = app.catalog.insert_model(model).await?;
    store(app, &model, shape).await?;
    Ok(())
}

async fn store(app: &App, model: &ModelRow, shape: &Shape) -> Result<(), FlowError> {
    let Ok(filename) = shape.filename.parse::<Filename>() else {
        // The names stand in this program and are file names.
        return Ok(());
    };
    let file = NewFile::new(app, filename);
    let body = stream::iter([Ok::<_, io::Error>(Bytes::from(shape.stl()))]);
    let received = receive(app, file.intake(model)?, body).await?;
    record_assets(app, model.id, vec![(file, received)]).await?;
    Ok(())
}

fn subject(text: &str) -> Result<Subject, CliError> {
    text.parse().map_err(|_| not_a_sample())
}

fn not_a_sample() -> CliError {
    CliError::failed(
        "no_sample_data",
        "This data folder holds models of others, and no samples.",
    )
    .with_fix("Leave --sample-data out, or set DATA_DIR to an empty folder.")
}

fn cannot_write(file: &Path, error: &io::Error) -> CliError {
    CliError::failed(
        "cannot_write",
        format!("{} cannot be written: {error}.", file.display()),
    )
}
