//! Numbers for people: one rule each.

use std::time::Duration;

/// `512 B`, `1.2 KiB`, `15 MiB`, `1.2 GiB`: binary units, two digits at least.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{} {}", tenths / 10, UNITS[unit])
    }
}

/// `85 MiB/s`.
pub fn rate(count: u64, time: Duration) -> String {
    let per_second = u128::from(count) * 1000 / time.as_millis().max(1);
    format!("{}/s", bytes(u64::try_from(per_second).unwrap_or(u64::MAX)))
}

/// Whole percent, never 100 before the end.
pub fn percent(done: u64, total: u64) -> u64 {
    if total == 0 || done >= total {
        return 100;
    }
    let percent = u128::from(done) * 100 / u128::from(total);
    u64::try_from(percent).unwrap_or(99).min(99)
}

/// How long the rest will take at the pace so far.
pub fn time_left(done: u64, total: u64, elapsed: Duration) -> Option<Duration> {
    if done == 0 || done > total {
        return None;
    }
    let millis = elapsed.as_millis() * u128::from(total - done) / u128::from(done);
    u64::try_from(millis).ok().map(Duration::from_millis)
}

/// `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_form() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 * 1024, "10 KiB"),
            (1024 * 1024 - 1, "1023 KiB"),
            (1_288_490_189, "1.2 GiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn hundred_percent_means_done() {
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(1000, 1000), 100);
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn the_rest_takes_as_long_as_the_pace_says() {
        let elapsed = Duration::from_secs(10);
        assert_eq!(time_left(25, 100, elapsed), Some(Duration::from_secs(30)));
        assert_eq!(time_left(0, 100, elapsed), None);
    }
}
