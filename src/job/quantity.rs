//! Humane durations, sizes, times and zones: text to number, with a hint where it is none.

use jiff::{SpanRelativeTo, Timestamp, civil::DateTime, tz::TimeZone};

/// Most partitions of one shuffle or topic.
pub const MOST_PARTITIONS: i128 = 65_536;
/// A hundred years: longer durations are slips, and sums of shorter ones cannot overflow.
const LONGEST_MS: i64 = 100 * 366 * 24 * 3_600_000;

/// A text that is not what its key needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    pub message: String,
    pub hint: Option<String>,
}

fn unfit<T>(message: String, hint: impl Into<Option<&'static str>>) -> Result<T, Unfit> {
    Err(Unfit { message, hint: hint.into().map(str::to_owned) })
}

/// Milliseconds of "3s", "500ms", "1m30s", "2 hours"; positive.
pub fn duration_ms(text: &str) -> Result<i64, Unfit> {
    let hint = "write a number with its unit, like \"500ms\", \"3s\", \"1m30s\", \"2h\" or \"7d\"";
    let span = text.trim().parse::<jiff::Span>().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let Some(duration) = duration else { return unfit(format!("`{text}` is no duration"), hint) };
    if duration.is_negative() || duration.is_zero() {
        return unfit(format!("a duration must be positive, `{text}` is not"), None);
    }
    let Ok(ms) = i64::try_from(duration.as_millis()) else { return unfit(format!("`{text}` is too long"), None) };
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return unfit(format!("`{text}` is finer than a millisecond"), None);
    }
    if ms > LONGEST_MS {
        return unfit(format!("`{text}` is too long"), None);
    }
    Ok(ms)
}

/// A duration as it is written in a job text: "3s", "1500ms".
pub fn duration_text(ms: i64) -> String {
    match ms {
        _ if ms % 1000 == 0 => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// Bytes of "64MiB", "1.5 GB", "4096"; positive.
pub fn size_bytes(text: &str) -> Result<u64, Unfit> {
    let Ok(size) = text.trim().parse::<bytesize::ByteSize>() else {
        let hint = "write a number with its unit, like \"512KiB\", \"64MiB\" or \"1GiB\"";
        return unfit(format!("`{text}` is no size"), hint);
    };
    match size.as_u64() {
        0 => unfit(format!("a size must be positive, `{text}` is not"), None),
        bytes if i64::try_from(bytes).is_err() => unfit(format!("`{text}` is too large"), None),
        bytes => Ok(bytes),
    }
}

/// Milliseconds since the epoch of an RFC 3339 time, or of a date (and time) in `zone`.
pub fn time_ms(text: &str, zone: &TimeZone) -> Option<i64> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let local: DateTime = text.parse().ok()?;
    local.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

/// An IANA name, or a fixed offset like `+08:00`.
pub fn time_zone(text: &str) -> Result<TimeZone, Unfit> {
    if let Some(offset) = fixed_offset(text) {
        return Ok(TimeZone::fixed(offset));
    }
    if let Ok(zone) = TimeZone::get(text) {
        return Ok(zone);
    }
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let city = |name: &&str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text));
    let names = || names.iter().map(String::as_str);
    let hint = match names().find(city).or_else(|| super::suggest::closest(text, names())) {
        Some(close) => format!("did you mean `{close}`?"),
        None => "write an IANA name like \"Europe/Berlin\", or an offset like \"+08:00\"".to_owned(),
    };
    Err(Unfit { message: format!("unknown time zone `{text}`"), hint: Some(hint) })
}

fn fixed_offset(text: &str) -> Option<jiff::tz::Offset> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let mut parts = digits.split(':').map(|part| (part.len() == 2).then(|| part.parse::<i32>().ok()).flatten());
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().map_or(Some(0), |part| part)?;
    if parts.next().is_some() || minutes > 59 || seconds > 59 {
        return None;
    }
    jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60 + seconds)).ok()
}

/// The text from which [`time_zone`] makes this zone again; `None` for a zone without a name.
pub fn time_zone_text(zone: &TimeZone) -> Option<String> {
    if let Some(name) = zone.iana_name() {
        return Some(name.to_owned());
    }
    let seconds = zone.to_fixed_offset().ok()?.seconds();
    let (sign, size) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    let base = format!("{sign}{:02}:{:02}", size / 3600, size / 60 % 60);
    Some(if size % 60 == 0 { base } else { format!("{base}:{:02}", size % 60) })
}

/// The zone of this machine.
pub fn local_time_zone() -> Option<TimeZone> {
    let zone = TimeZone::system();
    if zone.is_unknown() {
        return Some(TimeZone::UTC);
    }
    time_zone_text(&zone).map(|_| zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_humane_positive_and_whole_milliseconds() {
        for (text, expected) in [
            ("3s", 3000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("0.5s", 500),
            ("7d", 604_800_000),
            ("2 hours", 7_200_000),
        ] {
            assert_eq!(duration_ms(text), Ok(expected), "{text}");
        }
        for text in ["3", "", "x", "0s", "-3s", "3s ago", "1us", "1 month", "9999999 days", "3 secs!"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
        for ms in [1, 999, 1000, 90_000, 1500] {
            assert_eq!(duration_ms(&duration_text(ms)), Ok(ms));
        }
    }

    #[test]
    fn sizes_are_humane_and_positive() {
        for (text, expected) in [("64MiB", 64 << 20), ("1.5GiB", 3 << 29), ("64", 64), ("2 kB", 2000)] {
            assert_eq!(size_bytes(text), Ok(expected), "{text}");
        }
        for text in ["0", "", "-1", "MiB", "1 apple", "99999999999GiB"] {
            assert!(size_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_without_offset_are_in_the_zone_of_the_job() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        for (text, expected) in [
            ("2018-12-11T01:31:21Z", Some(1_544_491_881_000)),
            ("2018-12-11T01:31:21", Some(1_544_491_881_000 - 8 * 3_600_000)),
            ("2018-12-11 01:31:21", Some(1_544_491_881_000 - 8 * 3_600_000)),
            ("2018-12-11T01:31:21.5+01:00", Some(1_544_491_881_500 - 3_600_000)),
            ("yesterday", None),
        ] {
            assert_eq!(time_ms(text, &zone), expected, "{text}");
        }
    }

    #[test]
    fn a_zone_comes_back_from_its_text() {
        for text in ["Asia/Shanghai", "+08:00", "-03:30", "+00:00:10", "UTC"] {
            assert_eq!(time_zone_text(&time_zone(text).unwrap()).as_deref(), Some(text));
        }
        assert_eq!(time_zone("berlin").unwrap_err().hint.as_deref(), Some("did you mean `Europe/Berlin`?"));
        assert_eq!(time_zone("Asia/Shangai").unwrap_err().hint.as_deref(), Some("did you mean `Asia/Shanghai`?"));
        for text in ["+8", "+25:00:00:00", "+08:99", "Mars", ""] {
            assert!(time_zone(text).is_err(), "{text}");
        }
    }
}
