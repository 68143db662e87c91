//! What the record says of a key and of the place that it spells.

use stockroom_catalog::{CatalogError, ObjectAt, ObjectRow};
use stockroom_domain::{Key, ObjectState, PlacementState, StoreName};
use stockroom_storage::Error;

use crate::app::App;

/// What the record says of a key.
#[derive(Debug)]
pub(super) enum Standing {
    /// It names an object.
    Live(Box<ObjectRow>),
    /// Nothing is known of it.
    Free,
    /// An upload has its place; it is under way or broke off.
    Upload,
    /// Its object was deleted, and is kept for now.
    Retiring,
    /// Its object was deleted.
    Deleted,
    /// Bytes at its place were given up, and may be deleted there once more.
    GivenUp,
}

/// Looks up a key.
pub(super) async fn standing(app: &App, key: &Key) -> Result<Standing, CatalogError> {
    if let Some(details) = app.catalog.find_object(key).await? {
        return Ok(Standing::Live(Box::new(details.object)));
    }
    Ok(match at(app, key).await? {
        None => Standing::Free,
        Some(at) => match at.state {
            // It became live just now under another key, which no place is, or under this one.
            ObjectState::Live | ObjectState::Receiving => Standing::Upload,
            ObjectState::Retiring => Standing::Retiring,
            ObjectState::Gone if at.size_bytes.is_some() => Standing::Deleted,
            ObjectState::Gone => Standing::GivenUp,
        },
    })
}

/// What is recorded at a place.
pub(super) async fn at(app: &App, location: &Key) -> Result<Option<ObjectAt>, CatalogError> {
    let locations = std::slice::from_ref(location);
    let found = app.catalog.objects_at(locations, app.clock.now()).await?;
    Ok(found.into_iter().next())
}

/// The stores of the mode that have bytes at a place, without the one that is left out.
pub(super) async fn occupied(
    app: &App,
    location: &Key,
    except: Option<&StoreName>,
) -> Result<Vec<StoreName>, Error> {
    let mut occupied = Vec::new();
    for store in app.storage.stores() {
        if except != Some(store.name()) && store.exists(location).await? {
            occupied.push(store.name().clone());
        }
    }
    Ok(occupied)
}

/// Where an object that is adopted on one store shall be: there, and on the stores of the mode where
/// nothing lies that a copy would replace. Those where something does are told apart.
pub(super) async fn placements(
    app: &App,
    location: &Key,
    adopted_on: &StoreName,
) -> Result<(Vec<(StoreName, PlacementState)>, Vec<StoreName>), Error> {
    let occupied = occupied(app, location, Some(adopted_on)).await?;
    let mut placements = vec![(adopted_on.clone(), PlacementState::Present)];
    for store in app.storage.stores() {
        let name = store.name();
        if name != adopted_on && !occupied.contains(name) {
            placements.push((name.clone(), PlacementState::Copying));
        }
    }
    Ok((placements, occupied))
}
