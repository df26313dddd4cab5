//! Time as an argument: nothing below `bin` reads the system's clock itself.

use std::time::{Duration, SystemTime};

/// Where the time comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, UTC.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// `2026-11-22T01:02:03Z`, to the second.
pub fn rfc3339(time: SystemTime) -> String {
    timestamp(time).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `20261122T010203Z`, to the second: the form of backup ids and of bbr's artifact directories.
pub fn compact(time: SystemTime) -> String {
    timestamp(time).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// `2026/11/22 01:02:03 UTC`, the form of bbr's `backup_activity`.
pub fn bbr_form(time: SystemTime) -> String {
    timestamp(time)
        .strftime("%Y/%m/%d %H:%M:%S UTC")
        .to_string()
}

/// Reads [`rfc3339`] back.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}

/// Reads [`compact`] back.
pub fn parse_compact(text: &str) -> Option<SystemTime> {
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let zoned = jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?;
    Some(SystemTime::from(zoned))
}

/// Where a time lies in the calendar, UTC: each text is the same for all times of its stretch, and
/// sorts as time does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// `2026-11-22T01`.
    pub hour: String,
    /// `2026-11-22`.
    pub day: String,
    /// `2026-W47`: ISO 8601.
    pub week: String,
    /// `2026-11`.
    pub month: String,
    /// `2026`.
    pub year: String,
}

/// Where a time lies in the calendar, UTC.
pub fn calendar(time: SystemTime) -> Calendar {
    let zoned = timestamp(time).to_zoned(jiff::tz::TimeZone::UTC);
    let text = |form: &str| zoned.strftime(form).to_string();
    Calendar {
        hour: text("%Y-%m-%dT%H"),
        day: text("%Y-%m-%d"),
        week: text("%G-W%V"),
        month: text("%Y-%m"),
        year: text("%Y"),
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `1 h 02 min`, `3 min 04 s`, `5.1 s`: for people.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=59 => format!("{:.1} s", duration.as_secs_f64()),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

fn timestamp(time: SystemTime) -> jiff::Timestamp {
    let whole = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    jiff::Timestamp::from_second(i64::try_from(whole).unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_their_texts() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_300_923);
        assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
        assert_eq!(parse_compact(&compact(time)), Some(time));
        assert_eq!(parse_compact("20261322T010203Z"), None);
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        for (time, week) in [
            ("20261231T235959Z", "2026-W53"),
            ("20270103T000000Z", "2026-W53"),
            ("20270104T000000Z", "2027-W01"),
            ("20241230T000000Z", "2025-W01"),
        ] {
            assert_eq!(calendar(parse_compact(time).unwrap()).week, week, "{time}");
        }
    }

    #[test]
    fn durations_are_spoken_in_two_units() {
        assert_eq!(spoken(Duration::from_millis(5100)), "5.1 s");
        assert_eq!(spoken(Duration::from_secs(184)), "3 min 04 s");
        assert_eq!(spoken(Duration::from_secs(3725)), "1 h 02 min");
    }
}
