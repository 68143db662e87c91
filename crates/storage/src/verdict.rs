//! One error out of several: what a caller is told when more than one store failed.

use crate::{Error, ErrorKind};

/// The error that tells a caller most about what to do; `None` when there is none.
///
/// What the caller itself must change comes first. Then what may pass by itself: while one store
/// could not answer, nothing is known to be missing. A proven not-found comes last, so it is the
/// verdict only when every store proved it. Among equals the first wins.
pub(crate) fn most_telling(errors: impl IntoIterator<Item = Error>) -> Option<Error> {
    errors.into_iter().reduce(|best, next| {
        if weight(next.kind()) > weight(best.kind()) {
            next
        } else {
            best
        }
    })
}

/// Whether the fault lies in what the caller asked for, so that no store can do it, ever.
pub(crate) const fn is_callers_fault(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::KeyConflict | ErrorKind::Invalid)
}

const fn weight(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::KeyConflict | ErrorKind::Invalid | ErrorKind::RangeNotSatisfiable { .. } => 6,
        ErrorKind::Unavailable => 5,
        ErrorKind::Full => 4,
        ErrorKind::Denied => 3,
        ErrorKind::Other | ErrorKind::Unsupported => 2,
        ErrorKind::Corrupt => 1,
        ErrorKind::NotFound => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Operation, StoreName};

    fn verdict(kinds: &[ErrorKind]) -> Option<ErrorKind> {
        let errors = kinds
            .iter()
            .map(|kind| Error::new(&StoreName::LOCAL, Operation::Get, *kind, "for the test"));
        most_telling(errors).map(|error| error.kind())
    }

    #[test]
    fn unknown_is_not_missing() {
        use ErrorKind::{Denied, KeyConflict, NotFound, Unavailable};
        assert_eq!(verdict(&[]), None);
        assert_eq!(verdict(&[NotFound, NotFound]), Some(NotFound));
        assert_eq!(verdict(&[NotFound, Unavailable]), Some(Unavailable));
        assert_eq!(verdict(&[Denied, NotFound]), Some(Denied));
        assert_eq!(verdict(&[Unavailable, KeyConflict]), Some(KeyConflict));
    }
}
