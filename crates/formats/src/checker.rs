//! The one door: name and bytes in, report or rejection out.

use crate::check::{ContentCheck, Opening, Refusal};
use crate::format::Format;
use crate::rejection::{Content, Defect, Foreign, Rejection, Unsupported};
use crate::report::{Note, Report};
use crate::sniff::{OPENING_BYTES, sniff};

/// Checks one file while its bytes stream by.
///
/// Feed every byte to [`update`](Checker::update) in order, then call
/// [`finish`](Checker::finish). Only `finish` accepts; a file is not good before that.
#[derive(Debug)]
pub struct Checker {
    name: ClaimedName,
    expected_size_bytes: Option<u64>,
    size_bytes: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The opening is not complete yet.
    Opening(Vec<u8>),
    /// The opening was judged, and the check that fits it sees the bytes. What the content is if
    /// the check does not recognise it may be known as well.
    Checking {
        check: Box<dyn ContentCheck>,
        foreign: Option<Foreign>,
    },
    /// The verdict has fallen.
    Refused(Rejection),
}

impl Checker {
    /// A check of a file of this name. Only the extension matters, and only as a claim that is
    /// compared with the content.
    #[must_use]
    pub fn new(filename: &str) -> Self {
        Checker {
            name: ClaimedName::of(filename),
            expected_size_bytes: None,
            size_bytes: 0,
            phase: Phase::Opening(Vec::new()),
        }
    }

    /// Tells how long the file is said to be, in bytes, for example by `Content-Length`.
    ///
    /// A file that cannot be whole at this length is then refused as soon as its header is read.
    /// It never makes a file acceptable, and the checker does not verify it.
    #[must_use]
    pub fn expected_size_bytes(mut self, expected: Option<u64>) -> Self {
        self.expected_size_bytes = expected;
        self
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    ///
    /// The file is refused already; abort the upload. Every later call gives the same answer.
    pub fn update(&mut self, chunk: &[u8]) -> Result<(), Rejection> {
        self.size_bytes += chunk.len() as u64;
        self.advance(chunk)
            .inspect_err(|rejection| self.phase = Phase::Refused(rejection.clone()))
    }

    /// The file has ended.
    ///
    /// # Errors
    ///
    /// The file is refused.
    pub fn finish(mut self) -> Result<Report, Rejection> {
        if let Phase::Opening(opening) = &mut self.phase {
            let opening = std::mem::take(opening);
            self.judge(&opening)?;
        }
        let (check, foreign) = match self.phase {
            Phase::Checking { check, foreign } => (check, foreign),
            Phase::Refused(rejection) => return Err(rejection),
            Phase::Opening(_) => return Err(self.name.unrecognised(None)),
        };
        let mut checked = check
            .finish(self.size_bytes)
            .map_err(|refusal| self.name.rejection(refusal, foreign))?;
        if self.name.claimed != Some(checked.format) {
            checked.notes.push(Note::UnusualExtension {
                extension: self.name.extension,
            });
        }
        Ok(Report {
            format: checked.format,
            size_bytes: self.size_bytes,
            details: checked.details,
            notes: checked.notes,
        })
    }

    fn advance(&mut self, chunk: &[u8]) -> Result<(), Rejection> {
        let rest = match &mut self.phase {
            Phase::Opening(opening) => {
                let (head, rest) = chunk.split_at(chunk.len().min(OPENING_BYTES - opening.len()));
                opening.extend_from_slice(head);
                if opening.len() < OPENING_BYTES {
                    return Ok(());
                }
                let opening = std::mem::take(opening);
                self.judge(&opening)?;
                rest
            }
            Phase::Checking { .. } | Phase::Refused(_) => chunk,
        };
        self.check(rest)
    }

    /// Judges the opening, chooses the check, and lets it see the opening.
    fn judge(&mut self, opening: &[u8]) -> Result<(), Rejection> {
        if opening.is_empty() {
            return Err(self.name.empty());
        }
        let candidate = sniff(opening);
        let content = candidate.content(opening);
        if self
            .name
            .claimed
            .is_some_and(|claimed| !candidate.may_be(claimed))
        {
            return Err(self.name.unrecognised(content));
        }
        let facts = Opening {
            bytes: opening,
            claimed: self.name.claimed,
            expected_size_bytes: self.expected_size_bytes,
        };
        let Some(check) = candidate.check(&facts) else {
            return Err(self.name.unrecognised(content));
        };
        self.phase = Phase::Checking {
            check,
            foreign: candidate.otherwise(),
        };
        self.check(opening)
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        match &mut self.phase {
            Phase::Checking { check, foreign } => check
                .update(bytes)
                .map_err(|refusal| self.name.rejection(refusal, *foreign)),
            Phase::Refused(rejection) => Err(rejection.clone()),
            Phase::Opening(_) => Ok(()),
        }
    }
}

/// What a file's name says about its content.
#[derive(Debug)]
struct ClaimedName {
    /// Lower case, without the dot; empty when there is none or it is no plausible extension.
    extension: String,
    /// The format whose files have this extension.
    claimed: Option<Format>,
}

impl ClaimedName {
    fn of(filename: &str) -> Self {
        const LONGEST: usize = 16;
        let extension = filename
            .rsplit_once('.')
            .map(|(_, extension)| extension)
            .filter(|extension| extension.len() <= LONGEST)
            .filter(|extension| extension.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            .unwrap_or_default()
            .to_ascii_lowercase();
        ClaimedName {
            claimed: Format::from_extension(&extension),
            extension,
        }
    }

    fn rejection(&self, refusal: Refusal, foreign: Option<Foreign>) -> Rejection {
        match refusal {
            Refusal::Broken(defect) => Rejection::InvalidModelFile(defect),
            Refusal::Unrecognised => self.unrecognised(foreign.map(Content::Foreign)),
        }
    }

    /// The content is not what the name claims, or of no kind that the shop takes.
    fn unrecognised(&self, content: Option<Content>) -> Rejection {
        let extension = self.extension.clone();
        match (self.claimed, content) {
            (Some(_), Some(content)) => {
                Rejection::InvalidModelFile(Defect::Misnamed { extension, content })
            }
            (Some(claimed), None) => {
                Rejection::InvalidModelFile(Defect::NotAsNamed { extension, claimed })
            }
            (None, Some(Content::Foreign(foreign))) => {
                Rejection::UnsupportedType(Unsupported::Foreign(foreign))
            }
            (None, Some(Content::Known(_)) | None) => {
                Rejection::UnsupportedType(Unsupported::Unknown)
            }
        }
    }

    fn empty(&self) -> Rejection {
        match self.claimed {
            Some(claimed) => Rejection::InvalidModelFile(Defect::Empty { claimed }),
            None => Rejection::UnsupportedType(Unsupported::Empty),
        }
    }
}
