//! A producer, and what its errors mean: another try, a wrong record, a denial, or that another process has taken over.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, PurgeConfig},
    types::RDKafkaErrorCode as Code,
};

use super::{deliveries::Deliveries, row::Row};
use crate::{
    crash,
    sink::{SinkError, SinkErrorKind},
    source::{
        SourceErrorKind,
        kafka::{
            error::{code_of, hint_for, kind_of, without_secrets},
            events::Events,
            settings::ClientSettings,
        },
    },
};

/// An abort is a courtesy to readers: without it the brokers end the transaction at its timeout.
const ABORT: Duration = Duration::from_secs(5);

/// How long a poll of the delivery reports waits; also how late their end is noticed.
const POLL: Duration = Duration::from_millis(1);

pub struct Writer {
    producer: BaseProducer<Deliveries>,
    brokers: String,
    /// How long the brokers may be silent before they count as away.
    silence: Duration,
}

impl Writer {
    /// `config` is that of `settings` and what its owner adds. No connection is waited for.
    pub fn connect(
        config: &ClientConfig,
        settings: &ClientSettings,
        name: &str,
        silence: Duration,
    ) -> Result<Writer, SinkError> {
        let context = Deliveries::new(Events::new(name.to_owned(), settings.token.clone()));
        let producer: BaseProducer<Deliveries> = config.create_with_context(context).map_err(|error| {
            let message = format!("librdkafka refuses the producer's properties: {}", without_secrets(&error));
            SinkError::new(SinkErrorKind::Denied, message).with("No connection was tried.", "Correct `properties`.")
        })?;
        // Lets it ask for its first OAuth token.
        producer.poll(Duration::ZERO);
        Ok(Writer { producer, brokers: settings.brokers.clone(), silence })
    }

    /// Hands over every row and waits until the brokers have them all.
    pub fn write(&self, rows: &[&[Row]]) -> Result<(), SinkError> {
        for row in rows.iter().copied().flatten() {
            self.send(row).map_err(|error| self.explain(&format!("write to topic '{}'", row.topic), &error))?;
        }
        self.drain()
    }

    fn send(&self, row: &Row) -> Result<(), KafkaError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&row.topic);
        (record.key, record.payload, record.partition) = (row.key(), row.value(), row.partition);
        let headers = row.headers();
        if !headers.is_empty() {
            let all = OwnedHeaders::new_with_capacity(headers.len());
            record =
                record.headers(headers.into_iter().fold(all, |all, (key, value)| all.insert(Header { key, value })));
        }
        let deadline = Instant::now() + self.silence;
        while let Err((error, again)) = self.producer.send(record) {
            let full = matches!(error, KafkaError::MessageProduction(Code::QueueFull));
            if !full || Instant::now() > deadline {
                return Err(error);
            }
            self.producer.poll(POLL);
            record = again;
        }
        Ok(())
    }

    /// The deadline is renewed by every acknowledgement. Commit waits in steps of 100 ms where this was not done before.
    fn drain(&self) -> Result<(), SinkError> {
        let (mut left, mut deadline) = (self.producer.in_flight_count(), Instant::now() + self.silence);
        while left > 0 {
            self.producer.poll(POLL);
            self.check_deliveries()?;
            let now = self.producer.in_flight_count();
            if now < left {
                deadline = Instant::now() + self.silence;
            } else if Instant::now() > deadline {
                let timed_out = KafkaError::MessageProduction(Code::MessageTimedOut);
                return Err(self.explain(&format!("have {now} records acknowledged"), &timed_out));
            }
            left = now;
        }
        self.check_deliveries()
    }

    fn check_deliveries(&self) -> Result<(), SinkError> {
        match self.producer.context().failure() {
            Some(error) => Err(self.explain("write records", &error)),
            None => Ok(()),
        }
    }

    /// Fences every producer of the same id and ends what it left open.
    pub fn init(&self) -> Result<(), SinkError> {
        let deadline = Instant::now() + self.silence;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let slice = left.min(Duration::from_secs(2)).max(Duration::from_millis(1));
            let error = match self.producer.init_transactions(slice) {
                Ok(()) => {
                    self.producer.context().events.recovered();
                    return Ok(());
                }
                Err(error) => error,
            };
            self.producer.poll(Duration::ZERO);
            // A call that ran into its deadline is resumed by the same call.
            let again = matches!(&error, KafkaError::Transaction(native) if native.is_retriable());
            let denied = self.producer.context().events.refusal().is_some();
            if !again || denied || Instant::now() >= deadline {
                return Err(self.explain("begin to write transactions", &error));
            }
        }
    }

    /// One transaction: the rows, and the offset that says so. `limit` is its timeout at the brokers. Every error but
    /// a denial leaves its outcome open, so the caller drops the writer, and asks before it tries again.
    pub fn transact(
        &self,
        rows: &[&[Row]],
        offset: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        limit: Duration,
    ) -> Result<(), SinkError> {
        let began = Instant::now();
        self.transaction(rows, offset, group, limit.min(self.silence)).map_err(|error| {
            // Brokers that end a transaction at its timeout shut its producer out as if another had come.
            match error.kind {
                SinkErrorKind::Fenced if limit <= began.elapsed() => self.overdue(began.elapsed(), limit),
                _ => error,
            }
        })
    }

    fn overdue(&self, took: Duration, limit: Duration) -> SinkError {
        let (took, limit) = (took.as_millis(), limit.as_millis());
        SinkError::new(SinkErrorKind::Transient, format!("a transaction on brokers {} took too long", self.brokers))
            .with(
                format!("After {took} ms it was ended; its timeout is {limit} ms."),
                "Raise \"transaction.timeout.ms\" in the output's `properties`, or bound the batch.",
            )
    }

    fn transaction(
        &self,
        rows: &[&[Row]],
        offset: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        silence: Duration,
    ) -> Result<(), SinkError> {
        self.producer.begin_transaction().map_err(|error| self.explain("begin a transaction", &error))?;
        let written = self.write(rows).and_then(|()| {
            crash::point("kafka: written");
            self.producer
                .send_offsets_to_transaction(offset, group, silence)
                .map_err(|error| self.explain("add the batch's identity to the transaction", &error))
        });
        if let Err(error) = written {
            self.abort();
            return Err(error);
        }
        crash::point("kafka: offset sent");
        self.producer.commit_transaction(silence).map_err(|error| self.explain("commit the transaction", &error))?;
        crash::point("kafka: committed");
        Ok(())
    }

    fn abort(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let limit = ABORT.min(self.silence);
        let deadline = Instant::now() + limit;
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.poll(POLL);
        }
        self.producer.context().failure();
        if let Err(error) = self.producer.abort_transaction(limit) {
            tracing::debug!(brokers = self.brokers, %error, "the transaction is left to its timeout");
        }
    }

    fn explain(&self, doing: &str, error: &KafkaError) -> SinkError {
        let refusal = self.producer.context().events.refusal();
        let fatal = self.producer.client().fatal_error();
        let (code, reason) = match (fatal, refusal) {
            (Some(fatal), _) => fatal,
            (None, Some(refusal)) => refusal,
            (None, None) => (code(error), error.to_string()),
        };
        let kind = meaning(code);
        let message = match kind {
            SinkErrorKind::Fenced => format!("another process writes for this job to brokers {}", self.brokers),
            _ => format!("cannot {doing} on brokers {}", self.brokers),
        };
        let hint = match (kind, code) {
            (SinkErrorKind::Fenced, _) => Some("Let one process run this job, with one checkpoint."),
            (SinkErrorKind::Unreachable, _) => Some("Check that the brokers run and can be reached from here."),
            (_, Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {
                Some("Raise message.max.bytes of the topic and in the output's `properties`, or send less.")
            }
            _ => hint_for(code),
        };
        SinkError {
            kind,
            message,
            detail: Some(format!("{}.", reason.trim_end_matches('.'))),
            hint: hint.map(str::to_owned),
        }
    }
}

fn code(error: &KafkaError) -> Code {
    match error {
        KafkaError::Transaction(native) => native.code(),
        other => code_of(other),
    }
}

/// What an error code of the producer asks of the job.
fn meaning(code: Code) -> SinkErrorKind {
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => {
            SinkErrorKind::Fenced
        }
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::UnknownPartition
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::PolicyViolation
        | Code::InvalidTimestamp => SinkErrorKind::Failed,
        other => match kind_of(other) {
            SourceErrorKind::Refused => SinkErrorKind::Denied,
            SourceErrorKind::Corrupt => SinkErrorKind::Failed,
            _ => SinkErrorKind::Unreachable,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_they_ask_of_the_job() {
        let check = |code, kind| assert_eq!(meaning(code), kind, "{code:?}");
        check(Code::Fenced, SinkErrorKind::Fenced);
        check(Code::InvalidProducerEpoch, SinkErrorKind::Fenced);
        check(Code::ProducerFenced, SinkErrorKind::Fenced);
        check(Code::MessageSizeTooLarge, SinkErrorKind::Failed);
        check(Code::UnknownPartition, SinkErrorKind::Failed);
        check(Code::TopicAuthorizationFailed, SinkErrorKind::Denied);
        check(Code::TransactionalIdAuthorizationFailed, SinkErrorKind::Denied);
        check(Code::SaslAuthenticationFailed, SinkErrorKind::Denied);
        check(Code::MessageTimedOut, SinkErrorKind::Unreachable);
        check(Code::OperationTimedOut, SinkErrorKind::Unreachable);
        check(Code::CoordinatorNotAvailable, SinkErrorKind::Unreachable);
        check(Code::NotEnoughReplicas, SinkErrorKind::Unreachable);
        check(Code::PurgeQueue, SinkErrorKind::Unreachable);
    }
}
