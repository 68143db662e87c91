//! The end of an upload: record. Received bytes become assets of a model, or an operator's object.

use stockroom_catalog::{AssetRow, ModelRow, NewAsset, ReceivedUpload};
use stockroom_domain::{AssetId, Category, Filename, Key, ModelId};
use stockroom_formats::{Checker, Format, Report};
use stockroom_storage::Metadata;

use crate::app::App;
use crate::flows::error::{FlowError, InvalidKey};
use crate::flows::receive::{Intake, Received, discard};
use crate::workers::identity::OWN_SEGMENT;

/// The segments after the category that callers may not use: below one lie replaced objects (see
/// `open_upload` in the catalog), below the other the stores' own ids.
const RESERVED: [&str; 2] = [".versions", OWN_SEGMENT];

/// A file on its way to become an asset.
#[derive(Debug)]
pub struct NewFile {
    /// The asset it will be.
    pub asset: AssetId,
    /// Its name.
    pub filename: Filename,
}

impl NewFile {
    /// A file with a new id.
    #[must_use]
    pub fn new(app: &App, filename: Filename) -> Self {
        let asset = AssetId::generate(app.clock.now(), &*app.entropy);
        Self { asset, filename }
    }

    /// How the bytes of the file are to be received: under a key of their own, checked, and
    /// with the ids of artist, model and asset kept on the object.
    ///
    /// # Errors
    /// When the parts make no key, which the lengths of ids and file names rule out.
    pub fn intake(&self, model: &ModelRow) -> Result<Intake, FlowError> {
        // All files of a model lie in one directory. One for each would have to be made durable as well.
        let rest = format!("{}/{}-{}", model.id, self.asset, self.filename);
        let key = Key::new(Category::Models, &rest).map_err(InvalidKey::from)?;
        Ok(self.intake_at(model, key))
    }

    /// The same under a key that was chosen elsewhere.
    #[must_use]
    pub fn intake_at(&self, model: &ModelRow, key: Key) -> Intake {
        Intake {
            key,
            content_type: content_type_of(self.filename.as_str()).to_owned(),
            metadata: self.metadata(model),
            announced_bytes: None,
            expected_sha256: None,
            checker: Some(Checker::new(self.filename.as_str())),
        }
    }

    /// The asset that the file is, once its bytes are there and were checked.
    #[must_use]
    pub fn asset_of(
        &self,
        model: ModelId,
        report: Option<&Report>,
        upload: ReceivedUpload,
    ) -> NewAsset {
        NewAsset {
            id: self.asset,
            model_id: model,
            filename: self.filename.clone(),
            format: report
                .map_or("unknown", |report| report.format.as_str())
                .to_owned(),
            // A report is plain data; that it cannot be written as JSON is out of reach.
            report: report.and_then(|report| serde_json::to_value(report).ok()),
            upload,
        }
    }

    /// The ids of artist, model and asset, as they are kept on the object.
    #[must_use]
    pub fn metadata(&self, model: &ModelRow) -> Metadata {
        let mut metadata = Metadata::default();
        let values = [
            ("artist-id", model.artist.to_string()),
            ("model-id", model.id.to_string()),
            ("asset-id", self.asset.to_string()),
        ];
        for (name, value) in values {
            // Ids and subjects are visible ASCII of bounded length, so they always fit; were one
            // not to, the catalog still knows it.
            let _ = metadata.insert(name, &value);
        }
        metadata
    }
}

/// The media type that the extension of a file name stands for.
#[must_use]
pub fn content_type_of(filename: &str) -> &'static str {
    let extension = filename.rsplit_once('.').map(|(_, extension)| extension);
    extension
        .and_then(Format::from_extension)
        .map_or("application/octet-stream", Format::content_type)
}

/// Makes received files assets of a model, all of them or none.
///
/// # Errors
/// When the model was deleted meanwhile or the catalog fails; the bytes are taken back then.
pub async fn record_assets(
    app: &App,
    model: ModelId,
    files: Vec<(NewFile, Received)>,
) -> Result<Vec<AssetRow>, FlowError> {
    let new_assets: Vec<NewAsset> = files
        .iter()
        .map(|(file, received)| new_asset(model, file, received))
        .collect();
    match app
        .catalog
        .record_assets(&new_assets, app.clock.now())
        .await
    {
        Ok(rows) => {
            app.wake_engine(files.iter().map(|(_, received)| received));
            Ok(rows)
        }
        Err(error) if error.is_refusal() => {
            for (_, received) in files {
                discard(app, received).await;
            }
            Err(error.into())
        }
        // The database may have failed after the commit, or may make it real when it recovers:
        // then the bytes must be there. The sweep removes them if the rows are not.
        Err(error) => Err(error.into()),
    }
}

/// Reads a key that a caller may write to or read from.
///
/// # Errors
/// When it is no key, or one below which Stockroom keeps what is its own.
pub fn object_key(text: &str) -> Result<Key, FlowError> {
    let key: Key = text.parse().map_err(InvalidKey::from)?;
    match reserved_segment(&key) {
        Some(reserved) => Err(InvalidKey::Reserved(reserved).into()),
        None => Ok(key),
    }
}

/// The segment of a key below which Stockroom keeps what is its own, if it has one.
#[must_use]
pub fn reserved_segment(key: &Key) -> Option<&'static str> {
    let first = key.segments().next();
    RESERVED.into_iter().find(|it| first == Some(it))
}

fn new_asset(model: ModelId, file: &NewFile, received: &Received) -> NewAsset {
    file.asset_of(model, received.report.as_ref(), received.upload())
}
