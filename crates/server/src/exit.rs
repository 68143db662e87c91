//! The numbers the program ends with.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All was done.
    Ok = 0,
    /// It could not be done.
    Failed = 1,
    /// The command line could not be understood.
    Usage = 2,
    /// Some of it was done, and the output says what was not.
    Partly = 3,
    /// A setting has a bad value, and nothing was begun (`EX_CONFIG` of BSD's `sysexits.h`).
    Configuration = 78,
    /// A person interrupted it (128 and the number of SIGINT, as shells report it).
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
