//! Small disks: ext4 on a loop device, whose image shows what a power cut would leave, and file
//! systems in memory.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

/// What a disk holds at one moment.
pub(crate) type Image = Vec<u8>;

/// An ext4 disk.
///
/// The file system keeps what nobody synced in memory: names until its journal is committed,
/// which happens on a sync or after 300 s, and bytes until they are synced or 30 s old. The loop
/// device is the disk. What was written to it is in the page cache of the image file, which every
/// reader of that file sees. So the content of the file is what a disk without a volatile cache
/// of its own would hold after a power cut. (That flushes reach the platters is between the
/// kernel and the disk; no test on a loop device can show it.)
pub(crate) struct Disk {
    mount: Mount,
    image: PathBuf,
    // Last, so that the image is there until it is unmounted.
    folder: TempDir,
}

impl Disk {
    /// Why there can be no such disk on this machine. `None` when there can.
    pub(crate) fn problem() -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let options = format(&image, 8 << 20, &[]);
        let made = options.and_then(|()| Mount::ext4(&image, folder.path()));
        made.err()
    }

    /// An empty disk of this size.
    pub(crate) fn new(size_bytes: u64) -> Self {
        Self::with_format(size_bytes, &[])
    }

    /// An empty disk of this size, formatted with further options of `mkfs.ext4`.
    pub(crate) fn with_format(size_bytes: u64, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        format(&image, size_bytes, options).unwrap();
        Self::mounted(image, folder)
    }

    /// The disk after the power is back: the file system recovers by its journal.
    pub(crate) fn after_power_cut(content: &Image) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        write_sparse(&image, content);
        Self::mounted(image, folder)
    }

    fn mounted(image: PathBuf, folder: TempDir) -> Self {
        let mount = Mount::ext4(&image, folder.path()).unwrap();
        Self {
            mount,
            image,
            folder,
        }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount.at
    }

    /// What the disks hold at this moment. Nothing may write to them: they are read twice, until
    /// both readings agree, because the kernel may still be writing back.
    pub(crate) fn images(disks: &[Self]) -> Vec<Image> {
        let read = || -> Vec<Image> {
            let images = disks.iter().map(|disk| std::fs::read(&disk.image).unwrap());
            images.collect()
        };
        let mut last = read();
        for _ in 0..50 {
            let again = read();
            if again == last {
                return again;
            }
            last = again;
        }
        panic!("the disks do not come to rest")
    }

    /// Unmounts the disk and looks whether the file system is in order. If it is not, the image
    /// was no state that the disk ever had.
    pub(crate) fn check(mut self) {
        self.mount.unmount();
        let mut fsck = Command::new("e2fsck");
        succeed(fsck.args(["-f", "-n"]).arg(&self.image)).unwrap();
        drop(self.folder);
    }
}

/// A file system in memory.
pub(crate) struct Memory {
    mount: Mount,
    _folder: TempDir,
}

impl Memory {
    /// One with these options of tmpfs.
    pub(crate) fn new(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["-t", "tmpfs", "-o", options, "stockroom-test"];
        let mount = Mount::new(&arguments, folder.path()).unwrap();
        Self {
            mount,
            _folder: folder,
        }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount.at
    }
}

struct Mount {
    at: PathBuf,
    is_mounted: bool,
}

impl Mount {
    fn ext4(image: &Path, folder: &Path) -> Result<Self, String> {
        // Nothing is committed by time while a test runs, and nothing is initialised in the
        // background.
        let options = "loop,data=ordered,commit=300,noinit_itable";
        let image = image.to_str().unwrap();
        Self::new(&["-t", "ext4", "-o", options, image], folder)
    }

    fn new(arguments: &[&str], folder: &Path) -> Result<Self, String> {
        let at = folder.join("mounted");
        std::fs::create_dir_all(&at).unwrap();
        succeed(Command::new("mount").args(arguments).arg(&at))?;
        Ok(Self {
            at,
            is_mounted: true,
        })
    }

    /// Unmounts it once everything on it is closed, which threads may still be about to do.
    fn unmount(&mut self) {
        for _ in 0..500 {
            if succeed(Command::new("umount").arg(&self.at)).is_ok() {
                self.is_mounted = false;
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} is still in use", self.at.display());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.is_mounted {
            // A test that fails may leave open files behind. A panic here would hide its own.
            succeed(Command::new("umount").arg("-l").arg(&self.at)).ok();
        }
    }
}

fn format(image: &Path, size_bytes: u64, options: &[&str]) -> Result<(), String> {
    File::create(image).unwrap().set_len(size_bytes).unwrap();
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-b", "4096", "-i", "4096", "-m", "0"])
        .args(["-E", "lazy_itable_init=0,lazy_journal_init=0"])
        .args(options);
    succeed(mkfs.arg(image))
}

fn write_sparse(path: &Path, content: &Image) {
    const BLOCK_BYTES: usize = 64 << 10;
    let zeros = [0; BLOCK_BYTES];
    let mut file = File::create(path).unwrap();
    file.set_len(content.len() as u64).unwrap();
    for (number, block) in content.chunks(BLOCK_BYTES).enumerate() {
        if block != &zeros[..block.len()] {
            let start = (number * BLOCK_BYTES) as u64;
            file.seek(SeekFrom::Start(start)).unwrap();
            file.write_all(block).unwrap();
        }
    }
}

/// Runs a command; what it said when it failed.
fn succeed(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = [output.stderr, output.stdout].concat();
            Err(format!(
                "{program}: {}",
                String::from_utf8_lossy(&said).trim()
            ))
        }
        Err(error) => Err(format!("{program} cannot be run: {error}")),
    }
}
