//! GLB: glTF 2.0 in one file. The header declares the length of the file.
//!
//! Layout: glTF 2.0 specification, section 4.4
//! (<https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html#binary-gltf-layout>).

use crate::check::{Checked, ContentCheck, Opening, Refusal};
use crate::format::Format;
use crate::rejection::Defect;
use crate::report::{Details, GlbDetails};

/// Magic, version and length, then length and type of the first chunk.
const HEADERS_BYTES: u64 = 20;

/// The check of a GLB file.
#[derive(Debug)]
pub(crate) struct GlbCheck {
    version: Option<u32>,
    announced_bytes: Option<u64>,
    json_bytes: Option<u32>,
    first_chunk_is_json: bool,
    expected_size_bytes: Option<u64>,
    seen_bytes: u64,
}

impl GlbCheck {
    pub(crate) fn new(opening: &Opening<'_>) -> Self {
        let field = |at: usize| {
            let bytes: &[u8; 4] = opening.bytes.get(at..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        GlbCheck {
            version: field(4),
            announced_bytes: field(8).map(u64::from),
            json_bytes: field(12),
            first_chunk_is_json: opening.bytes.get(16..20) == Some(b"JSON"),
            expected_size_bytes: opening.expected_size_bytes,
            seen_bytes: 0,
        }
    }

    /// What is wrong with the header. The length of the file is needed for the sentence on a
    /// file that ends too early.
    fn header_defect(&self, size_bytes: Option<u64>) -> Option<Defect> {
        let (version, announced_bytes) = (self.version?, self.announced_bytes?);
        if version != 2 {
            return Some(Defect::GlbVersion { version });
        }
        if let Some(size_bytes) = size_bytes.filter(|&size| size < announced_bytes) {
            return Some(Defect::GlbCut {
                announced_bytes,
                size_bytes,
            });
        }
        let json_bytes = u64::from(self.json_bytes?);
        let is_consistent =
            self.first_chunk_is_json && HEADERS_BYTES + json_bytes <= announced_bytes;
        (!is_consistent).then_some(Defect::GlbHeader)
    }
}

impl ContentCheck for GlbCheck {
    fn update(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        self.seen_bytes += chunk.len() as u64;
        if let Some(defect) = self.header_defect(self.expected_size_bytes) {
            return Err(defect.into());
        }
        match self.announced_bytes {
            Some(announced_bytes) if self.seen_bytes > announced_bytes => {
                Err(Defect::GlbGoesOn { announced_bytes }.into())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn finish(self: Box<Self>, size_bytes: u64) -> Result<Checked, Refusal> {
        if let Some(defect) = self.header_defect(Some(size_bytes)) {
            return Err(defect.into());
        }
        let json_bytes = self
            .json_bytes
            .filter(|_| size_bytes >= HEADERS_BYTES)
            .ok_or(Defect::GlbHeader)?;
        Ok(Checked {
            format: Format::Glb,
            details: Details::Glb(GlbDetails { json_bytes }),
            notes: Vec::new(),
        })
    }
}
