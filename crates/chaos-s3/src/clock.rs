//! The server's clock: the machine's, plus a scripted error.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use s3s::dto::{Timestamp, TimestampFormat};

/// Clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct ServerClock {
    skew_s: Arc<AtomicI64>,
}

impl ServerClock {
    pub(crate) fn with_skew(skew_s: i64) -> Self {
        Self {
            skew_s: Arc::new(AtomicI64::new(skew_s)),
        }
    }

    pub(crate) fn set_skew(&self, skew_s: i64) {
        self.skew_s.store(skew_s, Ordering::Relaxed);
    }

    /// What the server believes the time is.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge where the clock enters; its error is an argument"
    )]
    pub(crate) fn now(&self) -> SystemTime {
        let skew_s = self.skew_s.load(Ordering::Relaxed);
        let skew = Duration::from_secs(skew_s.unsigned_abs());
        if skew_s >= 0 {
            SystemTime::now() + skew
        } else {
            SystemTime::now() - skew
        }
    }
}

/// Parses the compact form of SigV4, `20130524T000000Z`.
pub(crate) fn parse_amz_date(text: &str) -> Option<Timestamp> {
    if !text.is_ascii() || text.len() != 16 {
        return None;
    }
    let (date, time) = (text.get(..8)?, text.get(9..15)?);
    let extended = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    Timestamp::parse(TimestampFormat::DateTime, &extended).ok()
}

/// The form of the `Date` and `Last-Modified` headers.
pub(crate) fn http_date(time: SystemTime) -> String {
    render(time, TimestampFormat::HttpDate)
}

/// RFC 3339 with milliseconds, as in S3's XML.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    render(time, TimestampFormat::DateTime)
}

fn render(time: SystemTime, format: TimestampFormat) -> String {
    let mut text = Vec::new();
    // Writing to a Vec cannot fail, and every time a clock tells is representable.
    let _ = Timestamp::from(time).format(format, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amz_dates_are_read() {
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        assert_eq!(
            parse_amz_date("20130524T000000Z"),
            Some(Timestamp::from(day))
        );
        assert_eq!(http_date(day), "Fri, 24 May 2013 00:00:00 GMT");
        assert_eq!(rfc3339(day), "2013-05-24T00:00:00.000Z");
        for wrong in ["", "20130524", "20131324T000000Z", "2013-05-24T00:00Z"] {
            assert!(parse_amz_date(wrong).is_none(), "{wrong}");
        }
    }
}
