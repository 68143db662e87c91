//! The keyed hash that servers sign with: HMAC-SHA256 (RFC 2104, FIPS 180-4).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The key of a keyed hash. Its `Debug` form does not show it.
#[derive(Clone)]
pub(in crate::flows) struct MacKey(Box<[u8]>);

impl MacKey {
    pub(in crate::flows) fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The hash of the pieces, joined with full stops.
    pub(in crate::flows) fn mac(&self, pieces: &[&[u8]]) -> [u8; 32] {
        #[expect(
            clippy::expect_used,
            reason = "HMAC takes a key of any length (RFC 2104, section 2)"
        )]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length fits");
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                mac.update(b".");
            }
            mac.update(piece);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
