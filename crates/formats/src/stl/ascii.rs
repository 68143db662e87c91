//! The text hypothesis: `solid`, facets, `endsolid`, as often as the file likes.
//!
//! Layout: <https://www.loc.gov/preservation/digital/formats/fdd/fdd000506.shtml>. Words are read
//! without case and may be separated by any white space, as readers do; names reach to the end of
//! their line, which is CR, LF or both.

use super::facets::Facets;
use crate::rejection::TextProblem;
use crate::text::{BYTE_ORDER_MARK, after_blank, is_text, starts_with_ignore_case};

/// The longest line that is accepted. Exporters stay below 100 bytes, names aside.
const MAX_LINE_BYTES: u32 = 4_096;
/// The longest word or number that is accepted, and the largest buffer needed.
const MAX_WORD_BYTES: usize = 64;

/// The file read as a text STL.
#[derive(Debug)]
pub(super) struct AsciiStl {
    pub(super) has_byte_order_mark: bool,
    pub(super) solids: u64,
    pub(super) empty_solids: u64,
    pub(super) facets: Facets,
    opening_is_text: bool,
    mark_bytes_left: usize,
    expect: Expect,
    fault: Option<Fault>,
    facets_before_solid: u64,
    corners: [[f32; 3]; 3],
    word: [u8; MAX_WORD_BYTES],
    word_len: usize,
    line: u64,
    line_bytes: u32,
    last_was_cr: bool,
}

/// Where the text stops being an STL.
#[derive(Debug)]
pub(super) struct Fault {
    /// The first line is 1.
    pub(super) line: u64,
    pub(super) problem: TextProblem,
}

/// What has to come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// `solid`, or the end of the file where at least one solid is complete.
    Solid,
    /// The rest of the line after `solid`.
    SolidName,
    /// `facet` or `endsolid`.
    Facet,
    Normal,
    /// A number of the normal: 0, 1 or 2.
    NormalNumber(usize),
    Outer,
    Loop,
    /// `vertex`, for corner 0, 1 or 2.
    Vertex(usize),
    /// A number of a corner: 0 to 8.
    Coordinate(usize),
    EndLoop,
    EndFacet,
    /// The rest of the line after `endsolid`.
    EndSolidName,
}

impl AsciiStl {
    /// The hypothesis on a file with this opening; none if that does not begin with "solid".
    pub(super) fn new(opening: &[u8]) -> Option<Self> {
        let has_byte_order_mark = opening.starts_with(BYTE_ORDER_MARK);
        starts_with_ignore_case(after_blank(opening), b"solid").then(|| AsciiStl {
            has_byte_order_mark,
            solids: 0,
            empty_solids: 0,
            facets: Facets::new(),
            opening_is_text: is_text(opening),
            mark_bytes_left: if has_byte_order_mark {
                BYTE_ORDER_MARK.len()
            } else {
                0
            },
            expect: Expect::Solid,
            fault: None,
            facets_before_solid: 0,
            corners: [[0.0; 3]; 3],
            word: [0; MAX_WORD_BYTES],
            word_len: 0,
            line: 1,
            line_bytes: 0,
            last_was_cr: false,
        })
    }

    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    pub(super) fn has_text_opening(&self) -> bool {
        self.opening_is_text
    }

    /// The line that the last byte belongs to.
    pub(super) fn line(&self) -> u64 {
        if self.line_bytes == 0 {
            self.line.saturating_sub(1).max(1)
        } else {
            self.line
        }
    }

    /// Whether a broken file is rather a text STL than a binary one whose header says "solid".
    pub(super) fn is_likely(&self) -> bool {
        self.fault.is_none() || self.opening_is_text || self.facets.count > 0
    }

    /// Whether the text is an STL beyond doubt, broken or not: prose can begin with "solid" too.
    pub(super) fn is_certain(&self) -> bool {
        self.facets.count > 0 || self.solids > 0
    }

    /// Whether the text so far is a complete STL.
    pub(super) fn is_complete(&self) -> bool {
        let is_between_solids = matches!(self.expect, Expect::Solid | Expect::EndSolidName);
        self.fault.is_none() && is_between_solids && self.solids > 0
    }

    pub(super) fn update(&mut self, chunk: &[u8]) {
        let (mark, text) = chunk.split_at(chunk.len().min(self.mark_bytes_left));
        self.mark_bytes_left -= mark.len();
        for &byte in text {
            if self.fault.is_some() {
                return;
            }
            if let Err(problem) = self.take(byte) {
                self.fault = Some(Fault {
                    line: self.line,
                    problem,
                });
            }
        }
    }

    /// The file has ended, which ends its last word too.
    pub(super) fn end(&mut self) {
        if self.fault.is_none() && self.end_word().is_err() {
            // Half a word at the very end is a cut, not a misspelling.
            self.fault = Some(Fault {
                line: self.line(),
                problem: TextProblem::Cut,
            });
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Result<(), TextProblem> {
        match byte {
            b'\n' | b'\r' => {
                self.end_word()?;
                self.end_line(byte);
                return Ok(());
            }
            b' ' | b'\t' | 0x0B | 0x0C | 0x1A => self.end_word()?,
            0..b' ' | 0x7F => return Err(TextProblem::NotText),
            _ => self.add_to_word(byte)?,
        }
        self.last_was_cr = false;
        self.line_bytes += 1;
        if self.line_bytes > MAX_LINE_BYTES {
            return Err(TextProblem::LineTooLong {
                limit_bytes: MAX_LINE_BYTES,
            });
        }
        Ok(())
    }

    fn end_line(&mut self, byte: u8) {
        // CR LF is one line end, not two.
        if byte == b'\r' || !self.last_was_cr {
            self.line += 1;
        }
        self.last_was_cr = byte == b'\r';
        self.line_bytes = 0;
        self.expect = match self.expect {
            Expect::SolidName => Expect::Facet,
            Expect::EndSolidName => Expect::Solid,
            other => other,
        };
    }

    #[inline]
    fn add_to_word(&mut self, byte: u8) -> Result<(), TextProblem> {
        if matches!(self.expect, Expect::SolidName | Expect::EndSolidName) {
            return Ok(());
        }
        let Some(free) = self.word.get_mut(self.word_len) else {
            return Err(self.expect.problem(&self.word));
        };
        *free = byte;
        self.word_len += 1;
        Ok(())
    }

    #[inline]
    fn end_word(&mut self) -> Result<(), TextProblem> {
        if self.word_len == 0 {
            return Ok(());
        }
        let word = self.word;
        let word = &word[..self.word_len];
        self.word_len = 0;
        match self.next(word) {
            Some(next) => self.expect = next,
            None => return Err(self.expect.problem(word)),
        }
        Ok(())
    }

    /// What comes after this word, if the word is what had to come.
    fn next(&mut self, word: &[u8]) -> Option<Expect> {
        let is = |expected: &str| word.eq_ignore_ascii_case(expected.as_bytes());
        let then = |next: Expect| is(self.expect.word()).then_some(next);
        match self.expect {
            Expect::Solid => {
                self.facets_before_solid = self.facets.count;
                is("solid").then_some(Expect::SolidName)
            }
            Expect::Facet if is("endsolid") => {
                self.solids += 1;
                self.empty_solids += u64::from(self.facets.count == self.facets_before_solid);
                Some(Expect::EndSolidName)
            }
            Expect::Facet => then(Expect::Normal),
            Expect::Normal => then(Expect::NormalNumber(0)),
            // The normal has to be there, and what it says is no matter: readers compute it anew.
            Expect::NormalNumber(2) => number(word).map(|_| Expect::Outer),
            Expect::NormalNumber(axis) => number(word).map(|_| Expect::NormalNumber(axis + 1)),
            Expect::Outer => then(Expect::Loop),
            Expect::Loop => then(Expect::Vertex(0)),
            Expect::Vertex(corner) => then(Expect::Coordinate(corner * 3)),
            Expect::Coordinate(index) => {
                self.corners[index / 3][index % 3] = number(word)?;
                Some(match index {
                    2 => Expect::Vertex(1),
                    5 => Expect::Vertex(2),
                    8 => Expect::EndLoop,
                    _ => Expect::Coordinate(index + 1),
                })
            }
            Expect::EndLoop => then(Expect::EndFacet),
            Expect::EndFacet => {
                let next = then(Expect::Facet)?;
                self.facets.add(&self.corners);
                Some(next)
            }
            // Names are skipped as they come and never become a word.
            Expect::SolidName | Expect::EndSolidName => Some(self.expect),
        }
    }
}

impl Expect {
    /// The word that has to come, for a sentence too.
    fn word(self) -> &'static str {
        match self {
            Expect::Solid | Expect::SolidName => "solid",
            Expect::Facet => "facet",
            Expect::Normal => "normal",
            Expect::NormalNumber(_) | Expect::Coordinate(_) => "a number",
            Expect::Outer => "outer",
            Expect::Loop => "loop",
            Expect::Vertex(_) => "vertex",
            Expect::EndLoop => "endloop",
            Expect::EndFacet => "endfacet",
            Expect::EndSolidName => "endsolid",
        }
    }

    fn problem(self, word: &[u8]) -> TextProblem {
        const LONGEST_SHOWN: usize = 24;
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.,_#".contains(byte);
        let found = std::str::from_utf8(word)
            .ok()
            .filter(|word| word.len() <= LONGEST_SHOWN && word.as_bytes().iter().all(is_plain))
            .map(str::to_owned);
        match self {
            Expect::NormalNumber(_) | Expect::Coordinate(_) => TextProblem::NotANumber { found },
            _ => TextProblem::WrongWord {
                expected: self.word(),
                found,
            },
        }
    }
}

/// Reads a number, NaN and infinity included, also in the spellings of Microsoft's C library
/// (`1.#QNAN`, `-nan(ind)`), which is what many exporters for Windows print with.
fn number(word: &[u8]) -> Option<f32> {
    let text = std::str::from_utf8(word).ok()?;
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    let unsigned = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let is_not_finite = unsigned.starts_with("1.#") || unsigned.starts_with("nan(");
    is_not_finite.then_some(f32::NAN)
}
