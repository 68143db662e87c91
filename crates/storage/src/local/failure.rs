//! What the system's error numbers mean to a caller.

use rustix::io::Errno;

use crate::ErrorKind;

/// The kind of a failure that has no special meaning where it happened.
pub(super) const fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT => ErrorKind::NotFound,
        Errno::NOSPC | Errno::DQUOT => ErrorKind::Full,
        // A link on the way is refused like a file without permission: both are for an operator.
        Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::LOOP => ErrorKind::Denied,
        // Too many open files, no memory, a network file system that does not answer.
        Errno::MFILE
        | Errno::NFILE
        | Errno::NOMEM
        | Errno::AGAIN
        | Errno::TIMEDOUT
        | Errno::STALE
        | Errno::HOSTDOWN => ErrorKind::Unavailable,
        Errno::FBIG | Errno::NAMETOOLONG => ErrorKind::Invalid,
        _ => ErrorKind::Other,
    }
}

/// The error number inside an error of the standard library.
pub(super) fn errno_of(error: &std::io::Error) -> Errno {
    // Without a number it is a write that took no byte.
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
