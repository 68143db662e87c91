//! Gauges of a migration that is not finished.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use stockroom_domain::MigrationState;

use crate::flows::migrate::Status;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    source: String,
    target: String,
    phase: &'static str,
}

/// Registers how far a migration is.
pub(super) fn register(registry: &mut Registry, status: &Status) {
    let labels = Labels {
        source: status.migration.source.to_string(),
        target: status.migration.target.to_string(),
        phase: status.migration.phase.as_str(),
    };
    let gauge = |value: u64| {
        let family: Family<Labels, Gauge<u64, AtomicU64>> = Family::default();
        family.get_or_create(&labels).set(value);
        family
    };
    let is_running = status.migration.state == MigrationState::Running;
    let (copied, left) = (status.copied, status.freed());
    let counts = [
        (
            "migration_running",
            "1 while a migration is at work, 0 while it is paused",
            u64::from(is_running),
        ),
        (
            "migration_objects",
            "Live objects that the migration is about",
            copied.objects,
        ),
        (
            "migration_copied",
            "Those of them with a copy on the target",
            copied.copied,
        ),
        (
            "migration_verified",
            "Those of them whose copy on the target was read and matched in this migration",
            copied.verified,
        ),
        (
            "migration_failed",
            "Those of them whose copy could not be made, read or removed",
            status.failed,
        ),
        (
            "migration_under_way",
            "Those of them that are being copied, or are next",
            copied.under_way,
        ),
        (
            "migration_kept",
            "Copies that are left on the store that is freed: the source, or the target in a rollback",
            left.kept,
        ),
    ];
    for (name, help, value) in counts {
        registry.register(name, help, gauge(value));
    }
    registry.register_with_unit(
        "migration_scope",
        "Bytes of the objects that the migration is about",
        Unit::Bytes,
        gauge(copied.bytes),
    );
    registry.register_with_unit(
        "migration_copied",
        "Bytes of the objects with a copy on the target",
        Unit::Bytes,
        gauge(copied.copied_bytes),
    );
    registry.register_with_unit(
        "migration_verified",
        "Bytes of the objects whose copy on the target was read and matched in this migration",
        Unit::Bytes,
        gauge(copied.verified_bytes),
    );
}
