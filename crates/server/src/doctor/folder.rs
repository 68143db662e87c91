//! A folder: can it be written, is there room, and does it keep extended attributes?

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, fsetxattr, statvfs};
use rustix::io::Errno;

use super::finding::Finding;

/// How much is written, in bytes. With less than this, a disk is full.
const PROBE_BYTES: usize = 1 << 20;

/// Below this many bytes, or below a twentieth of the disk, it is nearly full.
const LOW_BYTES: u64 = 1 << 30;
const LOW_PART: u64 = 20;

/// Which folder is looked at, with the names of its findings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    variable: &'static str,
    ok: &'static str,
    new: &'static str,
    not_writable: &'static str,
    full: &'static str,
    nearly_full: &'static str,
    /// The finding where files have no extended attributes; none for a folder without objects.
    no_attributes: Option<&'static str>,
}

/// The folder of everything local.
pub(super) const DATA: Role = Role {
    variable: "DATA_DIR",
    ok: "data.folder",
    new: "data.new",
    not_writable: "data.not-writable",
    full: "data.full",
    nearly_full: "data.nearly-full",
    no_attributes: None,
};

/// The folder of the local store.
pub(super) const STORAGE: Role = Role {
    variable: "STORAGE_DIR",
    ok: "storage.folder",
    new: "storage.new",
    not_writable: "storage.not-writable",
    full: "storage.full",
    nearly_full: "storage.nearly-full",
    no_attributes: Some("storage.no-attributes"),
};

/// Looks at a folder, or where it is missing at the one that it would be made in. `name` is that
/// of the file to write.
pub(super) async fn examine(role: Role, dir: &Path, name: String) -> Vec<Finding> {
    let dir = dir.to_owned();
    let looked = tokio::task::spawn_blocking(move || look(role, &dir, &name)).await;
    // Only a panic or the end of the program leaves nothing.
    looked.unwrap_or_default()
}

fn look(role: Role, dir: &Path, name: &str) -> Vec<Finding> {
    let existing = nearest_existing(dir);
    let mut findings = Vec::new();
    if existing != dir {
        findings.push(Finding::info(
            role.new,
            format!(
                "{} {} does not exist yet; the first start makes it.",
                role.variable,
                dir.display()
            ),
        ));
    }
    match probe(&existing.join(format!(".stockroom-{name}"))) {
        Ok(keeps_attributes) => {
            if existing == dir {
                let variable = role.variable;
                findings.push(Finding::ok(role.ok, format!("{variable} can be written.")));
            }
            if let (false, Some(id)) = (keeps_attributes, role.no_attributes) {
                findings.push(Finding::warning(
                    id,
                    format!(
                        "Files in {} keep no extended attributes.",
                        existing.display()
                    ),
                    "Put STORAGE_DIR on ext4, XFS, Btrfs or ZFS. Everything works without them, \
                     but the folder alone does not tell media types and digests.",
                ));
            }
            findings.extend(room(role, &existing));
        }
        Err(error) => findings.push(unusable(role, &existing, &error)),
    }
    findings
}

fn nearest_existing(dir: &Path) -> PathBuf {
    let nearest = dir.ancestors().find(|path| path.exists());
    nearest.unwrap_or(dir).to_owned()
}

/// Writes a file, durably, and removes it. Whether it kept an extended attribute.
fn probe(path: &Path) -> io::Result<bool> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file
        .write_all(&vec![0x5a; PROBE_BYTES])
        .and_then(|()| file.sync_all())
        .and_then(|()| {
            match fsetxattr(&file, "user.stockroom-doctor", b"1", XattrFlags::empty()) {
                Ok(()) => Ok(true),
                Err(Errno::NOTSUP | Errno::NOSYS) => Ok(false),
                Err(error) => Err(error.into()),
            }
        });
    drop(file);
    let removed = fs::remove_file(path);
    let keeps_attributes = written?;
    removed?;
    Ok(keeps_attributes)
}

fn unusable(role: Role, dir: &Path, error: &io::Error) -> Finding {
    let (variable, shown) = (role.variable, dir.display());
    match error.kind() {
        io::ErrorKind::StorageFull => Finding::error(
            role.full,
            format!("The disk of {variable} {shown} is full."),
            "Free some room, or move the folder to a larger disk.",
        ),
        io::ErrorKind::QuotaExceeded => Finding::error(
            role.full,
            format!("The quota of this user on the disk of {variable} {shown} is used up."),
            "Free some room, or raise the quota.",
        ),
        io::ErrorKind::ReadOnlyFilesystem => Finding::error(
            role.not_writable,
            format!("The disk of {variable} {shown} is mounted read-only."),
            "Mount it writable; a disk with errors is made read-only, so look at its log first.",
        ),
        io::ErrorKind::NotADirectory => Finding::error(
            role.not_writable,
            format!("{variable} cannot be a folder: {shown} is a file."),
            format!("Move the file away, or set {variable} to another path."),
        ),
        _ => Finding::error(
            role.not_writable,
            format!("{variable} cannot be written in {shown}: {error}."),
            format!("Let the user that runs Stockroom own the folder, or change {variable}."),
        ),
    }
}

/// How much room is left.
fn room(role: Role, dir: &Path) -> Option<Finding> {
    let disk = statvfs(dir).ok()?;
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    let all_bytes = disk.f_blocks.saturating_mul(disk.f_frsize);
    is_low(free_bytes, all_bytes).then(|| {
        Finding::warning(
            role.nearly_full,
            format!(
                "The disk of {} has {} MiB left of {} MiB.",
                role.variable,
                free_bytes >> 20,
                all_bytes >> 20
            ),
            "Free some room soon: without any, uploads are refused.",
        )
    })
}

const fn is_low(free_bytes: u64, all_bytes: u64) -> bool {
    free_bytes < LOW_BYTES || free_bytes < all_bytes / LOW_PART
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn a_disk_is_low_below_a_gibibyte_or_a_twentieth() {
        const GIB: u64 = 1 << 30;
        for (free_bytes, all_bytes, low) in [
            (GIB, 2 * GIB, false),
            (GIB - 1, 2 * GIB, true),
            (5 * GIB, 100 * GIB, false),
            (5 * GIB - 1, 100 * GIB, true),
            (0, 0, true),
        ] {
            assert_eq!(is_low(free_bytes, all_bytes), low, "{free_bytes}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        for (errno, id) in [
            (Errno::NOSPC, "storage.full"),
            (Errno::DQUOT, "storage.full"),
            (Errno::ROFS, "storage.not-writable"),
            (Errno::ACCESS, "storage.not-writable"),
            (Errno::NOTDIR, "storage.not-writable"),
        ] {
            let found = unusable(STORAGE, Path::new("/srv/shop"), &errno.into());
            assert_eq!((found.id, found.severity), (id, Severity::Error));
        }
    }

    #[test]
    fn nothing_is_left_in_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = look(STORAGE, folder.path(), "x");
        assert_eq!(
            found[0],
            Finding::ok("storage.folder", "STORAGE_DIR can be written.")
        );
        let missing = look(DATA, &folder.path().join("a/b"), "x");
        assert_eq!(missing[0].id, "data.new");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
