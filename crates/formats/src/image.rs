//! Images: size in pixels from the header, and whether the end mark is there.

mod jpeg;

use crate::check::{Checked, ContentCheck, Opening, Refusal};
use crate::format::Format;
use crate::report::{Details, ImageDetails, Note};
use jpeg::JpegSize;

/// The longest end mark, PNG's: an empty chunk of type IEND and its checksum.
const TAIL_BYTES: usize = 12;

/// The check of an image.
///
/// An image without its end is accepted with a note: browsers show what there is, and some
/// cameras and editors write more behind it.
#[derive(Debug)]
pub(crate) struct ImageCheck {
    format: Format,
    size_px: Option<(u32, u32)>,
    jpeg: Option<JpegSize>,
    /// The length that a RIFF header declares.
    riff_bytes: Option<u64>,
    tail: [u8; TAIL_BYTES],
}

impl ImageCheck {
    pub(crate) fn new(opening: &Opening<'_>, format: Format) -> Self {
        ImageCheck {
            format,
            size_px: size_px(format, opening.bytes),
            jpeg: (format == Format::Jpeg).then(JpegSize::new),
            riff_bytes: le32(opening.bytes, 4).map(|length| u64::from(length) + 8),
            tail: [0; TAIL_BYTES],
        }
    }

    fn has_end(&self, size_bytes: u64) -> bool {
        match self.format {
            Format::Png => &self.tail == b"\0\0\0\0IEND\xAE\x42\x60\x82",
            Format::Jpeg => self.tail.ends_with(b"\xFF\xD9"),
            Format::Gif => self.tail.ends_with(b";"),
            Format::WebP => self
                .riff_bytes
                .is_some_and(|announced| announced <= size_bytes),
            Format::Stl
            | Format::Obj
            | Format::ThreeMf
            | Format::Glb
            | Format::Gltf
            | Format::Zip => true,
        }
    }
}

impl ContentCheck for ImageCheck {
    fn update(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        if let Some(jpeg) = &mut self.jpeg {
            jpeg.update(chunk);
        }
        match chunk.last_chunk::<TAIL_BYTES>() {
            Some(tail) => self.tail = *tail,
            None => {
                self.tail.rotate_left(chunk.len());
                self.tail[TAIL_BYTES - chunk.len()..].copy_from_slice(chunk);
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>, size_bytes: u64) -> Result<Checked, Refusal> {
        let size_px = self
            .size_px
            .or(self.jpeg.as_ref().and_then(JpegSize::size_px));
        let details = ImageDetails {
            width_px: size_px.map(|(width, _)| width),
            height_px: size_px.map(|(_, height)| height),
        };
        let notes = if self.has_end(size_bytes) {
            Vec::new()
        } else {
            vec![Note::ImageEndMissing]
        };
        Ok(Checked {
            format: self.format,
            details: Details::Image(details),
            notes,
        })
    }
}

/// Width and height where they stand at a fixed place in the header.
fn size_px(format: Format, opening: &[u8]) -> Option<(u32, u32)> {
    match format {
        // The IHDR chunk comes first (PNG, third edition, section 11.2.1).
        Format::Png => Some((be32(opening, 16)?, be32(opening, 20)?)),
        // The logical screen (GIF89a, section 18).
        Format::Gif => Some((le16(opening, 6)?, le16(opening, 8)?)),
        Format::WebP => webp_size_px(opening),
        Format::Jpeg
        | Format::Stl
        | Format::Obj
        | Format::ThreeMf
        | Format::Glb
        | Format::Gltf
        | Format::Zip => None,
    }
}

/// The first chunk tells the kind: extended, lossless or lossy (RFC 9649, section 2; RFC 6386,
/// section 9.1).
fn webp_size_px(opening: &[u8]) -> Option<(u32, u32)> {
    match opening.get(12..16)? {
        b"VP8X" => {
            let canvas = |at| Some(le32(opening, at)? & 0x00FF_FFFF);
            // Both are stored less one. The byte before the height belongs to the width.
            Some((canvas(24)? + 1, (le32(opening, 26)? >> 8) + 1))
        }
        b"VP8L" => {
            let bits = le32(opening, 21)?;
            Some(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
        }
        b"VP8 " => Some((le16(opening, 26)? & 0x3FFF, le16(opening, 28)? & 0x3FFF)),
        _ => None,
    }
}

fn le16(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&field| u32::from(u16::from_le_bytes(field)))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&field| u32::from_le_bytes(field))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&field| u32::from_be_bytes(field))
}
