//! Answers of the proxy itself: every part of a request fails with one error.

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey, EndTxnResponse,
        InitProducerIdResponse, ProduceRequest, ProduceResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        add_partitions_to_txn_response as partitions, produce_response as produced,
        txn_offset_commit_response as offsets,
    },
    protocol::Decodable,
};

use super::rewrite::encoded;

/// The answer to `request` that refuses all of it.
pub fn of(key: i16, version: i16, id: i32, mut request: Bytes, code: i16) -> Vec<u8> {
    match ApiKey::try_from(key) {
        Ok(ApiKey::InitProducerId) => {
            encoded(id, version, &InitProducerIdResponse::default().with_error_code(code).with_producer_epoch(-1))
        }
        Ok(ApiKey::AddOffsetsToTxn) => encoded(id, version, &AddOffsetsToTxnResponse::default().with_error_code(code)),
        Ok(ApiKey::EndTxn) => encoded(id, version, &EndTxnResponse::default().with_error_code(code)),
        Ok(ApiKey::AddPartitionsToTxn) => {
            let request = AddPartitionsToTxnRequest::decode(&mut request, version).expect("AddPartitionsToTxn");
            let topics = request.v3_and_below_topics.into_iter().map(|topic| {
                let results = topic.partitions.into_iter().map(|partition| {
                    partitions::AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(partition)
                        .with_partition_error_code(code)
                });
                partitions::AddPartitionsToTxnTopicResult::default()
                    .with_name(topic.name)
                    .with_results_by_partition(results.collect())
            });
            let answer = AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect());
            encoded(id, version, &answer)
        }
        Ok(ApiKey::TxnOffsetCommit) => {
            let request = TxnOffsetCommitRequest::decode(&mut request, version).expect("TxnOffsetCommit");
            let topics = request.topics.into_iter().map(|topic| {
                let results = topic.partitions.into_iter().map(|partition| {
                    offsets::TxnOffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                });
                offsets::TxnOffsetCommitResponseTopic::default()
                    .with_name(topic.name)
                    .with_partitions(results.collect())
            });
            encoded(id, version, &TxnOffsetCommitResponse::default().with_topics(topics.collect()))
        }
        Ok(ApiKey::Produce) => {
            let request = ProduceRequest::decode(&mut request, version).expect("Produce");
            let topics = request.topic_data.into_iter().map(|topic| {
                let results = topic.partition_data.into_iter().map(|data| {
                    produced::PartitionProduceResponse::default()
                        .with_index(data.index)
                        .with_error_code(code)
                        .with_base_offset(-1)
                });
                produced::TopicProduceResponse::default()
                    .with_name(topic.name)
                    .with_partition_responses(results.collect())
            });
            encoded(id, version, &ProduceResponse::default().with_responses(topics.collect()))
        }
        other => panic!("no refusal is known for {other:?}"),
    }
}
