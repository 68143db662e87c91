//! What the configuration is read from, as an argument.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Everything outside the program that the configuration depends on.
#[derive(Clone, Default)]
pub struct Environment {
    /// The variables of the process.
    pub vars: BTreeMap<String, OsString>,
    /// The folder that relative paths start from, and where `.env` and `stockroom.toml` are looked for.
    pub working_dir: PathBuf,
    /// A file to read in place of `stockroom.toml`; it must exist.
    pub config_file: Option<PathBuf>,
    /// A file to read in place of `.env`; it must exist.
    pub env_file: Option<PathBuf>,
    /// A file with the settings of a second bucket, in place of the one that `S3_SECOND_FILE` names.
    pub second_file: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process. Called once, in `main`.
    ///
    /// # Errors
    /// The working directory is gone or may not be read.
    pub fn of_this_process() -> io::Result<Self> {
        Ok(Self {
            // A name that is not UTF-8 is none of ours.
            vars: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .collect(),
            working_dir: std::env::current_dir()?,
            config_file: None,
            env_file: None,
            second_file: None,
        })
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The values of the variables hold secrets, our own and those of others.
        f.debug_struct("Environment")
            .field("working_dir", &self.working_dir)
            .field("config_file", &self.config_file)
            .field("env_file", &self.env_file)
            .field("second_file", &self.second_file)
            .finish_non_exhaustive()
    }
}
