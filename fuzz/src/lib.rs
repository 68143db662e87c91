//! What the targets share: inputs that are cut into parts, signatures of events, and a measure of
//! memory.

pub mod memory;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use stockroom::flows::orders::OrderEvent;

/// Cuts an input at its first line ends: so many lines, and all that is left. Seeds are text that
/// way, and a mutation of one part leaves the others.
pub fn lines<const N: usize>(input: &[u8]) -> Option<([&[u8]; N], &[u8])> {
    let mut rest = input;
    let mut lines = [&b""[..]; N];
    for line in &mut lines {
        let at = rest.iter().position(|byte| *byte == b'\n')?;
        *line = &rest[..at];
        rest = &rest[at + 1..];
    }
    Some((lines, rest))
}

/// HMAC-SHA256 of the pieces, one after another.
pub fn mac(key: &[u8], pieces: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length fits");
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().into()
}

/// The bytes in pieces of changing sizes, as a network cuts them.
pub fn pieces(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut rest, mut size) = (bytes, usize::from(seed) + 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = after;
        size = (size * 5 + 3) % 37 + 1;
    }
    pieces
}

/// What holds for every event that is read, whoever told of it.
pub fn check_event(event: &OrderEvent) {
    const MAX_REASON_CHARACTERS: usize = 509;
    if let Some(order_ref) = event.order_ref() {
        assert!((1..=255).contains(&order_ref.len()));
        assert!(!order_ref.trim().is_empty());
        assert!(!order_ref.chars().any(char::is_control));
    }
    match event {
        OrderEvent::Purchased(order) => {
            let buyer = order.buyer.as_str();
            assert!((1..=128).contains(&buyer.len()));
            assert!(buyer.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        OrderEvent::Refunded { reason, .. } => {
            if let Some(reason) = reason {
                assert!(reason.chars().count() <= MAX_REASON_CHARACTERS);
                assert!(!reason.chars().any(char::is_control));
            }
        }
        OrderEvent::Ignored(why) => assert!(!why.is_empty()),
    }
}
