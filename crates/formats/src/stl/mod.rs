//! STL: two encodings that only the whole file tells apart.
//!
//! Many programs begin the free header of a binary STL with the word "solid", so that word decides
//! nothing. The length does: a file of exactly 84 + 50 n bytes, where n is its count, is binary. The
//! length is known at the end, so both hypotheses run side by side until one is ruled out.

mod ascii;
mod binary;
mod facets;

use crate::check::{Checked, ContentCheck, Opening, Refusal, note_if};
use crate::format::Format;
use crate::rejection::{Defect, TextProblem};
use crate::report::{Details, Encoding, Note, StlDetails};
use ascii::AsciiStl;
use binary::BinaryStl;

/// A count beyond this belongs to no STL: the file would have 13 GB, and programs give up far below.
/// Four random bytes are beyond it 15 times out of 16. It only chooses the sentence of a refusal.
const MOST_TRIANGLES: u64 = 1 << 28;

/// The check of an STL file.
#[derive(Debug)]
pub(crate) struct StlCheck {
    is_vouched_for: bool,
    expected_size_bytes: Option<u64>,
    /// Absent where the file is too short for a header, or text.
    binary: Option<BinaryStl>,
    /// Absent where the file does not begin with "solid".
    ascii: Option<AsciiStl>,
}

impl StlCheck {
    /// `is_vouched_for` says that the name claims an STL and the content does not contradict it, so
    /// that a file that is not quite one is a broken STL rather than something else.
    pub(crate) fn new(opening: &Opening<'_>, is_vouched_for: bool) -> Self {
        let ascii = AsciiStl::new(opening.bytes);
        let is_text = ascii.as_ref().is_some_and(AsciiStl::has_text_opening);
        StlCheck {
            is_vouched_for,
            expected_size_bytes: opening.expected_size_bytes,
            // Read as a count, four bytes of text announce at least 151 million triangles; in the
            // 7.6 GB of those, not one of the first facets would have a zero in it.
            binary: if is_text {
                None
            } else {
                BinaryStl::new(opening.bytes)
            },
            ascii,
        }
    }

    /// The text hypothesis, if a refusal should be in its words.
    fn likely_text(&self) -> Option<&AsciiStl> {
        let is_text =
            |ascii: &&AsciiStl| ascii.is_certain() || self.is_vouched_for && ascii.is_likely();
        self.ascii.as_ref().filter(is_text)
    }

    /// The refusal that is certain already, whatever follows.
    fn certain_refusal(&self) -> Option<Refusal> {
        if self
            .ascii
            .as_ref()
            .is_some_and(|ascii| ascii.fault().is_none())
        {
            return None;
        }
        let Some(binary) = &self.binary else {
            // A file that is too short for a header is at its end anyway, and its length belongs
            // into the sentence.
            let needs_length = self.is_vouched_for && self.likely_text().is_none();
            return (!needs_length).then(|| self.refusal(None));
        };
        if binary.goes_on() || !self.is_vouched_for && binary.trailing_bytes > 0 {
            return Some(self.refusal(None));
        }
        let expected = self
            .expected_size_bytes
            .filter(|&expected| expected < binary.announced_bytes())?;
        Some(self.refusal(Some(expected)))
    }

    /// The refusal in the words of the hypothesis that fits better. The length of the file is
    /// needed unless the file is known to go on too long.
    fn refusal(&self, size_bytes: Option<u64>) -> Refusal {
        if let Some(ascii) = self.likely_text() {
            let (line, problem) = match ascii.fault() {
                Some(fault) => (fault.line, fault.problem.clone()),
                None => (ascii.line(), TextProblem::Cut),
            };
            return Defect::StlText { line, problem }.into();
        }
        if !self.is_vouched_for {
            return Refusal::Unrecognised;
        }
        let size_bytes = size_bytes.unwrap_or_default();
        match &self.binary {
            Some(binary) if binary.announced > MOST_TRIANGLES => Refusal::Unrecognised,
            None => Defect::StlWithoutHeader { size_bytes }.into(),
            Some(binary) if binary.goes_on() => Defect::StlGoesOn {
                triangles: binary.announced,
                announced_bytes: binary.announced_bytes(),
            }
            .into(),
            Some(binary) => Defect::StlCut {
                triangles: binary.announced,
                announced_bytes: binary.announced_bytes(),
                size_bytes,
            }
            .into(),
        }
    }
}

impl ContentCheck for StlCheck {
    fn update(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        if let Some(binary) = &mut self.binary {
            binary.update(chunk);
        }
        if let Some(ascii) = &mut self.ascii {
            ascii.update(chunk);
        }
        self.certain_refusal().map_or(Ok(()), Err)
    }

    fn finish(mut self: Box<Self>, size_bytes: u64) -> Result<Checked, Refusal> {
        if let Some(ascii) = &mut self.ascii {
            ascii.end();
        }
        // Without the exact length or the name, chance is not ruled out.
        if let Some(binary) = self.binary.as_ref().filter(|binary| {
            binary.is_complete()
                && !binary.goes_on()
                && (self.is_vouched_for || binary.trailing_bytes == 0)
        }) {
            return accept_binary(binary, self.is_vouched_for);
        }
        if let Some(ascii) = self.ascii.as_ref().filter(|ascii| ascii.is_complete()) {
            return accept_ascii(ascii);
        }
        Err(self.refusal(Some(size_bytes)))
    }
}

fn accept_binary(binary: &BinaryStl, is_vouched_for: bool) -> Result<Checked, Refusal> {
    if binary.announced == 0 {
        // 84 bytes that end in four zeros are too little to recognise an STL by.
        let refusal = if is_vouched_for {
            Defect::StlWithoutTriangles.into()
        } else {
            Refusal::Unrecognised
        };
        return Err(refusal);
    }
    let mut notes = Vec::new();
    binary.note(&mut notes);
    let details = StlDetails {
        encoding: Encoding::Binary,
        triangles: binary.facets.count,
        solids: 1,
        bounding_box: binary.facets.bounding_box(),
    };
    Ok(Checked {
        format: Format::Stl,
        details: Details::Stl(details),
        notes,
    })
}

/// An STL without a single facet is well formed, and refused all the same: it is what a program
/// writes when nothing was selected, and nobody should be able to sell it. A solid without
/// facets beside others is only noted.
fn accept_ascii(ascii: &AsciiStl) -> Result<Checked, Refusal> {
    if ascii.facets.count == 0 {
        return Err(Defect::StlWithoutTriangles.into());
    }
    let mut notes = Vec::new();
    ascii.facets.note(&mut notes);
    note_if(&mut notes, ascii.empty_solids, |solids| Note::EmptySolids {
        solids,
    });
    if ascii.has_byte_order_mark {
        notes.push(Note::ByteOrderMark);
    }
    let details = StlDetails {
        encoding: Encoding::Ascii,
        triangles: ascii.facets.count,
        solids: ascii.solids,
        bounding_box: ascii.facets.bounding_box(),
    };
    Ok(Checked {
        format: Format::Stl,
        details: Details::Stl(details),
        notes,
    })
}
