//! ZIP archives and 3MF packages, told apart by the directory at the end of the archive.
//!
//! The names in the directory are the archive's own word on what it holds. Names of local headers
//! would come earlier, but cannot be found reliably in a stream: where the sizes stand behind the
//! data one has to search for signatures, and a stored archive within the archive has the same ones.
//! A directory is believed only if it is followed by an end record, at the end of the file, that
//! points back to where the directory was seen. A cut archive therefore never passes.
//!
//! Layout: APPNOTE.TXT 6.3.10, section 4.3
//! (<https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>).

mod directory;

use crate::check::{Checked, ContentCheck, Opening, Refusal, note_if};
use crate::format::Format;
use crate::rejection::Defect;
use crate::report::{ArchiveDetails, Details, Note};
use directory::DirectoryScan;

/// The check of a ZIP archive or a 3MF package.
#[derive(Debug)]
pub(crate) struct ArchiveCheck {
    claimed: Option<Format>,
    is_empty: bool,
    scan: DirectoryScan,
}

impl ArchiveCheck {
    pub(crate) fn new(opening: &Opening<'_>) -> Self {
        ArchiveCheck {
            claimed: opening.claimed,
            // An archive without entries consists of an end record only.
            is_empty: opening.bytes.starts_with(b"PK\x05\x06"),
            scan: DirectoryScan::new(),
        }
    }
}

impl ContentCheck for ArchiveCheck {
    fn update(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        if self.is_empty {
            return Err(Defect::ArchiveEmpty.into());
        }
        self.scan.update(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>, size_bytes: u64) -> Result<Checked, Refusal> {
        // Readers look for the end record in the last 64 KiB, so more than that behind it hides it.
        let is_at_end =
            |ends_at: u64| ends_at <= size_bytes && size_bytes - ends_at <= u64::from(u16::MAX);
        let cut = Defect::ArchiveCut {
            claimed: self.claimed.unwrap_or(Format::Zip),
        };
        let directory = self
            .scan
            .found()
            .filter(|directory| is_at_end(directory.ends_at))
            .ok_or(cut)?;
        let format = match (directory.is_3mf(), self.claimed) {
            (true, _) => Format::ThreeMf,
            (false, Some(Format::ThreeMf)) => return Err(Defect::ArchiveNot3mf.into()),
            (false, _) => Format::Zip,
        };
        let mut notes = Vec::new();
        note_if(&mut notes, size_bytes - directory.ends_at, |bytes| {
            Note::TrailingBytes { bytes }
        });
        Ok(Checked {
            format,
            details: Details::Archive(ArchiveDetails {
                entries: directory.entries,
            }),
            notes,
        })
    }
}
