//! What every format's check has in common.

use std::fmt::Debug;

use crate::format::Format;
use crate::rejection::Defect;
use crate::report::{Details, Note};

/// The check of one format, over all bytes of one file.
///
/// It is made from the [`Opening`] and then sees every byte once, the opening's bytes included,
/// in chunks of any size. Its verdict must not depend on how the bytes are cut, so a sentence may
/// name the length of the file only in `finish`.
pub(crate) trait ContentCheck: Debug + Send + Sync {
    /// Takes the next bytes of the file. After an error it is not called again.
    fn update(&mut self, chunk: &[u8]) -> Result<(), Refusal>;

    /// The file has ended after `size_bytes`.
    fn finish(self: Box<Self>, size_bytes: u64) -> Result<Checked, Refusal>;
}

/// What is known of a file when its check begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    /// The first bytes: [`crate::sniff::OPENING_BYTES`], or the whole file where that is shorter.
    pub(crate) bytes: &'a [u8],
    /// The format that the file's name claims.
    pub(crate) claimed: Option<Format>,
    /// The length that the sender announced. Used to refuse earlier, never to accept.
    pub(crate) expected_size_bytes: Option<u64>,
}

/// A file that its check accepts.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) format: Format,
    pub(crate) details: Details,
    pub(crate) notes: Vec<Note>,
}

/// Why a check refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is a file of this format, and broken.
    Broken(Defect),
    /// It is not a file of this format after all.
    Unrecognised,
}

impl From<Defect> for Refusal {
    fn from(defect: Defect) -> Self {
        Refusal::Broken(defect)
    }
}

/// Adds the note if the count is not zero.
pub(crate) fn note_if(notes: &mut Vec<Note>, count: u64, note: impl FnOnce(u64) -> Note) {
    if count > 0 {
        notes.push(note(count));
    }
}
