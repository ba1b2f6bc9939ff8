//! The module `time`: texts to milliseconds since the epoch and back. It reads no clock.

use jiff::{Timestamp, civil::DateTime, fmt::strtime, tz::TimeZone};

use super::{
    Arguments, Caller, Entry, Fault,
    argument::{int, take, text},
    builtin::shown,
};
use crate::model::Value;

pub const ENTRIES: &[Entry] = &[
    ("time.parse", parse, 1, Some(3)),
    ("time.format", format, 1, Some(3)),
    ("time.parse_duration", parse_duration, 1, Some(1)),
];

fn zone(value: Option<&Value>) -> Result<TimeZone, Fault> {
    let name = match value {
        None | Some(Value::None) => return Ok(TimeZone::UTC),
        Some(name) => text(name, |name| format!("a time zone must be str, not {name}"))?,
    };
    TimeZone::get(name).map_err(|_| Fault::of_value(format!("unknown time zone '{name}'")))
}

/// `time.parse("2018-12-11T01:31:21Z")`, `time.parse("11/12/2018 01:31", "%d/%m/%Y %H:%M", tz = "Asia/Shanghai")`: a text
/// without an offset is in `tz`, UTC by default.
fn parse(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(given), format, tz] = take("time.parse", arguments, ["text", "format", "tz"], 1)? else {
        return Ok(Value::None);
    };
    let given_text = text(given, |name| format!("a time must be str, not {name}"))?;
    let zone = zone(tz)?;
    let wrong = || Fault::of_value(format!("cannot read the time {}", shown(given)));
    let timestamp = match format {
        None | Some(Value::None) => match given_text.parse::<Timestamp>() {
            Ok(timestamp) => timestamp,
            Err(_) => {
                let civil: DateTime = given_text.parse().map_err(|_| wrong())?;
                civil.to_zoned(zone).map_err(|_| wrong())?.timestamp()
            }
        },
        Some(format) => {
            let format = text(format, |name| format!("a time format must be str, not {name}"))?;
            let parts = strtime::parse(format, given_text).map_err(|_| wrong())?;
            match parts.to_timestamp() {
                Ok(timestamp) => timestamp,
                Err(_) => {
                    let civil = match parts.to_datetime() {
                        Ok(civil) => civil,
                        Err(_) => parts.to_date().map_err(|_| wrong())?.at(0, 0, 0, 0),
                    };
                    civil.to_zoned(zone).map_err(|_| wrong())?.timestamp()
                }
            }
        }
    };
    Ok(Value::Int(timestamp.as_millisecond()))
}

/// `time.format(1544491881000, "%Y-%m-%d", tz = "Asia/Shanghai")`; ISO 8601 without a format.
fn format(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(ms), format, tz] = take("time.format", arguments, ["ms", "format", "tz"], 1)? else {
        return Ok(Value::None);
    };
    let zone = zone(tz)?;
    let timestamp = Timestamp::from_millisecond(int(ms)?).map_err(|_| Fault::of_value("the time is out of range"))?;
    let zoned = timestamp.to_zoned(zone);
    let shown = match format {
        None | Some(Value::None) => match tz {
            None | Some(Value::None) => timestamp.to_string(),
            Some(_) => zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string(),
        },
        Some(format) => {
            let format = text(format, |name| format!("a time format must be str, not {name}"))?;
            strtime::format(format, &zoned).map_err(|_| Fault::of_value("the time format is not known"))?
        }
    };
    caller.budget().allocate(shown.len() as u64)?;
    Ok(Value::str(shown))
}

/// `time.parse_duration("1h 30m")`, in milliseconds.
fn parse_duration(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(given)] = take("time.parse_duration", arguments, ["text"], 1)? else { return Ok(Value::None) };
    let given_text = text(given, |name| format!("a duration must be str, not {name}"))?;
    let duration = given_text.parse::<jiff::SignedDuration>();
    let duration = duration.map_err(|_| Fault::of_value(format!("cannot read the duration {}", shown(given))))?;
    i64::try_from(duration.as_millis()).map(Value::Int).map_err(|_| Fault::of_value("the duration is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::primitive::tests::call;

    #[test]
    fn times_are_read_and_written() {
        for (expression, expected) in [
            ("time.parse('2018-12-11T01:31:21Z')", "1544491881000"),
            ("time.parse('2018-12-11 01:31:21')", "1544491881000"),
            ("time.parse('2018-12-11T09:31:21.5+08:00')", "1544491881500"),
            ("time.parse('2018-12-11 09:31:21', tz='Asia/Shanghai')", "1544491881000"),
            ("time.parse('11/12/2018 01:31', '%d/%m/%Y %H:%M')", "1544491860000"),
            ("time.parse('11/12/2018', '%d/%m/%Y')", "1544486400000"),
            ("time.format(1544491881000)", "'2018-12-11T01:31:21Z'"),
            ("time.format(1544491881000, '%H:%M', tz='Asia/Shanghai')", "'09:31'"),
            ("time.parse_duration('1h 30m')", "5400000"),
            ("time.parse('no')", "Value: cannot read the time 'no'"),
            ("time.format(0, tz='No/Where')", "Value: unknown time zone 'No/Where'"),
        ] {
            assert_eq!(call(expression), expected, "{expression}");
        }
    }
}
