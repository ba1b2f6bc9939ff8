//! `kstream produce`: lines to records, each written once and in order.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode as Code,
};

use super::{
    ChoreError, Cluster, check_topic_names,
    topics::{control, deadline, unknown_topic},
};
use crate::{
    sink::{
        dead_letter::{Blob, Letter, LetterRecord},
        kafka::deliveries::Deliveries,
    },
    source::kafka::events::Events,
};

#[derive(Debug, Clone)]
pub struct ProduceOptions {
    /// Must exist.
    pub topic: String,
    /// Files of lines; the given input where there is none.
    pub files: Vec<PathBuf>,
    /// Records a second; as fast as the brokers take them where `None`.
    pub rate: Option<f64>,
    /// What stands in a line before the first of these is the key; a line without one has no key.
    pub key_separator: Option<String>,
    /// By key, else spread, where `None`.
    pub partition: Option<i32>,
    /// Whether the lines are dead letters, written back as the records they were.
    pub dead_letters: bool,
}

/// Writes every line of the files, or of `input`, as one record; returns their number once the brokers have them all.
pub fn produce(
    cluster: &Cluster,
    options: &ProduceOptions,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<u64, ChoreError> {
    let topic = &options.topic;
    check_topic_names(std::slice::from_ref(topic))?;
    let unreadable = |path: &PathBuf, error: io::Error| {
        ChoreError::usage(format!("cannot read {}: {error}", path.display()), "Correct the path.")
    };
    for path in &options.files {
        // A pipe can be opened once only.
        let is_file = fs::metadata(path).map_err(|error| unreadable(path, error))?.is_file();
        if is_file {
            File::open(path).map_err(|error| unreadable(path, error))?;
        }
    }
    let Some(partitions) = control(cluster)?.partitions(topic, deadline(cluster))? else {
        return Err(unknown_topic(cluster, topic));
    };
    if let Some(partition) = options.partition.filter(|partition| !(0..partitions).contains(partition)) {
        let message = format!("topic '{topic}' has {partitions} partitions; there is no partition {partition}");
        return Err(ChoreError::usage(message, "Partitions count from 0."));
    }
    let mut writer = Writer::connect(cluster, options)?;
    if options.files.is_empty() {
        writer.write_lines(input, "the input")?;
    }
    for path in &options.files {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        writer.write_lines(&mut BufReader::new(file), &name)?;
    }
    let written = writer.finish()?;
    let noun = if written == 1 { "record" } else { "records" };
    writeln!(out, "{written} {noun} written to {topic}")?;
    Ok(written)
}

/// Polls wait in whole milliseconds: records that are due sooner go at once, a few together, and the rate stays.
const FINEST_WAIT: Duration = Duration::from_millis(2);

struct Writer<'a> {
    cluster: &'a Cluster,
    options: &'a ProduceOptions,
    producer: BaseProducer<Deliveries>,
    started_at: Instant,
    sent: u64,
}

impl<'a> Writer<'a> {
    fn connect(cluster: &'a Cluster, options: &'a ProduceOptions) -> Result<Writer<'a>, ChoreError> {
        let settings = cluster.settings()?;
        let mut config: ClientConfig = settings.producing();
        config.set("linger.ms", "5");
        // Records without a key go to any partition: each by itself, not all of a batch to the same one.
        if !settings.sets("sticky.partitioning.linger.ms") {
            config.set("sticky.partitioning.linger.ms", "0");
        }
        let events = Events::new("kstream (produce)".into(), settings.token.clone());
        let context = Deliveries::new(events);
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(context)
            .map_err(|error| ChoreError::failed("use these properties", &cluster.brokers, &error))?;
        Ok(Writer { cluster, options, producer, started_at: Instant::now(), sent: 0 })
    }

    fn write_lines(&mut self, input: &mut dyn BufRead, name: &str) -> Result<(), ChoreError> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = input.read_until(b'\n', &mut line);
            let read =
                read.map_err(|error| ChoreError::usage(format!("cannot read {name}: {error}"), "Is it text?"))?;
            if read == 0 {
                return Ok(());
            }
            let text = without_line_end(&line);
            let record = match self.options.dead_letters {
                true => Some(letter(text, number, name)?),
                false => None,
            };
            let (key, value, headers) = match &record {
                Some(record) => (
                    record.key.as_ref().map(|key| &*key.0),
                    record.value.as_ref().map(|value| &*value.0),
                    &*record.headers,
                ),
                None => {
                    let (key, value) = split(text, self.options.key_separator.as_deref());
                    (key, Some(value), &[][..])
                }
            };
            self.wait_for_turn()?;
            self.send(key, value, headers).map_err(|error| {
                ChoreError::failed(&format!("write line {number} of {name}"), &self.cluster.brokers, &error)
            })?;
        }
        Ok(())
    }

    fn wait_for_turn(&self) -> Result<(), ChoreError> {
        if let Some(rate) = self.options.rate {
            let due = self.started_at + Duration::from_secs_f64(self.sent as f64 / rate.max(f64::MIN_POSITIVE));
            while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| *left >= FINEST_WAIT) {
                self.producer.poll(left.min(Duration::from_millis(100)));
            }
        }
        self.check_deliveries()
    }

    fn send(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Option<Blob>)],
    ) -> Result<(), KafkaError> {
        let limit = Instant::now() + self.cluster.timeout;
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.options.topic);
        (record.key, record.payload, record.partition) = (key, value, self.options.partition);
        if !headers.is_empty() {
            let all = headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, (key, value)| {
                all.insert(Header { key, value: value.as_ref().map(|value| &*value.0) })
            });
            record = record.headers(all);
        }
        while let Err((error, again)) = self.producer.send(record) {
            let full = matches!(error, KafkaError::MessageProduction(Code::QueueFull));
            if !full || Instant::now() > limit {
                return Err(error);
            }
            self.producer.poll(Duration::from_millis(10));
            record = again;
        }
        self.sent += 1;
        Ok(())
    }

    /// Waits until everything is acknowledged; the deadline is renewed by every acknowledgement.
    fn finish(self) -> Result<u64, ChoreError> {
        let (mut left, mut limit) = (self.producer.in_flight_count(), deadline(self.cluster));
        while left > 0 {
            self.producer.poll(Duration::from_millis(10));
            self.check_deliveries()?;
            let now = self.producer.in_flight_count();
            if now < left {
                limit = deadline(self.cluster);
            } else if Instant::now() > limit {
                let reason = self.producer.context().events.explanation().map(|(_, reason)| format!(": {reason}"));
                let message = format!(
                    "brokers {} did not acknowledge {now} of {} records for topic '{}' within {} ms{}",
                    self.cluster.brokers,
                    self.sent,
                    self.options.topic,
                    self.cluster.timeout.as_millis(),
                    reason.unwrap_or_default()
                );
                return Err(ChoreError::kafka(message));
            }
            left = now;
        }
        self.check_deliveries()?;
        Ok(self.sent)
    }

    fn check_deliveries(&self) -> Result<(), ChoreError> {
        match self.producer.context().failure() {
            Some(failed) => Err(ChoreError::failed(
                &format!("write to topic '{}'", failed.topic),
                &self.cluster.brokers,
                &failed.error,
            )),
            None => Ok(()),
        }
    }
}

/// The record of a dead letter.
fn letter(line: &[u8], number: u64, name: &str) -> Result<LetterRecord, ChoreError> {
    let wrong = |what: String| {
        ChoreError::usage(
            format!("line {number} of {name} {what}"),
            "Lines before it are written; mend it and write the rest.",
        )
    };
    let letter = Letter::parse_line(line).map_err(|error| wrong(format!("is no dead letter: {error}")))?;
    letter.record.ok_or_else(|| wrong("holds no record: its element was no longer of one".to_owned()))
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Key and value of a line.
fn split<'a>(line: &'a [u8], separator: Option<&str>) -> (Option<&'a [u8]>, &'a [u8]) {
    let Some(separator) = separator.filter(|separator| !separator.is_empty()) else {
        return (None, line);
    };
    match memchr::memmem::find(line, separator.as_bytes()) {
        Some(at) => (line.get(..at), line.get(at + separator.len()..).unwrap_or_default()),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_before_the_first_separator() {
        let check = |line: &str, separator: Option<&str>, key: Option<&str>, value: &str| {
            let expected = (key.map(str::as_bytes), value.as_bytes());
            assert_eq!(split(line.as_bytes(), separator), expected, "{line} by {separator:?}");
        };
        check("a:b:c", None, None, "a:b:c");
        check("a:b:c", Some(":"), Some("a"), "b:c");
        check("a => b", Some(" => "), Some("a"), "b");
        check(":b", Some(":"), Some(""), "b");
        check("a:", Some(":"), Some("a"), "");
        check("abc", Some(":"), None, "abc");
        check("abc", Some(""), None, "abc");
    }

    #[test]
    fn line_ends_of_both_kinds_are_no_part_of_a_record() {
        assert_eq!(without_line_end(b"a\n"), b"a");
        assert_eq!(without_line_end(b"a\r\n"), b"a");
        assert_eq!(without_line_end(b"a"), b"a");
        assert_eq!(without_line_end(b"\n"), b"");
    }
}
