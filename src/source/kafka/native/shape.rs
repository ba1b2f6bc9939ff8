//! The outline of the responses this room reads, checked before they are decoded.
//!
//! The protocol crate reserves memory for an array by the length on the wire, so one wrong length could ask for hundreds
//! of gigabytes and abort the process. Walking the outline first proves that every array's elements are there.

use kafka_protocol::messages::{
    ApiVersionsResponse, FetchResponse, ListOffsetsResponse, MetadataResponse, OffsetForLeaderEpochResponse,
    SaslAuthenticateResponse, SaslHandshakeResponse,
};

/// A part of a message; in flexible versions lengths are compact and structures end in tagged fields.
#[derive(Debug, Clone, Copy)]
enum Field {
    Fixed(usize),
    Text,
    Bytes,
    Array(&'static [Field]),
    /// End of a structure: in flexible versions its tagged fields, of which some hold structures of their own.
    End(&'static [(u64, &'static [Field])]),
}

use Field::{Array, Bytes, End, Fixed, Text};

/// The outline of one version of a message.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    fields: &'static [Field],
    flexible: bool,
}

/// A response whose outline is known.
pub trait Shaped {
    fn shape(version: i16) -> Shape;
}

const END: Field = End(&[]);

impl Shaped for ApiVersionsResponse {
    fn shape(version: i16) -> Shape {
        const FEATURES: &[Field] = &[Array(&[Text, Fixed(4), END])];
        const APIS: Field = Array(&[Fixed(6), END]);
        let fields: &[Field] = match version {
            0 => &[Fixed(2), APIS],
            _ => &[Fixed(2), APIS, Fixed(4), End(&[(0, FEATURES), (2, FEATURES)])],
        };
        Shape { fields, flexible: version >= 3 }
    }
}

impl Shaped for SaslHandshakeResponse {
    fn shape(_: i16) -> Shape {
        Shape { fields: &[Fixed(2), Array(&[Text])], flexible: false }
    }
}

impl Shaped for SaslAuthenticateResponse {
    fn shape(version: i16) -> Shape {
        let fields: &[Field] = match version {
            0 => &[Fixed(2), Text, Bytes],
            _ => &[Fixed(2), Text, Bytes, Fixed(8), END],
        };
        Shape { fields, flexible: version >= 2 }
    }
}

impl Shaped for MetadataResponse {
    fn shape(version: i16) -> Shape {
        const BROKERS: Field = Array(&[Fixed(4), Text, Fixed(4), Text, END]);
        const NODES: Field = Array(&[Fixed(4)]);
        const PARTITIONS: Field = Array(&[Fixed(14), NODES, NODES, NODES, END]);
        let fields: &[Field] = match version {
            ..=7 => &[Fixed(4), BROKERS, Text, Fixed(4), Array(&[Fixed(2), Text, Fixed(1), PARTITIONS])],
            8 | 9 => {
                const TOPICS: Field = Array(&[Fixed(2), Text, Fixed(1), PARTITIONS, Fixed(4), END]);
                &[Fixed(4), BROKERS, Text, Fixed(4), TOPICS, Fixed(4), END]
            }
            10 => &[Fixed(4), BROKERS, Text, Fixed(4), TOPICS_WITH_ID, Fixed(4), END],
            _ => &[Fixed(4), BROKERS, Text, Fixed(4), TOPICS_WITH_ID, END],
        };
        const TOPICS_WITH_ID: Field = Array(&[Fixed(2), Text, Fixed(17), PARTITIONS, Fixed(4), END]);
        Shape { fields, flexible: version >= 9 }
    }
}

impl Shaped for FetchResponse {
    fn shape(version: i16) -> Shape {
        const ABORTED: Field = Array(&[Fixed(16), END]);
        const PARTITIONS: Field = Array(&[Fixed(30), ABORTED, Bytes]);
        const PARTITIONS_WITH_REPLICA: Field = Array(&[Fixed(30), ABORTED, Fixed(4), Bytes, END]);
        let fields: &[Field] = match version {
            ..=10 => &[Fixed(10), Array(&[Text, PARTITIONS])],
            11 | 12 => &[Fixed(10), Array(&[Text, PARTITIONS_WITH_REPLICA, END]), END],
            _ => &[Fixed(10), Array(&[Fixed(16), PARTITIONS_WITH_REPLICA, END]), END],
        };
        Shape { fields, flexible: version >= 12 }
    }
}

impl Shaped for ListOffsetsResponse {
    fn shape(version: i16) -> Shape {
        let fields = &[Fixed(4), Array(&[Text, Array(&[Fixed(26), END]), END]), END];
        Shape { fields, flexible: version >= 6 }
    }
}

impl Shaped for OffsetForLeaderEpochResponse {
    fn shape(version: i16) -> Shape {
        let fields = &[Fixed(4), Array(&[Text, Array(&[Fixed(18), END]), END]), END];
        Shape { fields, flexible: version >= 4 }
    }
}

impl Shape {
    /// Whether `body` holds everything the outline names. Bytes behind it are somebody else's concern.
    pub fn fits(self, body: &[u8]) -> bool {
        let mut walk = Walk { rest: body, flexible: self.flexible };
        walk.fields(self.fields).is_some()
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    flexible: bool,
}

impl<'a> Walk<'a> {
    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        for field in fields {
            match field {
                Fixed(len) => self.skip(*len as u64)?,
                Text => {
                    let len = if self.flexible { self.compact_len()? } else { i64::from(self.i16()?) };
                    self.skip(len.max(0) as u64)?;
                }
                Bytes => {
                    let len = if self.flexible { self.compact_len()? } else { i64::from(self.i32()?) };
                    self.skip(len.max(0) as u64)?;
                }
                Array(element) => {
                    let count = if self.flexible { self.compact_len()? } else { i64::from(self.i32()?) };
                    if count > self.rest.len() as i64 {
                        return None;
                    }
                    (0..count).try_for_each(|_| self.fields(element))?;
                }
                End(known) => self.tagged(known)?,
            }
        }
        Some(())
    }

    fn tagged(&mut self, known: &[(u64, &[Field])]) -> Option<()> {
        if !self.flexible {
            return Some(());
        }
        for _ in 0..self.unsigned()? {
            let (tag, len) = (self.unsigned()?, self.unsigned()?);
            let content = self.rest.get(..usize::try_from(len).ok()?)?;
            self.skip(len)?;
            if let Some((_, fields)) = known.iter().find(|(known, _)| *known == tag) {
                Walk { rest: content, flexible: true }.fields(fields)?;
            }
        }
        Some(())
    }

    fn skip(&mut self, len: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(len).ok()?..)?;
        Some(())
    }

    fn i16(&mut self) -> Option<i16> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(i16::from_be_bytes(*bytes))
    }

    fn i32(&mut self) -> Option<i32> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(i32::from_be_bytes(*bytes))
    }

    /// A compact length: one more than the length, 0 for null.
    fn compact_len(&mut self) -> Option<i64> {
        Some(self.unsigned()? as i64 - 1)
    }

    /// At most 32 bits.
    fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, BytesMut};
    use kafka_protocol::{
        messages::{
            BrokerId, ProducerId, TopicName, api_versions_response as av, fetch_response as f,
            list_offsets_response as lo, metadata_response as m, offset_for_leader_epoch_response as le,
        },
        protocol::{Decodable, Encodable, StrBytes},
    };
    use uuid::Uuid;

    use super::*;

    /// The outline of every version fits what the crate writes, to the byte, and no cut or stretched length gets through
    /// to the decoder with an array that is not there.
    fn check<M: Shaped + Encodable + Decodable + PartialEq + std::fmt::Debug>(
        versions: std::ops::RangeInclusive<i16>,
        message: impl Fn(i16) -> M,
    ) {
        for version in versions {
            let message = message(version);
            let mut bytes = BytesMut::new();
            message.encode(&mut bytes, version).unwrap();
            assert!(M::shape(version).fits(&bytes), "version {version}");
            let mut walk = Walk { rest: &bytes, flexible: M::shape(version).flexible };
            walk.fields(M::shape(version).fields).unwrap();
            assert!(!walk.rest.has_remaining(), "version {version} leaves {} bytes", walk.rest.len());
            for len in 0..bytes.len() {
                assert!(!M::shape(version).fits(&bytes[..len]), "version {version} cut to {len}");
            }
            for at in 0..bytes.len() {
                for wrong in [0x7f, 0xff] {
                    let mut changed = bytes.clone();
                    let end = (at + 4).min(changed.len());
                    changed[at..end].fill(wrong);
                    if M::shape(version).fits(&changed) {
                        let _ = M::decode(&mut changed.freeze(), version);
                    }
                }
            }
        }
    }

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    #[test]
    fn outlines_fit_what_brokers_write() {
        check(0..=3, |version| {
            let response = ApiVersionsResponse::default().with_api_keys(vec![av::ApiVersion::default(); 2]);
            let feature = av::SupportedFeatureKey::default().with_name(text("metadata.version"));
            if version < 3 { response } else { response.with_supported_features(vec![feature]) }
        });
        check(1..=1, |_| SaslHandshakeResponse::default().with_mechanisms(vec![text("PLAIN"), text("SCRAM-SHA-256")]));
        check(0..=2, |_| {
            SaslAuthenticateResponse::default()
                .with_error_message(Some(text("no")))
                .with_auth_bytes((&b"xyz"[..]).into())
        });
        check(7..=12, |version| {
            let partition = m::MetadataResponsePartition::default().with_replica_nodes(vec![BrokerId(1), BrokerId(2)]);
            let id = if version < 10 { Uuid::nil() } else { Uuid::from_u128(7) };
            let topic = m::MetadataResponseTopic::default()
                .with_name(Some(TopicName(text("t"))))
                .with_topic_id(id)
                .with_partitions(vec![partition; 2]);
            let broker = m::MetadataResponseBroker::default().with_host(text("host")).with_rack(Some(text("r")));
            MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic; 2])
        });
        check(10..=15, |version| {
            let aborted = f::AbortedTransaction::default().with_producer_id(ProducerId(3));
            let mut partition = f::PartitionData::default()
                .with_aborted_transactions(Some(vec![aborted; 2]))
                .with_records(Some((&b"records"[..]).into()));
            if version >= 12 {
                partition = partition
                    .with_diverging_epoch(f::EpochEndOffset::default().with_epoch(1))
                    .with_current_leader(f::LeaderIdAndEpoch::default().with_leader_epoch(1));
            }
            let topic = f::FetchableTopicResponse::default().with_partitions(vec![partition; 2]);
            let topic = match version {
                ..=12 => topic.with_topic(TopicName(text("t"))),
                _ => topic.with_topic_id(Uuid::from_u128(7)),
            };
            FetchResponse::default().with_responses(vec![topic; 2])
        });
        check(4..=6, |_| {
            let partition = lo::ListOffsetsPartitionResponse::default();
            let topic = lo::ListOffsetsTopicResponse::default().with_name(TopicName(text("t")));
            ListOffsetsResponse::default().with_topics(vec![topic.with_partitions(vec![partition; 2])])
        });
        check(2..=4, |_| {
            let partition = le::EpochEndOffset::default();
            let topic = le::OffsetForLeaderTopicResult::default().with_topic(TopicName(text("t")));
            OffsetForLeaderEpochResponse::default().with_topics(vec![topic.with_partitions(vec![partition; 2])])
        });
    }
}
