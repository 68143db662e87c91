//! The binary hypothesis: an 80-byte header, a count n, n facets of 50 bytes, and nothing else.
//!
//! Layout: <https://www.loc.gov/preservation/digital/formats/fdd/fdd000504.shtml>.

use super::facets::Facets;
use crate::report::Note;

/// The header of 80 free bytes and the 32-bit count behind it.
pub(super) const HEADER_BYTES: usize = 84;
/// A normal and three corners of three 32-bit floats each, and two attribute bytes.
const FACET_BYTES: usize = 50;

/// The file read as a binary STL.
#[derive(Debug)]
pub(super) struct BinaryStl {
    /// How many triangles the header announces.
    pub(super) announced: u64,
    pub(super) facets: Facets,
    with_attributes: u64,
    header_left: usize,
    /// The beginning of a facet whose end is in the next chunk.
    partial: [u8; FACET_BYTES],
    partial_len: usize,
    /// How many bytes follow the last announced facet.
    pub(super) trailing_bytes: u64,
    trailing_is_zero: bool,
}

impl BinaryStl {
    /// The hypothesis on a file with this opening; none if that is shorter than a header.
    pub(super) fn new(opening: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = opening.first_chunk()?;
        let count = u32::from_le_bytes([header[80], header[81], header[82], header[83]]);
        Some(BinaryStl {
            announced: u64::from(count),
            facets: Facets::new(),
            with_attributes: 0,
            header_left: HEADER_BYTES,
            partial: [0; FACET_BYTES],
            partial_len: 0,
            trailing_bytes: 0,
            trailing_is_zero: true,
        })
    }

    /// The length of a file with as many triangles as announced.
    pub(super) fn announced_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + FACET_BYTES as u64 * self.announced
    }

    /// Whether the file holds every announced facet.
    pub(super) fn is_complete(&self) -> bool {
        self.facets.count == self.announced
    }

    /// Whether the bytes after the last facet rule out that the count is right.
    ///
    /// Less than a facet, or any number of zeros, is harmless: a line end, or a file filled up
    /// to whole blocks. Anything else may be facets that a reader, trusting the count, would leave out.
    pub(super) fn goes_on(&self) -> bool {
        self.trailing_bytes >= FACET_BYTES as u64 && !self.trailing_is_zero
    }

    pub(super) fn note(&self, notes: &mut Vec<Note>) {
        crate::check::note_if(notes, self.with_attributes, |facets| Note::AttributeBytes {
            facets,
        });
        self.facets.note(notes);
        crate::check::note_if(notes, self.trailing_bytes, |bytes| Note::TrailingBytes {
            bytes,
        });
    }

    pub(super) fn update(&mut self, chunk: &[u8]) {
        let (header, body) = chunk.split_at(chunk.len().min(self.header_left));
        self.header_left -= header.len();

        let left_bytes =
            (self.announced - self.facets.count) * FACET_BYTES as u64 - self.partial_len as u64;
        let facet_bytes =
            usize::try_from(left_bytes).map_or(body.len(), |left| left.min(body.len()));
        let (facets, trailing) = body.split_at(facet_bytes);
        self.take_facets(facets);

        self.trailing_bytes += trailing.len() as u64;
        self.trailing_is_zero &= trailing.iter().all(|&byte| byte == 0);
    }

    fn take_facets(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.partial_len > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(FACET_BYTES - self.partial_len));
            self.partial[self.partial_len..][..head.len()].copy_from_slice(head);
            self.partial_len += head.len();
            if self.partial_len < FACET_BYTES {
                return;
            }
            let facet = self.partial;
            self.take_facet(&facet);
            bytes = rest;
        }
        let (facets, rest) = bytes.as_chunks::<FACET_BYTES>();
        for facet in facets {
            self.take_facet(facet);
        }
        self.partial[..rest.len()].copy_from_slice(rest);
        self.partial_len = rest.len();
    }

    #[inline]
    fn take_facet(&mut self, facet: &[u8; FACET_BYTES]) {
        let float = |index: usize| {
            let at = index * 4;
            f32::from_le_bytes([facet[at], facet[at + 1], facet[at + 2], facet[at + 3]])
        };
        // The first three floats are the normal, which readers compute anew.
        let corner = |first: usize| [float(first), float(first + 1), float(first + 2)];
        self.facets.add(&[corner(3), corner(6), corner(9)]);
        self.with_attributes += u64::from(facet[48] | facet[49] != 0);
    }
}
