//! Opening things beneath the root, and nothing else.
//!
//! No symbolic link is followed, wherever it lies: on Linux the kernel refuses them while it
//! resolves the path (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`); where it cannot,
//! as on macOS or under a filter for system calls, each directory is opened from its parent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, open, openat, statat};
use rustix::io::Errno;

/// How directories are opened.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// How files are opened for reading. A planted pipe must not make the open wait for a writer.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// The root directory, held open.
#[derive(Debug)]
pub(super) struct Confined {
    root: OwnedFd,
    #[cfg(target_os = "linux")]
    has_openat2: AtomicBool,
    /// Whether the kernel can be told to open only what it need not wait for.
    #[cfg(target_os = "linux")]
    has_cached: AtomicBool,
}

impl Confined {
    /// Holds the directory at `root`. The root's own path may lead through links: the operator
    /// chose it.
    pub(super) fn new(root: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: open(root, flags, Mode::empty())?,
            #[cfg(target_os = "linux")]
            has_openat2: AtomicBool::new(true),
            #[cfg(target_os = "linux")]
            has_cached: AtomicBool::new(true),
        })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the directory at a path beneath the root.
    ///
    /// `LOOP` means that a symbolic link lies on the way, `NOTDIR` that something else does.
    pub(super) fn open_dir(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open(path, DIRECTORY)
    }

    /// Opens the file at a path beneath the root for reading. It may turn out to be no file.
    pub(super) fn open_file(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open(path, READ)
    }

    /// The same without waiting for a disk or another machine: none when the kernel does not have at hand
    /// what it needs for that (`RESOLVE_CACHED`, since Linux 5.12), or when anything else is in the way.
    #[cfg(target_os = "linux")]
    pub(super) fn open_file_at_hand(&self, path: &str) -> Option<OwnedFd> {
        use rustix::fs::{ResolveFlags, openat2};
        if !self.has_openat2.load(Ordering::Relaxed) || !self.has_cached.load(Ordering::Relaxed) {
            return None;
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
        let flags = READ.difference(OFlags::NOFOLLOW);
        match openat2(&self.root, path, flags, Mode::empty(), resolve) {
            Ok(file) => Some(file),
            Err(errno) => {
                if errno == Errno::INVAL {
                    self.has_cached.store(false, Ordering::Relaxed);
                }
                None
            }
        }
    }

    /// Other systems cannot be told not to wait.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn open_file_at_hand(&self, _: &str) -> Option<OwnedFd> {
        None
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        #[cfg(target_os = "linux")]
        if self.has_openat2.load(Ordering::Relaxed) {
            use rustix::fs::{ResolveFlags, openat2};
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            // With NOFOLLOW a link at the end would be called "not a directory".
            let flags = flags.difference(OFlags::NOFOLLOW);
            match openat2(&self.root, path, flags, Mode::empty(), resolve) {
                // The kernel is older than 5.6, or a filter refuses the call.
                Err(Errno::NOSYS | Errno::PERM) => {
                    self.has_openat2.store(false, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        self.walk(path, flags)
    }

    fn walk(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let Some((dirs, name)) = path.rsplit_once('/') else {
            return open_child(self.root(), path, flags);
        };
        let mut names = dirs.split('/');
        let first = names.next().unwrap_or(dirs);
        let mut dir = open_child(self.root(), first, DIRECTORY)?;
        for name in names {
            dir = open_child(dir.as_fd(), name, DIRECTORY)?;
        }
        open_child(dir.as_fd(), name, flags)
    }

    /// From now on each directory is opened from its parent.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn forget_openat2(&self) {
        self.has_openat2.store(false, Ordering::Relaxed);
    }
}

/// Opens an entry of a directory without following it. A symbolic link is `LOOP`, also where a
/// directory was wanted and the kernel says `NOTDIR`.
pub(super) fn open_child(
    parent: BorrowedFd<'_>,
    name: &str,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let opened = openat(parent, name, flags, Mode::empty());
    if matches!(opened, Err(Errno::NOTDIR)) && is_link(parent, name) {
        return Err(Errno::LOOP);
    }
    opened
}

fn is_link(parent: BorrowedFd<'_>, name: &str) -> bool {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}
