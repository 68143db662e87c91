//! Finds the central directory of a ZIP archive in a stream.

use memchr::memmem;

/// What every record of the directory begins with.
const SIGNATURE_BYTES: usize = 4;
const ENTRY: [u8; SIGNATURE_BYTES] = *b"PK\x01\x02";
const DIGITAL_SIGNATURE: [u8; SIGNATURE_BYTES] = *b"PK\x05\x05";
const END: [u8; SIGNATURE_BYTES] = *b"PK\x05\x06";
const END_64: [u8; SIGNATURE_BYTES] = *b"PK\x06\x06";
const END_64_LOCATOR: [u8; SIGNATURE_BYTES] = *b"PK\x06\x07";

/// The longest fixed part of a record: the end record of ZIP64, with its signature.
const MAX_RECORD_BYTES: usize = 56;
/// The fixed part of an entry, with its signature.
const ENTRY_BYTES: usize = 46;
const CONTENT_TYPES_NAME: &[u8; 19] = b"[Content_Types].xml";
const MODEL_ENDING: &[u8; 6] = b".model";

/// A directory whose end record points back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) entries: u64,
    /// Where the end record's comment ends, counted from the beginning of the file.
    pub(super) ends_at: u64,
    has_content_types: bool,
    has_model: bool,
}

impl Directory {
    /// Whether it lists what makes a ZIP archive a 3MF package: the list of content types that
    /// every OPC package has, and a model part. 3MF core specification 1.3, section 2.1, recommends
    /// /3D/3dmodel.model, and requires no more than the relationship that names it.
    pub(super) fn is_3mf(&self) -> bool {
        self.has_content_types && self.has_model
    }
}

/// Follows the records of each directory that passes by, and keeps the last that is consistent.
#[derive(Debug)]
pub(super) struct DirectoryScan {
    step: Step,
    offset: u64,
    current: Run,
    record: [u8; MAX_RECORD_BYTES],
    record_len: usize,
    name: NameScan,
    /// How many bytes of the record turned out not to be one.
    look_again: Option<usize>,
    found: Option<Directory>,
}

/// Records of a directory that follow each other without a gap.
#[derive(Debug, Default)]
struct Run {
    start: u64,
    entries: u64,
    has_content_types: bool,
    has_model: bool,
    /// Where the ZIP64 end record says that the directory begins, and its number of entries.
    end_64: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Between directories; this many bytes of an entry's signature have just been seen.
    Search { matched: usize },
    /// In a directory: reading the signature of the next record.
    Signature,
    /// Reading the fixed part of a record, signature included, up to this length.
    Record { length: usize },
    /// Reading an entry's name, then skipping what follows it.
    Name { left: u64, then_skip: u64 },
    /// Skipping the rest of a record.
    Skip { left: u64 },
}

impl DirectoryScan {
    pub(super) fn new() -> Self {
        DirectoryScan {
            step: Step::Search { matched: 0 },
            offset: 0,
            current: Run::default(),
            record: [0; MAX_RECORD_BYTES],
            record_len: 0,
            name: NameScan::new(),
            look_again: None,
            found: None,
        }
    }

    /// The last consistent directory.
    pub(super) fn found(&self) -> Option<Directory> {
        self.found
    }

    pub(super) fn update(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let used = match self.step {
                Step::Search { matched } => self.search(rest, matched),
                Step::Signature => self.collect(rest, SIGNATURE_BYTES),
                Step::Record { length } => self.collect(rest, length),
                Step::Name { left, then_skip } => self.read_name(rest, left, then_skip),
                Step::Skip { left } => {
                    let used = at_most(left, rest.len());
                    self.step = after_skipping(left - used as u64);
                    used
                }
            };
            self.offset += used as u64;
            rest = &rest[used..];
            if let Some(length) = self.look_again.take() {
                self.look_again_at(length);
            }
        }
    }

    /// The record just read was none, so a directory may begin within its bytes.
    ///
    /// This goes one level deep at most: the bytes after the first are too few for a whole entry.
    fn look_again_at(&mut self, length: usize) {
        let record = self.record;
        let again = &record[1..length];
        self.offset -= again.len() as u64;
        self.step = Step::Search { matched: 0 };
        self.update(again);
    }

    /// Looks for the first entry of a directory.
    fn search(&mut self, bytes: &[u8], matched: usize) -> usize {
        if matched > 0 {
            // The signature began in the last chunk. No byte occurs in it twice, so after a
            // mismatch only its first byte can begin it anew.
            if bytes[0] != ENTRY[matched] {
                self.step = Step::Search { matched: 0 };
                return 0;
            }
            if matched + 1 == SIGNATURE_BYTES {
                self.begin_run(self.offset + 1);
            } else {
                self.step = Step::Search {
                    matched: matched + 1,
                };
            }
            return 1;
        }
        if let Some(at) = memmem::find(bytes, &ENTRY) {
            self.begin_run(self.offset + (at + SIGNATURE_BYTES) as u64);
            return at + SIGNATURE_BYTES;
        }
        let matched = (1..SIGNATURE_BYTES)
            .rev()
            .find(|&length| bytes.ends_with(&ENTRY[..length]));
        self.step = Step::Search {
            matched: matched.unwrap_or(0),
        };
        bytes.len()
    }

    /// A directory begins with the signature that ends at this offset.
    fn begin_run(&mut self, signature_end: u64) {
        self.current = Run {
            start: signature_end - SIGNATURE_BYTES as u64,
            ..Run::default()
        };
        self.begin_record(ENTRY);
    }

    fn collect(&mut self, bytes: &[u8], length: usize) -> usize {
        let used = bytes.len().min(length - self.record_len);
        self.record[self.record_len..][..used].copy_from_slice(&bytes[..used]);
        self.record_len += used;
        if self.record_len == length {
            match self.step {
                Step::Signature => self.begin_record([
                    self.record[0],
                    self.record[1],
                    self.record[2],
                    self.record[3],
                ]),
                _ => self.end_record(self.offset + used as u64),
            }
        }
        used
    }

    fn begin_record(&mut self, signature: [u8; SIGNATURE_BYTES]) {
        self.record[..SIGNATURE_BYTES].copy_from_slice(&signature);
        self.record_len = SIGNATURE_BYTES;
        self.step = match signature {
            ENTRY => Step::Record {
                length: ENTRY_BYTES,
            },
            DIGITAL_SIGNATURE => Step::Record { length: 6 },
            END => Step::Record { length: 22 },
            END_64 => Step::Record { length: 56 },
            END_64_LOCATOR => Step::Record { length: 20 },
            _ => self.broken(SIGNATURE_BYTES),
        };
    }

    /// The fixed part of a record is complete and ends at this offset.
    fn end_record(&mut self, record_end: u64) {
        let record = Record(self.record);
        self.record_len = 0;
        self.step = match [record.0[0], record.0[1], record.0[2], record.0[3]] {
            ENTRY if record.is_plausible_entry(record_end) => {
                self.name = NameScan::new();
                let then_skip = record.u16(30) + record.u16(32);
                Step::Name {
                    left: record.u16(28),
                    then_skip,
                }
            }
            DIGITAL_SIGNATURE => after_skipping(record.u16(4)),
            END_64 => {
                self.current.end_64 = Some((record.u64(48), record.u64(32)));
                // The length leaves out itself and the signature, 12 bytes.
                after_skipping(record.u64(4).saturating_sub(MAX_RECORD_BYTES as u64 - 12))
            }
            END_64_LOCATOR => Step::Signature,
            END => {
                self.end_run(&record, record_end);
                Step::Search { matched: 0 }
            }
            _ => self.broken(ENTRY_BYTES),
        };
    }

    /// What was read up to this length is no record, so the directory is none either.
    fn broken(&mut self, length: usize) -> Step {
        self.look_again = Some(length);
        Step::Search { matched: 0 }
    }

    /// The end record is complete: is it the end of the directory that was just seen?
    fn end_run(&mut self, record: &Record, record_end: u64) {
        let run = &self.current;
        // Without ZIP64 the count has 16 bits, and older programs let it run over.
        let (start, entries) = run
            .end_64
            .unwrap_or((record.u32(16), run.entries & !0xFFFF | record.u16(10)));
        if start == run.start && entries == run.entries {
            self.found = Some(Directory {
                entries,
                ends_at: record_end + record.u16(20),
                has_content_types: run.has_content_types,
                has_model: run.has_model,
            });
        }
    }

    fn read_name(&mut self, bytes: &[u8], left: u64, then_skip: u64) -> usize {
        let used = at_most(left, bytes.len());
        self.name.update(&bytes[..used]);
        let left = left - used as u64;
        if left > 0 {
            self.step = Step::Name { left, then_skip };
            return used;
        }
        self.current.entries += 1;
        self.current.has_content_types |= self.name.is(CONTENT_TYPES_NAME);
        self.current.has_model |= self.name.ends_with_model();
        self.step = after_skipping(then_skip);
        used
    }
}

fn at_most(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

fn after_skipping(left: u64) -> Step {
    if left == 0 {
        Step::Signature
    } else {
        Step::Skip { left }
    }
}

/// The fixed part of a record.
struct Record([u8; MAX_RECORD_BYTES]);

impl Record {
    fn u16(&self, at: usize) -> u64 {
        u64::from(u16::from_le_bytes([self.0[at], self.0[at + 1]]))
    }

    fn u32(&self, at: usize) -> u64 {
        self.u16(at) | self.u16(at + 2) << 16
    }

    fn u64(&self, at: usize) -> u64 {
        self.u32(at) | self.u32(at + 4) << 32
    }

    /// Whether an entry that ends at this offset can be real. The four bytes of its signature also
    /// turn up in compressed data, about once in 4 GiB; these rules let one of more than
    /// ten million such accidents through.
    fn is_plausible_entry(&self, record_end: u64) -> bool {
        const NOT_HERE: u64 = 0xFFFF_FFFF;
        const HIGHEST_VERSION: u8 = 63;
        const HIGHEST_HOST_SYSTEM: u8 = 30;
        let (method, name_bytes, disk, local_offset) =
            (self.u16(10), self.u16(28), self.u16(34), self.u32(42));
        let is_known_method = matches!(method, 0..=20 | 93..=99);
        self.0[5] <= HIGHEST_HOST_SYSTEM
            && self.0[6] <= HIGHEST_VERSION
            && is_known_method
            && name_bytes > 0
            && disk == 0
            && (local_offset == NOT_HERE || local_offset < record_end)
    }
}

/// What matters of an entry's name: its beginning, its length and its ending.
#[derive(Debug)]
struct NameScan {
    start: [u8; CONTENT_TYPES_NAME.len()],
    ending: [u8; MODEL_ENDING.len()],
    length: usize,
}

impl NameScan {
    fn new() -> Self {
        NameScan {
            start: [0; CONTENT_TYPES_NAME.len()],
            ending: [0; MODEL_ENDING.len()],
            length: 0,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(free) = self.start.get_mut(self.length) {
                *free = byte;
            }
            self.ending.rotate_left(1);
            self.ending[MODEL_ENDING.len() - 1] = byte;
            self.length += 1;
        }
    }

    /// Part names are compared without case (ISO/IEC 29500-2, section 6.2.2).
    fn is(&self, name: &[u8; CONTENT_TYPES_NAME.len()]) -> bool {
        self.length == name.len() && self.start.eq_ignore_ascii_case(name)
    }

    fn ends_with_model(&self) -> bool {
        self.ending.eq_ignore_ascii_case(MODEL_ENDING)
    }
}
