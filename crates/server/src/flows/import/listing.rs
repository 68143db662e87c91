//! The models of the map: found or made when the first file of them comes, published when all of
//! their files are there.

use std::sync::atomic::{AtomicBool, Ordering};

use stockroom_catalog::{
    AssetRow, CatalogError, Conflict, Instance, ModelPatch, ModelRow, NewModel, Noun,
};
use stockroom_domain::{ModelStatus, ObjectId};
use tokio::sync::OnceCell;

use super::map::{Line, Map, MappedModel};
use crate::app::App;

/// The map with what is known of its models.
#[derive(Debug)]
pub(super) struct Listings {
    map: Map,
    /// What makes ids of models; none in a dry run.
    instance: Option<Instance>,
    models: Vec<Listing>,
}

/// A model of the map.
#[derive(Debug, Default)]
struct Listing {
    found: OnceCell<Result<ModelRow, &'static str>>,
    /// A file of it is no asset.
    is_incomplete: AtomicBool,
}

/// What a file is to be sold as.
#[derive(Debug)]
pub(super) enum Sold {
    /// Nothing.
    No,
    /// An asset that is there.
    Already(Box<AssetRow>),
    /// A file of this model.
    Wanted(Box<ModelRow>),
    /// A file of a model that is not there in a dry run.
    Someday,
    /// What the map says cannot be, for this reason.
    Impossible(&'static str),
}

impl Listings {
    pub(super) async fn new(app: &App, map: Map, dry_run: bool) -> Result<Self, CatalogError> {
        let instance = if dry_run || map.models.is_empty() {
            None
        } else {
            let proposed = format!("ins_{}", hex::encode(app.entropy.bytes::<16>()));
            Some(app.catalog.instance(&proposed, app.clock.now()).await?)
        };
        let models = map.models.iter().map(|_| Listing::default()).collect();
        Ok(Self {
            map,
            instance,
            models,
        })
    }

    /// What the map says of a file.
    pub(super) fn line(&self, path: &str) -> Option<&Line> {
        self.map.lines.get(path)
    }

    /// What a file is to be sold as, whose object may be there.
    pub(super) async fn sold(
        &self,
        app: &App,
        line: Option<&Line>,
        object: Option<ObjectId>,
    ) -> Result<Sold, CatalogError> {
        let Some(line) = line else {
            return Ok(Sold::No);
        };
        let asset = match object {
            Some(object) => app.catalog.asset_of_object(object).await?,
            None => None,
        };
        if self.instance.is_none() {
            return Ok(match asset {
                Some(asset) => Sold::Already(Box::new(asset)),
                None => Sold::Someday,
            });
        }
        let model = match self.model(app, line.model).await? {
            Ok(model) => model,
            Err(why) => return Ok(Sold::Impossible(why)),
        };
        Ok(match asset {
            None => Sold::Wanted(Box::new(model)),
            Some(asset) if asset.model_id == model.id => Sold::Already(Box::new(asset)),
            Some(_) => Sold::Impossible("it is a file of another model already"),
        })
    }

    /// Notes that a file of a model is no asset, so that the model is not published.
    pub(super) fn is_incomplete(&self, line: &Line) {
        if let Some(listing) = self.models.get(line.model) {
            listing.is_incomplete.store(true, Ordering::Relaxed);
        }
    }

    /// Publishes the drafts whose files are all there; how many.
    pub(super) async fn publish(&self, app: &App) -> Result<u64, CatalogError> {
        let mut published = 0;
        for listing in &self.models {
            let Some(Ok(model)) = listing.found.get() else {
                continue;
            };
            let is_due = model.status == ModelStatus::Draft
                && !listing.is_incomplete.load(Ordering::Relaxed);
            if !is_due {
                continue;
            }
            let patch = ModelPatch {
                status: Some(ModelStatus::Published),
                ..ModelPatch::default()
            };
            match app
                .catalog
                .update_model(model.id, patch, app.clock.now())
                .await
            {
                Ok(_) => published += 1,
                // Somebody deleted it meanwhile.
                Err(CatalogError::NotFound(Noun::Model)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(published)
    }

    /// The model, found or made; or why it cannot be had.
    async fn model(
        &self,
        app: &App,
        index: usize,
    ) -> Result<Result<ModelRow, &'static str>, CatalogError> {
        let parts = (self.map.models.get(index), self.models.get(index));
        let (Some(mapped), Some(listing), Some(instance)) = (parts.0, parts.1, &self.instance)
        else {
            return Ok(Err("the map does not name its model"));
        };
        let found = listing
            .found
            .get_or_try_init(|| find_or_make(app, mapped, instance));
        Ok(found.await?.clone())
    }
}

async fn find_or_make(
    app: &App,
    mapped: &MappedModel,
    instance: &Instance,
) -> Result<Result<ModelRow, &'static str>, CatalogError> {
    let id = mapped.id(instance);
    let model = match app.catalog.find_model(id).await? {
        Some(model) => model,
        None => {
            let made = app
                .catalog
                .insert_model(NewModel {
                    id,
                    artist: mapped.artist.clone(),
                    title: mapped.title.clone(),
                    description: None,
                    license: mapped.license.clone(),
                    tags: Vec::new(),
                    price: mapped.price,
                    status: ModelStatus::Draft,
                    created_at: app.clock.now(),
                })
                .await;
            match made {
                Ok(model) => model,
                // Another import made it just now, or it is not shown because it was deleted.
                Err(CatalogError::Conflict(Conflict::Id)) => {
                    match app.catalog.find_model(id).await? {
                        Some(model) => model,
                        None => {
                            return Ok(Err(
                                "its model was deleted; stockroom does not bring it back",
                            ));
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
    };
    Ok(if model.artist == mapped.artist {
        Ok(model)
    } else {
        Err("its model belongs to another artist by now")
    })
}
