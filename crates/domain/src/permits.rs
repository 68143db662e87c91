//! The gate: who may do what with the bytes of an asset.
//!
//! [`permits`] is the only place that decides it. Every route that can reach a paid byte calls
//! it with facts that were read in one query, and does what the [`Decision`] says.

use serde::{Deserialize, Serialize};

use crate::{ModelStatus, PurchaseId, Subject, Timestamp};

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

/// What the caller wants with the asset.
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
    /// When it was refunded.
    pub refunded_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// How many downloads it allows.
    pub download_limit: Option<u64>,
    /// How many downloads were made.
    pub downloads: u64,
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

/// Decides whether `caller` may do `action` with the asset, at the moment `now`.
#[must_use]
pub fn permits(caller: &Caller, asset: &AssetFacts, action: Action, now: Timestamp) -> Decision {
    if asset.deleted && action != Action::Restore {
        return Decision::Deny(match (caller, action) {
            // As for what never was: without a key, nobody learns that something was deleted.
            (Caller::Anonymous, Action::Download | Action::SignUrl) => Denial::Unauthenticated,
            _ => Denial::NotFound,
        });
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
    match bought(asset, now) {
        Some(Ok(purchase)) => Decision::Allow(Grant::Purchase(purchase)),
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
        // Asked for a key before anything else, a stranger learns nothing of what exists.
        Caller::Anonymous => Decision::Deny(Denial::Unauthenticated),
        // A shop's key alone is not a buyer: a bug in the shop must not give files away.
        Caller::Service { acting_for: None } => Decision::Deny(Denial::Forbidden),
        Caller::Operator | Caller::Service { .. } | Caller::Artist(_) | Caller::Buyer(_) => {
            match bought(asset, now) {
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
fn bought(asset: &AssetFacts, now: Timestamp) -> Option<Result<PurchaseId, Denial>> {
    let entitlement = asset.entitlement.as_ref()?;
    Some(match entitlement.status(now) {
        PurchaseStatus::Refunded => Err(Denial::Refunded),
        PurchaseStatus::Expired => Err(Denial::Expired),
        PurchaseStatus::Active if entitlement.is_used_up() => Err(Denial::DownloadLimitReached),
        PurchaseStatus::Active => Ok(entitlement.purchase),
    })
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
            refunded_at: None,
            expires_at: None,
            download_limit: None,
            downloads: 0,
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
