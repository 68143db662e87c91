//! The size of a JPEG, which stands behind segments of any length.

/// Walks the segments up to the first frame header (ITU T.81, annex B).
#[derive(Debug)]
pub(super) struct JpegSize {
    state: State,
    skip_bytes: usize,
    field: [u8; 7],
    field_len: usize,
    size_px: Option<(u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The 0xFF that begins a marker.
    Marker,
    /// The code of the marker, after any number of fill bytes.
    Code,
    /// The length of a segment, two bytes, that is then skipped.
    Length,
    /// A frame header: length, precision, height, width.
    Frame,
    /// Nothing more to find.
    Done,
}

impl JpegSize {
    pub(super) fn new() -> Self {
        JpegSize {
            state: State::Marker,
            skip_bytes: 0,
            field: [0; 7],
            field_len: 0,
            size_px: None,
        }
    }

    /// Width and height, once found.
    pub(super) fn size_px(&self) -> Option<(u32, u32)> {
        self.size_px
    }

    pub(super) fn update(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while self.state != State::Done {
            let skipped = self.skip_bytes.min(rest.len());
            self.skip_bytes -= skipped;
            let Some((&byte, after)) = rest[skipped..].split_first() else {
                return;
            };
            rest = after;
            self.take(byte);
        }
    }

    fn take(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Marker, 0xFF) | (State::Code, 0xFF) => State::Code,
            // Start of image, restarts and the temporary marker stand alone.
            (State::Code, 0x01 | 0xD0..=0xD8) => State::Marker,
            (State::Code, 0xC4 | 0xC8 | 0xCC) => State::Length,
            (State::Code, 0xC0..=0xCF) => State::Frame,
            // The scan's data or the end of the image: no frame header can follow.
            (State::Code, 0x00 | 0xD9 | 0xDA) | (State::Marker, _) => State::Done,
            (State::Code, _) => State::Length,
            (State::Length | State::Frame, _) => self.take_field(byte),
            (State::Done, _) => State::Done,
        };
    }

    fn take_field(&mut self, byte: u8) -> State {
        self.field[self.field_len] = byte;
        self.field_len += 1;
        let wanted = if self.state == State::Frame {
            self.field.len()
        } else {
            2
        };
        if self.field_len < wanted {
            return self.state;
        }
        self.field_len = 0;
        let number = |at: usize| u16::from_be_bytes([self.field[at], self.field[at + 1]]);
        if self.state == State::Frame {
            self.size_px = Some((u32::from(number(5)), u32::from(number(3))));
            return State::Done;
        }
        // The length counts its own two bytes.
        self.skip_bytes = usize::from(number(0)).saturating_sub(2);
        State::Marker
    }
}
