//! The gate: who may do what with the bytes of an asset or of an object.
//!
//! [`permits`] is the only place that decides it. Every route that can reach a paid byte calls
//! it with facts that were read in one query, and does what the [`Decision`] says.

use serde::{Deserialize, Serialize};

use crate::{Download, ModelStatus, PurchaseId, Subject, Timestamp};

/// Who asks, after the key was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// No key was sent.
    Anonymous,
    /// Everything is allowed.
    Operator,
    /// A shop's backend, for one of its users or for itself.
    Service {
        /// The user the shop acts for.
        acting_for: Option<Subject>,
    },
    /// A user who sells.
    Artist(Subject),
    /// A user who buys.
    Buyer(Subject),
}

impl Caller {
    /// The user on whose behalf the call is made.
    #[must_use]
    pub const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Anonymous | Self::Operator | Self::Service { acting_for: None } => None,
            Self::Service {
                acting_for: Some(subject),
            }
            | Self::Artist(subject)
            | Self::Buyer(subject) => Some(subject),
        }
    }

    /// Whether the caller may act as the artist `artist`: change models and read their bytes.
    #[must_use]
    pub fn is_artist(&self, artist: &Subject) -> bool {
        match self {
            Self::Anonymous | Self::Operator | Self::Service { acting_for: None } => false,
            Self::Buyer(_) => false,
            Self::Service {
                acting_for: Some(subject),
            }
            | Self::Artist(subject) => subject == artist,
        }
    }

    /// Whether the caller runs the shop: an operator, or a service that acts for itself.
    #[must_use]
    pub const fn runs_the_shop(&self) -> bool {
        matches!(self, Self::Operator | Self::Service { acting_for: None })
    }
}

/// What the caller wants with the asset or the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read its record: name, size, hash.
    ReadRecord,
    /// Read its bytes.
    Download,
    /// Get a URL with which anybody can read its bytes for a while.
    SignUrl,
    /// Change or delete it.
    Change,
    /// Bring it back after it was deleted.
    Restore,
}

/// What the caller wants to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A file of a model.
    Asset(&'a AssetFacts),
    /// Any object under its key, past models and purchases.
    Object,
}

impl<'a> From<&'a AssetFacts> for Target<'a> {
    fn from(facts: &'a AssetFacts) -> Self {
        Self::Asset(facts)
    }
}

/// What the gate must know of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetFacts {
    /// Who sells the model.
    pub artist: Subject,
    /// Whether the model is on show.
    pub model_status: ModelStatus,
    /// The model or the asset was deleted.
    pub deleted: bool,
    /// The best purchase of the model by the calling user, if there is one.
    pub entitlement: Option<Entitlement>,
}

/// A purchase, as far as it lets its buyer download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    /// The purchase.
    pub purchase: PurchaseId,
    /// Who bought. It lets nobody else in.
    pub buyer: Subject,
    /// When it was refunded.
    pub refunded_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// How many downloads it allows.
    pub download_limit: Option<u64>,
    /// How many downloads were made.
    pub downloads: u64,
    /// The newest download of the asset in question, which may not be over. It matters once all
    /// downloads were made: the last of them may still be continued.
    pub last_download: Option<Download>,
}

/// The status of a purchase in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PurchaseStatus {
    /// It lets its buyer download, as far as its limit goes.
    Active,
    /// It was refunded.
    Refunded,
    /// Its time is over.
    Expired,
}

impl Entitlement {
    /// The status at the moment `now`. A refund outweighs an expiry.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> PurchaseStatus {
        if self.refunded_at.is_some() {
            PurchaseStatus::Refunded
        } else if self.expires_at.is_some_and(|end| end <= now) {
            PurchaseStatus::Expired
        } else {
            PurchaseStatus::Active
        }
    }

    /// Whether all downloads that it allows were made.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.download_limit
            .is_some_and(|limit| self.downloads >= limit)
    }

    /// Whether the newest download of the asset can be continued.
    fn can_continue(&self, now: Timestamp) -> bool {
        self.last_download
            .is_some_and(|download| download.takes_more(now))
    }
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes, for this reason.
    Allow(Grant),
    /// No, for this reason.
    Deny(Denial),
}

/// Why a caller is let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// An operator may do everything.
    Operator,
    /// The shop itself, for what is not paid bytes.
    Shop,
    /// The asset is the caller's own.
    Artist,
    /// The record is public.
    Public,
    /// The caller bought it.
    Purchase(PurchaseId),
}

/// Why a caller is turned away, most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The caller may not know that the asset exists.
    NotFound,
    /// No key was sent, and one is needed.
    Unauthenticated,
    /// The caller knows of the asset and may never do this.
    Forbidden,
    /// Nothing was bought.
    NotPurchased,
    /// It was bought and refunded.
    Refunded,
    /// It was bought and the time is over.
    Expired,
    /// It was bought and downloaded as often as it may be.
    DownloadLimitReached,
}

/// Decides whether `caller` may do `action` with `target`, at the moment `now`.
///
/// A purchase whose downloads are used up still lets its buyer in where the last download can be
/// continued. Whether one request is such a continuation is decided by its bytes when they are
/// charged ([`Download::takes`]).
#[must_use]
pub fn permits<'a>(
    caller: &Caller,
    target: impl Into<Target<'a>>,
    action: Action,
    now: Timestamp,
) -> Decision {
    match target.into() {
        Target::Asset(asset) => permits_asset(caller, asset, action, now),
        Target::Object => permits_object(caller),
    }
}

/// Objects have no buyers and no artists: they are the storage itself.
fn permits_object(caller: &Caller) -> Decision {
    match caller {
        Caller::Operator => Decision::Allow(Grant::Operator),
        Caller::Anonymous => Decision::Deny(Denial::Unauthenticated),
        Caller::Service { .. } | Caller::Artist(_) | Caller::Buyer(_) => {
            Decision::Deny(Denial::Forbidden)
        }
    }
}

fn permits_asset(caller: &Caller, asset: &AssetFacts, action: Action, now: Timestamp) -> Decision {
    // Asked for a key before anything else, a stranger learns nothing of what exists or existed.
    let wants_bytes = matches!(action, Action::Download | Action::SignUrl);
    if *caller == Caller::Anonymous && wants_bytes {
        return Decision::Deny(Denial::Unauthenticated);
    }
    if asset.deleted && action != Action::Restore {
        return Decision::Deny(Denial::NotFound);
    }
    if *caller == Caller::Operator {
        return Decision::Allow(Grant::Operator);
    }
    if caller.is_artist(&asset.artist) {
        return Decision::Allow(Grant::Artist);
    }
    match action {
        Action::ReadRecord => permits_record(caller, asset, now),
        Action::Change | Action::Restore => permits_change(caller, asset, now),
        Action::Download | Action::SignUrl => permits_bytes(caller, asset, now),
    }
}

fn permits_record(caller: &Caller, asset: &AssetFacts, now: Timestamp) -> Decision {
    if caller.runs_the_shop() {
        return Decision::Allow(Grant::Shop);
    }
    // What was bought can be looked at also when no download is left.
    match own_entitlement(caller, asset) {
        Some(own) if own.status(now) == PurchaseStatus::Active => {
            Decision::Allow(Grant::Purchase(own.purchase))
        }
        _ if asset.model_status == ModelStatus::Published => Decision::Allow(Grant::Public),
        _ => Decision::Deny(Denial::NotFound),
    }
}

fn permits_change(caller: &Caller, asset: &AssetFacts, now: Timestamp) -> Decision {
    if caller.runs_the_shop() {
        return Decision::Allow(Grant::Shop);
    }
    // What was deleted is known to those only who may bring it back.
    if asset.deleted {
        return Decision::Deny(Denial::NotFound);
    }
    // Whoever may read the record is told that they may not change it; others learn nothing.
    match permits_record(caller, asset, now) {
        Decision::Allow(_) if *caller == Caller::Anonymous => {
            Decision::Deny(Denial::Unauthenticated)
        }
        Decision::Allow(_) => Decision::Deny(Denial::Forbidden),
        Decision::Deny(denial) => Decision::Deny(denial),
    }
}

fn permits_bytes(caller: &Caller, asset: &AssetFacts, now: Timestamp) -> Decision {
    match caller {
        Caller::Anonymous => Decision::Deny(Denial::Unauthenticated),
        // A shop's key alone is not a buyer: a bug in the shop must not give files away.
        Caller::Service { acting_for: None } => Decision::Deny(Denial::Forbidden),
        Caller::Operator | Caller::Service { .. } | Caller::Artist(_) | Caller::Buyer(_) => {
            match bought(caller, asset, now) {
                Some(Ok(purchase)) => Decision::Allow(Grant::Purchase(purchase)),
                Some(Err(denial)) => Decision::Deny(denial),
                None if asset.model_status == ModelStatus::Published => {
                    Decision::Deny(Denial::NotPurchased)
                }
                None => Decision::Deny(Denial::NotFound),
            }
        }
    }
}

/// The purchase that lets the user download now, or why the one there is does not.
fn bought(
    caller: &Caller,
    asset: &AssetFacts,
    now: Timestamp,
) -> Option<Result<PurchaseId, Denial>> {
    let entitlement = own_entitlement(caller, asset)?;
    Some(match entitlement.status(now) {
        PurchaseStatus::Refunded => Err(Denial::Refunded),
        PurchaseStatus::Expired => Err(Denial::Expired),
        PurchaseStatus::Active if entitlement.is_used_up() && !entitlement.can_continue(now) => {
            Err(Denial::DownloadLimitReached)
        }
        PurchaseStatus::Active => Ok(entitlement.purchase),
    })
}

/// The purchase, if it is the caller's. Facts about somebody else's open nothing.
fn own_entitlement<'a>(caller: &Caller, asset: &'a AssetFacts) -> Option<&'a Entitlement> {
    let entitlement = asset.entitlement.as_ref()?;
    (caller.subject() == Some(&entitlement.buyer)).then_some(entitlement)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::SeededEntropy;

    const NOW: i64 = 1_000_000;

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(NOW)
    }

    fn subject(text: &str) -> Subject {
        text.parse().unwrap()
    }

    fn purchase() -> Entitlement {
        Entitlement {
            purchase: PurchaseId::generate(now(), &SeededEntropy::new(1)),
            buyer: subject("buyer"),
            refunded_at: None,
            expires_at: None,
            download_limit: None,
            downloads: 0,
            last_download: None,
        }
    }

    fn asset(status: ModelStatus, entitlement: Option<Entitlement>) -> AssetFacts {
        AssetFacts {
            artist: subject("artist"),
            model_status: status,
            deleted: false,
            entitlement,
        }
    }

    fn denial(caller: &Caller, facts: &AssetFacts, action: Action) -> Option<Denial> {
        match permits(caller, facts, action, now()) {
            Decision::Allow(_) => None,
            Decision::Deny(denial) => Some(denial),
        }
    }

    #[test]
    fn bytes_go_to_the_artist_the_operator_and_whoever_bought_them() {
        let unsold = asset(ModelStatus::Published, None);
        let sold = asset(ModelStatus::Published, Some(purchase()));
        let buyer = Caller::Buyer(subject("buyer"));
        let for_buyer = Caller::Service {
            acting_for: Some(subject("buyer")),
        };
        let shop = Caller::Service { acting_for: None };
        for action in [Action::Download, Action::SignUrl] {
            assert_eq!(denial(&Caller::Operator, &unsold, action), None);
            assert_eq!(
                denial(&Caller::Artist(subject("artist")), &unsold, action),
                None
            );
            assert_eq!(denial(&buyer, &sold, action), None);
            assert_eq!(denial(&for_buyer, &sold, action), None);
            assert_eq!(denial(&buyer, &unsold, action), Some(Denial::NotPurchased));
            assert_eq!(
                denial(&for_buyer, &unsold, action),
                Some(Denial::NotPurchased)
            );
            assert_eq!(denial(&shop, &sold, action), Some(Denial::Forbidden));
            assert_eq!(
                denial(&Caller::Anonymous, &sold, action),
                Some(Denial::Unauthenticated)
            );
            // A buyer's key does not become an artist's by carrying the artist's name.
            assert_eq!(
                denial(&Caller::Buyer(subject("artist")), &unsold, action),
                Some(Denial::NotPurchased)
            );
        }
    }

    #[test]
    fn a_purchase_that_ended_lets_nobody_in() {
        let buyer = Caller::Buyer(subject("buyer"));
        let cases = [
            (
                Entitlement {
                    refunded_at: Some(now()),
                    ..purchase()
                },
                Denial::Refunded,
            ),
            (
                Entitlement {
                    expires_at: Some(now()),
                    ..purchase()
                },
                Denial::Expired,
            ),
            (
                Entitlement {
                    download_limit: Some(2),
                    downloads: 2,
                    ..purchase()
                },
                Denial::DownloadLimitReached,
            ),
            (
                Entitlement {
                    download_limit: Some(0),
                    ..purchase()
                },
                Denial::DownloadLimitReached,
            ),
            (
                Entitlement {
                    refunded_at: Some(now()),
                    expires_at: Some(now()),
                    ..purchase()
                },
                Denial::Refunded,
            ),
        ];
        for (entitlement, expected) in cases {
            let facts = asset(ModelStatus::Published, Some(entitlement));
            assert_eq!(denial(&buyer, &facts, Action::Download), Some(expected));
            assert_eq!(denial(&buyer, &facts, Action::SignUrl), Some(expected));
        }
        let last_moment = Entitlement {
            expires_at: Some(now().after(Duration::from_millis(1))),
            download_limit: Some(2),
            downloads: 1,
            ..purchase()
        };
        let facts = asset(ModelStatus::Draft, Some(last_moment));
        assert_eq!(denial(&buyer, &facts, Action::Download), None);
    }

    #[test]
    fn the_last_download_can_be_continued_and_no_other_begun() {
        let buyer = Caller::Buyer(subject("buyer"));
        let continued = |charged_bytes, downloads| Entitlement {
            download_limit: Some(2),
            downloads,
            last_download: Some(Download {
                id: crate::DownloadId::generate(now(), &SeededEntropy::new(2)),
                began_at: now(),
                size_bytes: 100,
                charged_bytes,
            }),
            ..purchase()
        };
        let used_up = Some(Denial::DownloadLimitReached);
        for (charged_bytes, downloads, expected) in
            [(40, 2, None), (150, 2, used_up), (150, 1, None)]
        {
            let entitlement = continued(charged_bytes, downloads);
            let facts = asset(ModelStatus::Published, Some(entitlement.clone()));
            assert_eq!(denial(&buyer, &facts, Action::Download), expected);
            let refunded = Entitlement {
                refunded_at: Some(now()),
                ..entitlement
            };
            let facts = asset(ModelStatus::Published, Some(refunded));
            assert_eq!(
                denial(&buyer, &facts, Action::Download),
                Some(Denial::Refunded)
            );
        }
    }

    #[test]
    fn a_purchase_lets_nobody_in_but_its_buyer() {
        for status in [ModelStatus::Published, ModelStatus::Draft] {
            let facts = asset(status, Some(purchase()));
            let expected = match status {
                ModelStatus::Published => Denial::NotPurchased,
                ModelStatus::Draft => Denial::NotFound,
            };
            for caller in [
                Caller::Buyer(subject("other")),
                Caller::Artist(subject("other")),
                Caller::Service {
                    acting_for: Some(subject("other")),
                },
            ] {
                for action in [Action::Download, Action::SignUrl] {
                    assert_eq!(denial(&caller, &facts, action), Some(expected));
                }
            }
        }
    }

    #[test]
    fn what_was_bought_can_be_seen_after_the_last_download_and_while_it_is_hidden() {
        let used_up = Entitlement {
            download_limit: Some(0),
            ..purchase()
        };
        let buyer = Caller::Buyer(subject("buyer"));
        let hidden = asset(ModelStatus::Draft, Some(used_up.clone()));
        assert_eq!(denial(&buyer, &hidden, Action::ReadRecord), None);
        let refunded = Entitlement {
            refunded_at: Some(now()),
            ..used_up
        };
        let hidden = asset(ModelStatus::Draft, Some(refunded));
        assert_eq!(
            denial(&buyer, &hidden, Action::ReadRecord),
            Some(Denial::NotFound)
        );
    }

    #[test]
    fn objects_are_for_operators() {
        let actions = [Action::ReadRecord, Action::Download, Action::Change];
        let callers = [
            (Caller::Operator, None),
            (Caller::Anonymous, Some(Denial::Unauthenticated)),
            (
                Caller::Service { acting_for: None },
                Some(Denial::Forbidden),
            ),
            (Caller::Artist(subject("artist")), Some(Denial::Forbidden)),
            (Caller::Buyer(subject("buyer")), Some(Denial::Forbidden)),
        ];
        for (caller, expected) in callers {
            for action in actions {
                let decision = permits(&caller, Target::Object, action, now());
                let denial = match decision {
                    Decision::Allow(_) => None,
                    Decision::Deny(denial) => Some(denial),
                };
                assert_eq!(denial, expected, "{caller:?} {action:?}");
            }
        }
    }

    #[test]
    fn a_draft_does_not_exist_for_others() {
        let draft = asset(ModelStatus::Draft, None);
        for caller in [
            Caller::Buyer(subject("buyer")),
            Caller::Artist(subject("other")),
        ] {
            for action in [
                Action::ReadRecord,
                Action::Download,
                Action::SignUrl,
                Action::Change,
            ] {
                assert_eq!(denial(&caller, &draft, action), Some(Denial::NotFound));
            }
        }
        assert_eq!(
            denial(&Caller::Anonymous, &draft, Action::ReadRecord),
            Some(Denial::NotFound)
        );
    }

    #[test]
    fn a_deleted_asset_does_not_exist_for_anybody() {
        let mut facts = asset(ModelStatus::Published, Some(purchase()));
        facts.deleted = true;
        for caller in [
            Caller::Operator,
            Caller::Artist(subject("artist")),
            Caller::Buyer(subject("buyer")),
        ] {
            for action in [
                Action::ReadRecord,
                Action::Download,
                Action::SignUrl,
                Action::Change,
            ] {
                assert_eq!(denial(&caller, &facts, action), Some(Denial::NotFound));
            }
        }
        // As for an asset that never was.
        for action in [Action::Download, Action::SignUrl] {
            let told = denial(&Caller::Anonymous, &facts, action);
            assert_eq!(told, Some(Denial::Unauthenticated));
        }
    }

    #[test]
    fn who_may_delete_may_restore_and_nobody_else_learns_of_it() {
        let live = asset(ModelStatus::Published, Some(purchase()));
        let deleted = AssetFacts {
            deleted: true,
            ..live.clone()
        };
        let for_user = |user| Caller::Service {
            acting_for: Some(subject(user)),
        };
        let callers = [
            Caller::Anonymous,
            Caller::Operator,
            Caller::Service { acting_for: None },
            for_user("artist"),
            for_user("buyer"),
            Caller::Artist(subject("artist")),
            Caller::Artist(subject("other")),
            Caller::Buyer(subject("artist")),
            Caller::Buyer(subject("buyer")),
        ];
        for caller in &callers {
            let may_delete = denial(caller, &live, Action::Change);
            assert_eq!(denial(caller, &live, Action::Restore), may_delete);
            let expected = may_delete.map(|_| Denial::NotFound);
            assert_eq!(
                denial(caller, &deleted, Action::Restore),
                expected,
                "{caller:?}"
            );
        }
        let may = |caller: &&Caller| denial(caller, &deleted, Action::Restore).is_none();
        assert_eq!(callers.iter().filter(may).count(), 4);
    }

    #[test]
    fn records_are_public_and_changes_are_not() {
        let published = asset(ModelStatus::Published, None);
        let stranger = Caller::Artist(subject("other"));
        assert_eq!(
            denial(&Caller::Anonymous, &published, Action::ReadRecord),
            None
        );
        assert_eq!(
            denial(&stranger, &published, Action::Change),
            Some(Denial::Forbidden)
        );
        assert_eq!(
            denial(&Caller::Anonymous, &published, Action::Change),
            Some(Denial::Unauthenticated)
        );
        let shop = Caller::Service { acting_for: None };
        assert_eq!(denial(&shop, &published, Action::Change), None);
    }
}
