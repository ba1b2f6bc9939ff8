//! Answers that send clients elsewhere: to the proxy instead.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, FindCoordinatorResponse, MetadataResponse, ResponseHeader, TopicName},
    protocol::{Decodable, Encodable, HeaderVersion, StrBytes},
};

use super::Behind;

/// The frame, with every address in it replaced by `address`.
pub fn addresses(key: i16, version: i16, frame: Vec<u8>, address: &str) -> Vec<u8> {
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let (host, port) = (StrBytes::from_string(host.to_owned()), port.parse().expect("a port"));
    match ApiKey::try_from(key) {
        Ok(ApiKey::Metadata) => changed::<MetadataResponse>(frame, version, |answer| {
            for broker in &mut answer.brokers {
                (broker.host, broker.port) = (host.clone(), port);
            }
        }),
        Ok(ApiKey::FindCoordinator) => changed::<FindCoordinatorResponse>(frame, version, |answer| {
            if answer.port > 0 {
                (answer.host, answer.port) = (host.clone(), port);
            }
            for found in answer.coordinators.iter_mut().filter(|found| found.port > 0) {
                (found.host, found.port) = (host.clone(), port);
            }
        }),
        _ => frame,
    }
}

/// The frame, with what `behind` says of its topic.
pub fn behind(key: i16, version: i16, frame: Vec<u8>, behind: &Behind) -> Vec<u8> {
    if key != ApiKey::Metadata as i16 {
        return frame;
    }
    changed::<MetadataResponse>(frame, version, |answer| {
        let named = |name: &TopicName| name.as_str() == behind.topic;
        for topic in answer.topics.iter_mut().filter(|topic| topic.name.as_ref().is_some_and(named)) {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
            topic.partitions.truncate(behind.partitions);
            topic.topic_id = behind.id.unwrap_or(topic.topic_id);
        }
    })
}

fn changed<M: Decodable + Encodable + HeaderVersion>(
    frame: Vec<u8>,
    version: i16,
    change: impl FnOnce(&mut M),
) -> Vec<u8> {
    let mut bytes = Bytes::from(frame);
    let header = ResponseHeader::decode(&mut bytes, M::header_version(version)).expect("a header");
    let mut message = M::decode(&mut bytes, version).expect("an answer");
    change(&mut message);
    encoded(header.correlation_id, version, &message)
}

/// An answer as it goes over the wire, without its length.
pub fn encoded<M: Encodable + HeaderVersion>(correlation_id: i32, version: i16, message: &M) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header.encode(&mut bytes, M::header_version(version)).expect("header");
    message.encode(&mut bytes, version).expect("answer");
    bytes.to_vec()
}
