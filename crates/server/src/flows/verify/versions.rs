//! The versions that a bucket keeps beside what readers see.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use stockroom_catalog::ObjectAt;
use stockroom_domain::{Key, KeyPrefix, ObjectState, PlacementState, StoreName, Timestamp};
use stockroom_storage::{Error, ErrorKind, S3Store, Store as _, Version};

use super::finding::{Finding, Kind};
use super::listing::recorded_at;
use super::{BATCH, Run, VerifyError};
use crate::workers::identity::label_key;

/// All versions of one key.
#[derive(Debug, PartialEq, Eq)]
struct Versions {
    key: Key,
    count: u64,
    /// The size of those that readers do not see.
    old_bytes: u64,
    /// When the newest of them came.
    modified_at: Timestamp,
    /// Readers see none of them: the newest is a hide marker.
    is_hidden: bool,
}

impl Versions {
    fn of(version: &Version) -> Option<Self> {
        // Other programs may have written what is no key; it is none of ours.
        let key = version.name.parse().ok()?;
        let mut versions = Self {
            key,
            count: 0,
            old_bytes: 0,
            modified_at: version.modified_at,
            is_hidden: true,
        };
        versions.add(version);
        Some(versions)
    }

    fn add(&mut self, version: &Version) {
        self.count += 1;
        self.modified_at = self.modified_at.max(version.modified_at);
        match version.size_bytes {
            Some(_) if version.is_latest => self.is_hidden = false,
            size_bytes => self.old_bytes += size_bytes.unwrap_or(0),
        }
    }

    fn detail(&self) -> String {
        let (count, bytes) = (self.count, self.old_bytes);
        if self.is_hidden {
            format!("{count} versions and hide markers, {bytes} bytes, none of them visible")
        } else {
            format!("{} older versions, {bytes} bytes", count - 1)
        }
    }
}

impl Run<'_> {
    /// Looks for locations with more than one version.
    pub(super) async fn compare_versions(&mut self, at: usize) -> Result<(), VerifyError> {
        let name = self.store(at).name().clone();
        let Some(bucket) = self.app.bucket(&name) else {
            return Ok(());
        };
        let s3 = Arc::clone(&bucket.store);
        // A list of objects that broke off says that the bucket does not answer.
        if !self.subjects[at].is_listed {
            return Ok(());
        }
        let mut list = s3.versions(&KeyPrefix::all());
        let mut current: Option<Versions> = None;
        let mut found = Vec::new();
        loop {
            let version = match list.try_next().await {
                Ok(version) => version,
                // Such a store keeps none.
                Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
                Err(error) => {
                    let detail = format!("its versions cannot be listed: {}", error.detail());
                    self.keep(Finding::of_store(Kind::Unreadable, &name, detail))?;
                    None
                }
            };
            let is_same = version.as_ref().zip(current.as_ref());
            if is_same.is_none_or(|(version, current)| version.name != current.key.as_str()) {
                found.extend(current.take().filter(|versions| versions.count > 1));
            }
            let is_end = version.is_none();
            if let Some(version) = version {
                match &mut current {
                    Some(current) => current.add(&version),
                    None => current = Versions::of(&version),
                }
            }
            if is_end || found.len() >= BATCH {
                self.compare_found(at, &s3, std::mem::take(&mut found))
                    .await?;
            }
            if is_end {
                return Ok(());
            }
        }
    }

    async fn compare_found(
        &mut self,
        at: usize,
        s3: &Arc<S3Store>,
        found: Vec<Versions>,
    ) -> Result<(), VerifyError> {
        let store = s3.name();
        for versions in found {
            let versions = match look_again(s3, &versions.key).await {
                Ok(Some(versions)) => versions,
                Ok(None) => continue,
                Err(error) => {
                    let finding = |why| Finding::at(Kind::Unreadable, store, &versions.key, why);
                    self.unreadable(at, finding, &error)?;
                    continue;
                }
            };
            let recorded = recorded_at(self.app, std::iter::once(versions.key.clone())).await?;
            let recorded = recorded.get(&versions.key);
            if versions.key == label_key() || !is_ours_to_tell(&versions, recorded, store) {
                continue;
            }
            let mut finding =
                Finding::at(Kind::OldVersions, store, &versions.key, versions.detail());
            let Some(recorded) = recorded else {
                self.discard_unrecorded(at, finding, versions.modified_at)?;
                continue;
            };
            finding.object = Some(recorded.object_id);
            finding.key = Some(recorded.key.clone());
            self.discard(at, finding)?;
        }
        Ok(())
    }
}

/// Whether nobody else sees to these versions.
fn is_ours_to_tell(versions: &Versions, recorded: Option<&ObjectAt>, store: &StoreName) -> bool {
    let Some(recorded) = recorded else {
        // What readers see of it is extra already, and goes with all versions.
        return versions.is_hidden;
    };
    match recorded.state {
        ObjectState::Receiving => false,
        ObjectState::Gone => versions.is_hidden && !recorded.is_leased,
        ObjectState::Live | ObjectState::Retiring => {
            let mut placements = recorded.placements.iter();
            let placement = placements.find(|placement| placement.store == *store);
            match placement.map(|placement| placement.state) {
                Some(PlacementState::Present | PlacementState::Suspect) => true,
                // The engine is writing or deleting there.
                Some(PlacementState::Copying | PlacementState::Retiring) => false,
                Some(PlacementState::Gone) | None => versions.is_hidden,
            }
        }
    }
}

/// All versions of exactly this key, if there still is more than one.
async fn look_again(s3: &S3Store, key: &Key) -> Result<Option<Versions>, Error> {
    let Ok(prefix) = key.as_str().parse() else {
        return Ok(None);
    };
    let mut list = s3.versions(&prefix);
    let mut versions: Option<Versions> = None;
    while let Some(version) = list.next().await.transpose()? {
        if version.name != key.as_str() {
            // Keys come in their order, so this one's are all there.
            if version.name.as_str() > key.as_str() {
                break;
            }
            continue;
        }
        match &mut versions {
            Some(versions) => versions.add(&version),
            None => versions = Versions::of(&version),
        }
    }
    Ok(versions.filter(|versions| versions.count > 1))
}

#[cfg(test)]
mod tests {
    use stockroom_catalog::Placement;
    use stockroom_domain::{ObjectId, SeededEntropy};

    use super::*;

    fn version(size_bytes: Option<u64>, is_latest: bool) -> Version {
        Version {
            name: "models/a.stl".to_owned(),
            version_id: "v".to_owned(),
            size_bytes,
            is_latest,
            modified_at: Timestamp::from_unix_ms(0),
        }
    }

    fn versions(of: &[Version]) -> Versions {
        let mut versions = Versions::of(&of[0]).unwrap();
        of[1..].iter().for_each(|version| versions.add(version));
        versions
    }

    fn told(versions: &Versions, recorded: Option<&ObjectAt>) -> bool {
        is_ours_to_tell(versions, recorded, &StoreName::S3)
    }

    #[test]
    fn what_readers_see_is_not_old() {
        let seen = versions(&[version(Some(5), true), version(Some(7), false)]);
        assert_eq!((seen.count, seen.old_bytes, seen.is_hidden), (2, 7, false));
        let hidden = versions(&[version(None, true), version(Some(7), false)]);
        assert_eq!(
            (hidden.count, hidden.old_bytes, hidden.is_hidden),
            (2, 7, true)
        );
        let other = Version {
            name: "no key".to_owned(),
            ..version(Some(1), true)
        };
        assert_eq!(Versions::of(&other), None);
    }

    #[test]
    fn versions_that_somebody_sees_to_are_not_told() {
        let seen = versions(&[version(Some(5), true), version(Some(7), false)]);
        let hidden = versions(&[version(None, true), version(Some(7), false)]);
        let at = |state, is_leased, placement: Option<PlacementState>| ObjectAt {
            object_id: ObjectId::generate(Timestamp::from_unix_ms(1), &SeededEntropy::new(1)),
            key: "models/a.stl".parse().unwrap(),
            location: "models/a.stl".parse().unwrap(),
            state,
            size_bytes: Some(5),
            is_leased,
            placements: placement
                .map(|state| Placement {
                    store: StoreName::S3,
                    state,
                    verified_at: None,
                })
                .into_iter()
                .collect(),
        };
        let (live, gone) = (ObjectState::Live, ObjectState::Gone);
        // What readers see of it is extra already.
        assert!(told(&hidden, None) && !told(&seen, None));
        assert!(told(&hidden, Some(&at(gone, false, None))));
        assert!(!told(&seen, Some(&at(gone, false, None))));
        assert!(!told(&hidden, Some(&at(gone, true, None))));
        assert!(!told(
            &hidden,
            Some(&at(ObjectState::Receiving, true, None))
        ));
        for (state, is_told) in [
            (PlacementState::Present, [true, true]),
            (PlacementState::Suspect, [true, true]),
            (PlacementState::Copying, [false, false]),
            (PlacementState::Retiring, [false, false]),
            (PlacementState::Gone, [false, true]),
        ] {
            let at = at(live, false, Some(state));
            assert_eq!(
                [&seen, &hidden].map(|it| told(it, Some(&at))),
                is_told,
                "{state}"
            );
        }
    }
}
