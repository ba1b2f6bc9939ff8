//! The module `time`: texts of times to milliseconds since the epoch and back. There is no clock in it.

use jiff::{Timestamp, civil::DateTime, fmt::strtime, tz::TimeZone};

use super::{Arguments, Arities, BuiltinFn, Caller, Fault, new_str};
use crate::model::{Value, text::repr};

pub const MEMBERS: Arities = &[("format", 1, Some(3)), ("parse", 1, Some(3))];

pub fn member(name: &str) -> Option<BuiltinFn> {
    match name {
        "parse" => Some(parse),
        "format" => Some(format),
        _ => None,
    }
}

fn zone(value: Option<&Value>) -> Result<TimeZone, Fault> {
    match value {
        None | Some(Value::None) => Ok(TimeZone::UTC),
        Some(Value::Str(name)) => TimeZone::get(name)
            .map_err(|_| Fault::value_error(format!("unknown time zone {}", repr(&Value::str(name))))),
        Some(other) => Err(Fault::type_error(format!("tz must be str, not {}", other.type_name()))),
    }
}

/// `time.parse(text, format = None, tz = "UTC")`: RFC 3339 or a strptime format; a text without a zone is in `tz`.
fn parse(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [text, format, tz] = arguments.take("parse", ["text", "format", "tz"], 1)?;
    let Some(Value::Str(text)) = text else {
        let name = text.map_or("NoneType", Value::type_name);
        return Err(Fault::type_error(format!("time.parse() argument must be str, not {name}")));
    };
    let zone = zone(tz)?;
    let wrong = |why: String| Fault::value_error(format!("time {} is not read: {why}", repr(&Value::str(text))));
    let local = |time: DateTime| time.to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    let timestamp = match format {
        Some(Value::Str(format)) => {
            let parsed = strtime::parse(&**format, &**text).map_err(|error| wrong(error.to_string()))?;
            parsed
                .to_timestamp()
                .or_else(|_| parsed.to_datetime().or_else(|_| parsed.to_date().map(DateTime::from)).and_then(local))
        }
        _ => text.parse::<Timestamp>().or_else(|_| text.parse::<DateTime>().and_then(local)),
    };
    Ok(Value::Int(timestamp.map_err(|error| wrong(error.to_string()))?.as_millisecond()))
}

/// `time.format(ms, format = None, tz = "UTC")`: RFC 3339 with milliseconds, or a strftime format.
fn format(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [ms, format, tz] = arguments.take("format", ["ms", "format", "tz"], 1)?;
    let Some(Value::Int(ms)) = ms else {
        let name = ms.map_or("NoneType", Value::type_name);
        return Err(Fault::type_error(format!("time.format() argument must be int, not {name}")));
    };
    let zone = zone(tz)?;
    let timestamp = Timestamp::from_millisecond(*ms).map_err(|_| Fault::value_error("time is out of range"))?;
    let zoned = timestamp.to_zoned(zone.clone());
    let text = match format {
        Some(Value::Str(format)) => {
            strtime::format(&**format, &zoned).map_err(|error| Fault::value_error(error.to_string()))?
        }
        _ if zone == TimeZone::UTC => zoned.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        _ => zoned.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(),
    };
    new_str(text, caller.budget())
}
