//! What the work in the background may use.

use super::reader::{Noted, Reader};
use super::values::{count_within, size_or};
use super::variable::{self, Variable};

/// What the work in the background may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSettings {
    /// How many copies are made at the same time.
    pub concurrency: usize,
    /// How many bytes all copies together may move in a second; none for as many as there can be.
    pub max_bytes_per_second: Option<u64>,
    /// How many bytes in the folder are read in a day to see that they are well; none to not look.
    pub scrub_local_bytes_per_day: Option<u64>,
    /// The same for the bucket, where reading may cost money.
    pub scrub_s3_bytes_per_day: Option<u64>,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<EngineSettings, Noted> {
    let concurrency = reader.read(&variable::ENGINE_CONCURRENCY, "8", |text| {
        count_within(text, 1..=256)
    });
    let max_bytes_per_second =
        reader.read(&variable::ENGINE_MAX_BYTES_PER_SECOND, "none", |text| {
            size_or("none", text, "64KiB", "1TB")
        });
    let scrub_local_bytes_per_day =
        read_scrub(reader, &variable::SCRUB_LOCAL_BYTES_PER_DAY, "100GB");
    // Some stores take 9 cents for a gigabyte that leaves them; this is 30 GB in a month.
    let scrub_s3_bytes_per_day = read_scrub(reader, &variable::SCRUB_S3_BYTES_PER_DAY, "1GB");
    Ok(EngineSettings {
        concurrency: concurrency?,
        max_bytes_per_second: max_bytes_per_second?,
        scrub_local_bytes_per_day: scrub_local_bytes_per_day?,
        scrub_s3_bytes_per_day: scrub_s3_bytes_per_day?,
    })
}

fn read_scrub(
    reader: &mut Reader<'_>,
    variable: &Variable,
    default: &str,
) -> Result<Option<u64>, Noted> {
    reader.read(variable, default, |text| {
        size_or("off", text, "1MB", "1000TB")
    })
}
