//! The library that is loaded into the server, and the page over which it is steered.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

/// What happens to the call with the chosen number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The process ends before it.
    KillBefore,
    /// The process ends after it.
    KillAfter,
    /// It fails once.
    Fail(Errno),
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errno {
    /// The disk is broken.
    Io,
    /// The disk is full.
    NoSpace,
}

/// Which calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Those about files and those about sockets.
    All,
    /// Those about files.
    Files,
}

/// An order: what happens at which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) strike: Strike,
    pub(crate) calls: Calls,
    /// Counted from 1; 0 is never reached.
    pub(crate) number: u64,
}

impl Order {
    /// Counts and does nothing.
    pub(crate) const COUNT: Self = Self {
        strike: Strike::KillBefore,
        calls: Calls::All,
        number: 0,
    };
}

/// Where the library struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Struck {
    /// The name of the call.
    pub(crate) call: String,
    /// What it was about: a path, or a socket.
    pub(crate) path: String,
}

/// The library, compiled once per process.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("preload.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/preload.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra"])
            .arg(&source)
            .arg("-o")
            .arg(&library)
            .arg("-ldl")
            .status()
            .expect("a C compiler named cc, which Rust needs for linking too");
        assert!(compiled.success(), "{} does not compile", source.display());
        (folder, library)
    });
    library
}

/// The page in shared memory; its layout is that of `struct page` in `preload.c`.
pub(crate) struct ControlPage {
    file: File,
    path: PathBuf,
}

impl ControlPage {
    const BYTES: u64 = 512;
    const ALL: u64 = 24;
    const FILES: u64 = 32;
    const FIRED: u64 = 40;
    const CALL: std::ops::Range<u64> = 48..96;
    const PATH: std::ops::Range<u64> = 96..512;

    /// A page that counts nothing yet.
    pub(crate) fn create(path: PathBuf) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        file.set_len(Self::BYTES).unwrap();
        Self { file, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Counting begins now, from nothing.
    pub(crate) fn arm(&self, order: Order) {
        self.disarm();
        for counter in [Self::ALL, Self::FILES] {
            self.file.write_all_at(&[0; 8], counter).unwrap();
        }
        let (mode, errno) = match order.strike {
            Strike::KillBefore => (0, 0),
            Strike::KillAfter => (1, 0),
            Strike::Fail(errno) => (2, errno.number()),
        };
        let files_only = u32::from(order.calls == Calls::Files);
        self.write_u32(4, mode);
        self.write_u32(8, errno);
        self.write_u32(12, files_only);
        self.file
            .write_all_at(&order.number.to_ne_bytes(), 16)
            .unwrap();
        self.write_u32(0, 1);
    }

    /// Everything passes from now on.
    pub(crate) fn disarm(&self) {
        self.write_u32(0, 0);
    }

    /// How many calls were counted.
    pub(crate) fn count(&self, calls: Calls) -> u64 {
        let offset = match calls {
            Calls::All => Self::ALL,
            Calls::Files => Self::FILES,
        };
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, offset).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// Where the library struck, if it did.
    pub(crate) fn struck(&self) -> Option<Struck> {
        let mut fired = [0; 4];
        self.file.read_exact_at(&mut fired, Self::FIRED).unwrap();
        (u32::from_ne_bytes(fired) == 1).then(|| Struck {
            call: self.text(Self::CALL),
            path: self.text(Self::PATH),
        })
    }

    /// Waits until nothing was counted for a while.
    pub(crate) async fn quiet(&self) {
        const STILL: Duration = Duration::from_millis(40);
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut seen = self.count(Calls::All);
        let mut since = Instant::now();
        while since.elapsed() < STILL {
            assert!(
                Instant::now() < deadline,
                "the server does not come to rest"
            );
            tokio::time::sleep(Duration::from_millis(4)).await;
            let now = self.count(Calls::All);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    fn write_u32(&self, offset: u64, value: u32) {
        self.file
            .write_all_at(&value.to_ne_bytes(), offset)
            .unwrap();
    }

    fn text(&self, range: std::ops::Range<u64>) -> String {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        self.file.read_exact_at(&mut bytes, range.start).unwrap();
        let end = bytes.iter().position(|byte| *byte == 0);
        bytes.truncate(end.unwrap_or(bytes.len()));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Errno {
    /// The number on Linux.
    const fn number(self) -> u32 {
        match self {
            Self::Io => 5,
            Self::NoSpace => 28,
        }
    }
}
