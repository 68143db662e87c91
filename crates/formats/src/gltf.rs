//! glTF as JSON text: one object that has an "asset" entry.
//!
//! The brackets are followed to the end, so that a cut file is noticed; the values are not read.

use crate::check::{Checked, ContentCheck, Opening, Refusal};
use crate::format::Format;
use crate::rejection::Defect;
use crate::report::{Details, Note};
use crate::text::BYTE_ORDER_MARK;

/// How deep brackets may be nested, as in most JSON readers. One bit for each is kept.
const MAX_DEPTH: u32 = 128;
/// The entry that every glTF file has (glTF 2.0 specification, section 3.2).
const REQUIRED_KEY: &[u8] = b"asset";

/// The check of a glTF JSON file.
#[derive(Debug)]
pub(crate) struct GltfCheck {
    is_named_gltf: bool,
    has_byte_order_mark: bool,
    mark_bytes_left: usize,
    offset_bytes: u64,
    depth: u32,
    /// The open brackets, innermost in the lowest bit; 1 for `{`.
    brackets: u128,
    string: StringState,
    /// Whether a string that begins now is a key of the outermost object.
    at_key: bool,
    /// How many bytes of the required key the current key has matched; none if it differs.
    key_matched: Option<usize>,
    has_asset: bool,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StringState {
    Outside,
    Inside,
    AfterBackslash,
}

impl GltfCheck {
    pub(crate) fn new(opening: &Opening<'_>) -> Self {
        let has_byte_order_mark = opening.bytes.starts_with(BYTE_ORDER_MARK);
        GltfCheck {
            is_named_gltf: opening.claimed == Some(Format::Gltf),
            has_byte_order_mark,
            mark_bytes_left: if has_byte_order_mark {
                BYTE_ORDER_MARK.len()
            } else {
                0
            },
            offset_bytes: 0,
            depth: 0,
            brackets: 0,
            string: StringState::Outside,
            at_key: false,
            key_matched: None,
            has_asset: false,
            is_closed: false,
        }
    }

    /// Takes one byte; false if JSON cannot go on with it.
    fn take(&mut self, byte: u8) -> bool {
        match self.string {
            StringState::AfterBackslash => {
                self.string = StringState::Inside;
                true
            }
            StringState::Inside => self.take_inside(byte),
            StringState::Outside => self.take_outside(byte),
        }
    }

    fn take_inside(&mut self, byte: u8) -> bool {
        match byte {
            b'"' => {
                self.has_asset |= self.key_matched == Some(REQUIRED_KEY.len());
                self.key_matched = None;
                self.string = StringState::Outside;
            }
            b'\\' => {
                self.key_matched = None;
                self.string = StringState::AfterBackslash;
            }
            _ => {
                self.key_matched = self
                    .key_matched
                    .filter(|&at| REQUIRED_KEY.get(at) == Some(&byte))
                    .map(|at| at + 1);
            }
        }
        byte >= b' '
    }

    fn take_outside(&mut self, byte: u8) -> bool {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => true,
            _ if self.is_closed => false,
            b'"' => {
                self.string = StringState::Inside;
                self.key_matched = self.at_key.then_some(0);
                self.at_key = false;
                true
            }
            b'{' | b'[' => self.open(byte == b'{'),
            b'}' | b']' => self.close(byte == b'}'),
            b',' => {
                self.at_key = self.depth == 1;
                true
            }
            _ => byte > b' ' && byte < 0x7F,
        }
    }

    fn open(&mut self, is_object: bool) -> bool {
        self.depth += 1;
        self.brackets = self.brackets << 1 | u128::from(is_object);
        self.at_key = self.depth == 1;
        self.depth <= MAX_DEPTH
    }

    fn close(&mut self, is_object: bool) -> bool {
        if self.depth == 0 || (self.brackets & 1 == 1) != is_object {
            return false;
        }
        self.depth -= 1;
        self.brackets >>= 1;
        self.at_key = false;
        self.is_closed = self.depth == 0;
        true
    }

    /// Long strings are mostly embedded buffers; only their end matters.
    fn skip_inside(&self, text: &[u8]) -> usize {
        if self.string != StringState::Inside || self.key_matched.is_some() {
            return 0;
        }
        text.iter()
            .position(|&byte| byte == b'"' || byte == b'\\' || byte < b' ')
            .unwrap_or(text.len())
    }

    fn not_json(&self) -> Refusal {
        if self.has_asset || self.is_named_gltf {
            Defect::GltfNotJson {
                offset_bytes: self.offset_bytes,
            }
            .into()
        } else {
            Refusal::Unrecognised
        }
    }
}

impl ContentCheck for GltfCheck {
    fn update(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        let (mark, mut text) = chunk.split_at(chunk.len().min(self.mark_bytes_left));
        self.mark_bytes_left -= mark.len();
        self.offset_bytes += mark.len() as u64;
        loop {
            let skipped = self.skip_inside(text);
            self.offset_bytes += skipped as u64;
            let Some((&byte, rest)) = text[skipped..].split_first() else {
                return Ok(());
            };
            if !self.take(byte) {
                return Err(self.not_json());
            }
            self.offset_bytes += 1;
            text = rest;
        }
    }

    fn finish(self: Box<Self>, _size_bytes: u64) -> Result<Checked, Refusal> {
        match (self.is_closed, self.has_asset) {
            (true, true) => Ok(Checked {
                format: Format::Gltf,
                details: Details::None,
                notes: if self.has_byte_order_mark {
                    vec![Note::ByteOrderMark]
                } else {
                    Vec::new()
                },
            }),
            (false, has_asset) if has_asset || self.is_named_gltf => Err(Defect::GltfCut.into()),
            (true, false) if self.is_named_gltf => Err(Defect::GltfWithoutAsset.into()),
            (_, false) | (false, true) => Err(Refusal::Unrecognised),
        }
    }
}
