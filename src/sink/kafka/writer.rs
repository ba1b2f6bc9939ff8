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
    sink::{
        SinkError, SinkErrorKind,
        watch::{Listening, SLICE, Silence},
    },
    source::{
        SourceErrorKind,
        kafka::{
            error::{code_of, hint_for, kind_of, without_secrets, words},
            events::Events,
            settings::ClientSettings,
        },
    },
};

/// An abort is a courtesy to readers: without it the brokers end the transaction at its timeout. Those that were silent
/// are not waited for long.
const ABORT: Duration = Duration::from_secs(5);
const ABORT_AT_SILENT: Duration = Duration::from_secs(1);

/// A call that cannot be resumed has longer than a slice: what it began must be begun anew where it runs out of time.
const LONG_SLICE: Duration = Duration::from_secs(5);

/// How long a poll of the delivery reports waits; also how late their end is noticed.
const POLL: Duration = Duration::from_millis(1);

pub struct Writer {
    producer: BaseProducer<Deliveries>,
    brokers: String,
    /// Who writes: of an exactly-once output its transactional id, which is its group too.
    name: String,
    silence: Silence,
}

/// Told while records wait for their acknowledgements; an error ends the wait.
pub type Meanwhile<'a> = dyn FnMut() -> Result<(), SinkError> + 'a;

impl Writer {
    /// `config` is that of `settings` and what its owner adds. No connection is waited for.
    pub fn connect(
        config: &ClientConfig,
        settings: &ClientSettings,
        name: &str,
        silence: Silence,
    ) -> Result<Writer, SinkError> {
        let context = Deliveries::new(Events::new(name.to_owned(), settings.token.clone()));
        let producer: BaseProducer<Deliveries> = config.create_with_context(context).map_err(|error| {
            let message = format!("librdkafka refuses the producer's properties: {}", without_secrets(&error));
            SinkError::new(SinkErrorKind::Denied, message).with("No connection was tried.", "Correct `properties`.")
        })?;
        // Lets it ask for its first OAuth token.
        producer.poll(Duration::ZERO);
        Ok(Writer { producer, brokers: settings.brokers.clone(), name: name.to_owned(), silence })
    }

    /// Hands over every row and waits until the brokers have them all.
    pub fn write(&self, rows: &[&[Row]], meanwhile: &mut Meanwhile<'_>) -> Result<(), SinkError> {
        self.write_within(self.silence.listen(), rows, meanwhile)
    }

    fn write_within(
        &self,
        mut listening: Listening<'_>,
        rows: &[&[Row]],
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), SinkError> {
        for row in rows.iter().copied().flatten() {
            self.send(row, &mut listening, meanwhile)?;
        }
        self.drain(&mut listening, meanwhile)
    }

    fn send(&self, row: &Row, listening: &mut Listening<'_>, meanwhile: &mut Meanwhile<'_>) -> Result<(), SinkError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&row.topic);
        (record.key, record.payload, record.partition) = (row.key(), row.value(), row.partition);
        let headers = row.headers();
        if !headers.is_empty() {
            let all = OwnedHeaders::new_with_capacity(headers.len());
            record =
                record.headers(headers.into_iter().fold(all, |all, (key, value)| all.insert(Header { key, value })));
        }
        while let Err((error, again)) = self.producer.send(record) {
            let doing = format!("write to topic '{}'", row.topic);
            if !matches!(error, KafkaError::MessageProduction(Code::QueueFull)) {
                return Err(self.explain(&doing, &error));
            }
            self.poll(listening, &doing, meanwhile)?;
            record = again;
        }
        Ok(())
    }

    /// Commit waits in steps of 100 ms where this was not done before.
    fn drain(&self, listening: &mut Listening<'_>, meanwhile: &mut Meanwhile<'_>) -> Result<(), SinkError> {
        loop {
            let left = self.producer.in_flight_count();
            if left <= 0 {
                return self.check_deliveries();
            }
            self.poll(listening, &format!("have {left} records acknowledged"), meanwhile)?;
        }
    }

    /// Serves delivery reports for a moment. Every acknowledgement ends a silence.
    fn poll(&self, listening: &mut Listening<'_>, doing: &str, meanwhile: &mut Meanwhile<'_>) -> Result<(), SinkError> {
        let before = self.producer.context().reports();
        self.producer.poll(POLL);
        self.check_deliveries()?;
        if self.producer.context().reports() > before {
            listening.heard();
            return Ok(());
        }
        let timed_out = || self.explain(doing, &KafkaError::MessageProduction(Code::MessageTimedOut));
        if listening.is_time_to_look() {
            meanwhile()?;
        }
        if listening.goes_on(|| timed_out().on_one_line()) { Ok(()) } else { Err(timed_out()) }
    }

    fn check_deliveries(&self) -> Result<(), SinkError> {
        match self.producer.context().failure() {
            Some(error) => Err(self.explain("write records", &error)),
            None => Ok(()),
        }
    }

    /// Fences every producer of the same id and ends what it left open.
    pub fn init(&self) -> Result<(), SinkError> {
        let mut listening = self.silence.listen();
        self.again(&mut listening, SLICE, "begin to write transactions", |slice| {
            let outcome = self.producer.init_transactions(slice);
            self.producer.poll(Duration::ZERO);
            outcome
        })?;
        self.producer.context().events.recovered();
        Ok(())
    }

    /// A call that ran into its deadline is resumed by the same call.
    fn again(
        &self,
        listening: &mut Listening<'_>,
        slice: Duration,
        doing: &str,
        mut call: impl FnMut(Duration) -> Result<(), KafkaError>,
    ) -> Result<(), SinkError> {
        loop {
            let Err(error) = call(slice.min(listening.left())) else { return Ok(()) };
            let again = match &error {
                KafkaError::Transaction(native) => native.is_retriable() && !native.txn_requires_abort(),
                // The wait for acknowledgements before a commit.
                other => code_of(other) == Code::OperationTimedOut,
            };
            let error = self.explain(doing, &error);
            let goes_on = again && error.kind == SinkErrorKind::Unreachable;
            if !goes_on || !listening.goes_on(|| error.on_one_line()) {
                return Err(error);
            }
            std::thread::sleep(POLL);
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
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), SinkError> {
        let began = Instant::now();
        self.transaction(rows, offset, group, limit, meanwhile).map_err(|error| {
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
        limit: Duration,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), SinkError> {
        self.producer.begin_transaction().map_err(|error| self.explain("begin a transaction", &error))?;
        let written = self.write_within(self.silence.at_most(limit), rows, meanwhile).and_then(|()| {
            crash::point("kafka: written");
            let mut listening = self.silence.at_most(limit);
            self.again(&mut listening, LONG_SLICE, "add the batch's identity to the transaction", |slice| {
                self.producer.send_offsets_to_transaction(offset, group, slice)
            })
        });
        if let Err(error) = written {
            self.abort(if error.kind == SinkErrorKind::Unreachable { ABORT_AT_SILENT } else { ABORT });
            return Err(error);
        }
        crash::point("kafka: offset sent");
        let mut listening = self.silence.at_most(limit);
        self.again(&mut listening, SLICE, "commit the transaction", |slice| self.producer.commit_transaction(slice))?;
        crash::point("kafka: committed");
        Ok(())
    }

    fn abort(&self, limit: Duration) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let limit = limit.min(self.silence.longest);
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
            (None, None) => {
                let last = self.producer.context().events.explanation().map(|(_, reason)| reason);
                let known = last.filter(|last| *last != words(error)).map_or(String::new(), |last| format!("; {last}"));
                (code(error), format!("{}{known}", words(error)))
            }
        };
        let kind = meaning(code);
        let message = match kind {
            SinkErrorKind::Fenced => format!(
                "another process writes to brokers {} for this job, or for another of its name: it has taken \
                 transactional id '{}'",
                self.brokers, self.name
            ),
            _ => format!("cannot {doing} on brokers {}", self.brokers),
        };
        let hint = match (kind, code) {
            (SinkErrorKind::Fenced, _) => {
                Some("Let one process run this job, with one checkpoint; another job needs another `name`.")
            }
            (SinkErrorKind::Unreachable, _) => Some("Check that the brokers run and can be reached from here."),
            (_, Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {
                Some("Raise message.max.bytes of the topic and in the output's `properties`, or send less.")
            }
            (_, Code::InvalidTransactionTimeout) => Some(
                "Lower \"transaction.timeout.ms\" in the output's `properties`, or leave it out: the brokers allow at \
                 most their transaction.max.timeout.ms, 15 min by default.",
            ),
            (_, Code::InvalidRequiredAcks) => Some("Leave `acks` out of the output's `properties`."),
            (_, Code::UnsupportedCompressionType) => {
                Some("Give the output another \"compression.type\", or the topic a newer message format.")
            }
            (_, Code::InvalidConfig | Code::UnsupportedVersion | Code::UnsupportedFeature) => {
                Some("Correct the output's `properties`; exactly_once needs brokers of Kafka 0.11 or later.")
            }
            (_, Code::PolicyViolation) => Some("Ask who runs the brokers for their policy."),
            _ => None,
        };
        SinkError {
            kind,
            message,
            detail: Some(format!("{}.", reason.trim_end_matches('.'))),
            hint: hint
                .map(str::to_owned)
                .or_else(|| to_grant(code, &self.name))
                .or_else(|| hint_for(code).map(str::to_owned)),
        }
    }
}

/// What an output's user must be granted, where brokers deny it.
pub fn to_grant(code: Code, id: &str) -> Option<String> {
    Some(match code {
        Code::TransactionalIdAuthorizationFailed => {
            format!("Grant this user WRITE and DESCRIBE on transactional id '{id}'.")
        }
        Code::GroupAuthorizationFailed => {
            format!("Grant this user READ on group '{id}', which records the batches delivered.")
        }
        Code::TopicAuthorizationFailed => {
            "Grant this user WRITE and DESCRIBE on the output's topics, and READ on the one that the batch's identity is \
             recorded for: `commit_topic`, or else the topic itself."
                .to_owned()
        }
        Code::ClusterAuthorizationFailed => {
            "Grant this user IDEMPOTENT_WRITE on the cluster, or WRITE on the output's topic.".to_owned()
        }
        _ => return None,
    })
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
        | Code::PolicyViolation
        | Code::InvalidTimestamp => SinkErrorKind::Failed,
        // The next try looks first whether the topic is there.
        Code::UnknownTopic | Code::UnknownTopicOrPartition => SinkErrorKind::Transient,
        // Asked again they would say the same.
        Code::InvalidTransactionTimeout
        | Code::InvalidConfig
        | Code::InvalidRequiredAcks
        | Code::InvalidGroupId
        | Code::InvalidRequest
        | Code::UnsupportedCompressionType
        | Code::UnsupportedForMessageFormat => SinkErrorKind::Denied,
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
        check(Code::UnknownTopicOrPartition, SinkErrorKind::Transient);
        check(Code::TopicAuthorizationFailed, SinkErrorKind::Denied);
        check(Code::TransactionalIdAuthorizationFailed, SinkErrorKind::Denied);
        check(Code::SaslAuthenticationFailed, SinkErrorKind::Denied);
        check(Code::InvalidTransactionTimeout, SinkErrorKind::Denied);
        check(Code::InvalidConfig, SinkErrorKind::Denied);
        check(Code::InvalidRequiredAcks, SinkErrorKind::Denied);
        check(Code::UnsupportedVersion, SinkErrorKind::Denied);
        check(Code::ClusterAuthorizationFailed, SinkErrorKind::Denied);
        check(Code::PolicyViolation, SinkErrorKind::Failed);
        check(Code::MessageTimedOut, SinkErrorKind::Unreachable);
        check(Code::OperationTimedOut, SinkErrorKind::Unreachable);
        check(Code::CoordinatorNotAvailable, SinkErrorKind::Unreachable);
        check(Code::NotEnoughReplicas, SinkErrorKind::Unreachable);
        check(Code::PurgeQueue, SinkErrorKind::Unreachable);
    }
}
