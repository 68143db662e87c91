//! `stockroom export`: writes down every object with its hash and what it is sold as.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use stockroom_catalog::{Catalog, ExportRow, Page};
use stockroom_domain::{
    AssetId, Filename, Key, KeyPrefix, ModelId, PlacementState, Sha256Digest, StoreName, Subject,
    Timestamp,
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::Context;
use super::error::CliError;
use super::get::{Part, file_error, stdout_error};
use crate::exit::Exit;
use crate::spreadsheet::harmless;

/// What to write down, and where.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// csv, or json with one object per line; without it csv, and json where --json is given
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Only objects whose keys begin with this, such as models/42/
    #[arg(long, default_value = "")]
    prefix: String,
    /// The file, which is replaced when all is written; without it, or with -, stdout
    file: Option<PathBuf>,
}

/// The form of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Csv,
    Json,
}

/// A line of the list.
#[derive(Debug, Serialize)]
struct Line {
    key: Key,
    size: u64,
    sha256: Sha256Digest,
    content_type: String,
    created_at: Timestamp,
    placements: Vec<LinePlacement>,
    asset: Option<AssetId>,
    model: Option<ModelId>,
    title: Option<String>,
    artist: Option<Subject>,
    filename: Option<Filename>,
    version: Option<u32>,
}

#[derive(Debug, Serialize)]
struct LinePlacement {
    store: StoreName,
    state: PlacementState,
}

/// The columns of the CSV form.
const COLUMNS: [&str; 12] = [
    "key",
    "size",
    "sha256",
    "content_type",
    "created_at",
    "placements",
    "asset",
    "model",
    "title",
    "artist",
    "filename",
    "version",
];

/// Writes every live object down, in the order of the keys.
///
/// # Errors
/// The prefix fits no key, the database fails, or the file cannot be written. No part of a file is
/// left then.
pub async fn run(context: &Context, args: ExportArgs) -> Result<Exit, CliError> {
    let prefix: KeyPrefix = args.prefix.parse().map_err(|error| {
        CliError::bad_argument("invalid_key", format!("The prefix fits no key: {error}."))
            .with_fix("Keys begin with models/, thumbnails/, images/ or temp/.")
    })?;
    let form = match args.format {
        Some(form) => form,
        None if context.output.is_json() => Form::Json,
        None => Form::Csv,
    };
    let catalog = context.catalog().await?;
    let outcome = match args.file.filter(|path| path.as_os_str() != "-") {
        None => {
            let mut stdout = tokio::io::stdout();
            write(&catalog, &prefix, form, &mut stdout, &stdout_error).await
        }
        Some(path) => write_file(context, &catalog, &prefix, form, &path).await,
    };
    catalog.close().await;
    outcome.map(|()| Exit::Ok)
}

async fn write_file(
    context: &Context,
    catalog: &Catalog,
    prefix: &KeyPrefix,
    form: Form,
    path: &Path,
) -> Result<(), CliError> {
    let unwritable = |error: io::Error| file_error(path, &error);
    let mut part = Part::create(path, &*context.entropy)
        .await
        .map_err(unwritable)?;
    write(catalog, prefix, form, &mut part.file, &unwritable).await?;
    part.publish(path).await.map_err(unwritable)
}

/// Writes page by page, so that a long list begins at once and needs no memory.
async fn write(
    catalog: &Catalog,
    prefix: &KeyPrefix,
    form: Form,
    to: &mut (impl AsyncWrite + Unpin),
    unwritable: &impl Fn(io::Error) -> CliError,
) -> Result<(), CliError> {
    if form == Form::Csv {
        let header = csv_lines([COLUMNS.map(str::to_owned)]).map_err(unwritable)?;
        to.write_all(&header).await.map_err(unwritable)?;
    }
    let mut page = Page::first(Page::MAX_LIMIT);
    loop {
        let rows = catalog.export(prefix, &page).await?;
        let lines = rows.items.into_iter().map(Line::from);
        let text = match form {
            Form::Csv => csv_lines(lines.map(Line::cells)),
            Form::Json => json_lines(lines),
        };
        let text = text.map_err(unwritable)?;
        to.write_all(&text).await.map_err(unwritable)?;
        page.after = rows.next;
        if page.after.is_none() {
            return to.flush().await.map_err(unwritable);
        }
    }
}

fn csv_lines(
    lines: impl IntoIterator<Item = [String; COLUMNS.len()]>,
) -> Result<Vec<u8>, io::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.write_record(line).map_err(io::Error::other)?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

fn json_lines(lines: impl Iterator<Item = Line>) -> Result<Vec<u8>, io::Error> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    Ok(text)
}

impl From<ExportRow> for Line {
    fn from(row: ExportRow) -> Self {
        let object = row.object;
        let (asset, model) = row.asset.unzip();
        let placement = |placement: stockroom_catalog::Placement| LinePlacement {
            store: placement.store,
            state: placement.state,
        };
        Self {
            key: object.key,
            size: object.size_bytes,
            sha256: object.sha256,
            content_type: object.content_type,
            created_at: object.live_at,
            placements: object.placements.into_iter().map(placement).collect(),
            asset: asset.as_ref().map(|asset| asset.id),
            version: asset.as_ref().map(|asset| asset.version),
            filename: asset.map(|asset| asset.filename),
            model: model.as_ref().map(|model| model.id),
            title: model.as_ref().map(|model| model.title.clone()),
            artist: model.map(|model| model.artist),
        }
    }
}

impl Line {
    /// The cells of the CSV form; what others chose is made harmless.
    fn cells(self) -> [String; COLUMNS.len()] {
        fn shown(value: Option<impl ToString>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        let placements: Vec<String> = self
            .placements
            .iter()
            .map(|placement| format!("{}={}", placement.store, placement.state))
            .collect();
        [
            self.key.to_string(),
            self.size.to_string(),
            self.sha256.to_string(),
            harmless(&self.content_type),
            self.created_at.to_string(),
            placements.join(" "),
            shown(self.asset),
            shown(self.model),
            harmless(&self.title.unwrap_or_default()),
            harmless(&shown(self.artist)),
            harmless(&shown(self.filename)),
            shown(self.version),
        ]
    }
}
