//! Wavefront OBJ: told apart by its first statement and by a line of geometry.

use crate::check::{Checked, ContentCheck, Opening, Refusal};
use crate::format::Format;
use crate::rejection::Defect;
use crate::report::{Details, Note};
use crate::text::BYTE_ORDER_MARK;

/// How much of a line is looked at: enough for a keyword and its first number.
const LINE_BYTES: usize = 64;

/// The statements of the format (Wavefront, Advanced Visualizer, appendix B1), and two that
/// exporters added: `t` and `vw`.
const KEYWORDS: &[&[u8]] = &[
    b"v",
    b"vt",
    b"vn",
    b"vp",
    b"vw",
    b"f",
    b"l",
    b"p",
    b"o",
    b"g",
    b"s",
    b"t",
    b"mg",
    b"usemtl",
    b"mtllib",
    b"usemap",
    b"maplib",
    b"cstype",
    b"deg",
    b"bmat",
    b"step",
    b"curv",
    b"curv2",
    b"surf",
    b"parm",
    b"trim",
    b"hole",
    b"scrv",
    b"sp",
    b"end",
    b"con",
    b"bevel",
    b"c_interp",
    b"d_interp",
    b"lod",
    b"shadow_obj",
    b"trace_obj",
    b"ctech",
    b"stech",
    b"call",
    b"csh",
];

/// The check of an OBJ file.
#[derive(Debug)]
pub(crate) struct ObjCheck {
    scan: Scan,
    is_named_obj: bool,
    has_byte_order_mark: bool,
    size_bytes: u64,
}

impl ObjCheck {
    pub(crate) fn new(opening: &Opening<'_>) -> Self {
        ObjCheck {
            scan: Scan::new(),
            is_named_obj: opening.claimed == Some(Format::Obj),
            has_byte_order_mark: opening.bytes.starts_with(BYTE_ORDER_MARK),
            size_bytes: 0,
        }
    }
}

impl ContentCheck for ObjCheck {
    fn update(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        let nul = memchr::memchr(0, chunk);
        let text = &chunk[..nul.unwrap_or(chunk.len())];
        self.scan.update(text);
        if self.scan.verdict == Verdict::Other {
            return Err(Refusal::Unrecognised);
        }
        self.size_bytes += text.len() as u64;
        match nul {
            Some(_) if self.scan.verdict == Verdict::Obj || self.is_named_obj => {
                Err(Defect::ObjNotText {
                    offset_bytes: self.size_bytes,
                }
                .into())
            }
            Some(_) => Err(Refusal::Unrecognised),
            None => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>, _size_bytes: u64) -> Result<Checked, Refusal> {
        self.scan.end_line();
        match self.scan.verdict {
            Verdict::Obj => Ok(Checked {
                format: Format::Obj,
                details: Details::None,
                notes: if self.has_byte_order_mark {
                    vec![Note::ByteOrderMark]
                } else {
                    Vec::new()
                },
            }),
            Verdict::Open if self.is_named_obj => Err(Defect::ObjWithoutGeometry.into()),
            Verdict::Open | Verdict::Other => Err(Refusal::Unrecognised),
        }
    }
}

/// Whether these first bytes of a text are enough to recognise an OBJ.
pub(crate) fn has_geometry(opening: &[u8]) -> bool {
    let mut scan = Scan::new();
    scan.update(opening);
    scan.end_line();
    scan.verdict == Verdict::Obj
}

/// Looks at the beginnings of lines until they show what the text is.
#[derive(Debug)]
struct Scan {
    verdict: Verdict,
    line: [u8; LINE_BYTES],
    line_len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Comments and statements without geometry so far.
    Open,
    /// There is geometry.
    Obj,
    /// The first line that is no comment is no statement of the format.
    Other,
}

impl Scan {
    fn new() -> Self {
        Scan {
            verdict: Verdict::Open,
            line: [0; LINE_BYTES],
            line_len: 0,
        }
    }

    fn update(&mut self, text: &[u8]) {
        for &byte in text {
            if self.verdict != Verdict::Open {
                return;
            }
            if matches!(byte, b'\n' | b'\r') {
                self.end_line();
            } else if let Some(free) = self.line.get_mut(self.line_len) {
                // White space before the statement must not use up the room for it.
                if self.line_len > 0 || !byte.is_ascii_whitespace() {
                    *free = byte;
                    self.line_len += 1;
                }
            }
        }
    }

    fn end_line(&mut self) {
        let line = &self.line[..self.line_len];
        let line = line
            .strip_prefix(BYTE_ORDER_MARK)
            .unwrap_or(line)
            .trim_ascii();
        if self.verdict == Verdict::Open && !line.is_empty() && line[0] != b'#' {
            self.verdict = judge(line);
        }
        self.line_len = 0;
    }
}

fn judge(line: &[u8]) -> Verdict {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let keyword = words.next().unwrap_or_default();
    let first = words.next().unwrap_or_default();
    let is_geometry = match keyword {
        b"v" | b"vt" | b"vn" | b"vp" => is_number(first),
        b"f" | b"l" | b"p" => {
            is_number(first.split(|&byte| byte == b'/').next().unwrap_or_default())
        }
        _ => false,
    };
    if is_geometry {
        Verdict::Obj
    } else if KEYWORDS.contains(&keyword) {
        Verdict::Open
    } else {
        Verdict::Other
    }
}

fn is_number(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|word| word.parse::<f64>().is_ok())
}
