//! Quotas of clients, which the producer library's admin cannot set: one request by hand.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        AlterClientQuotasRequest, AlterClientQuotasResponse, ApiKey, RequestHeader, ResponseHeader,
        alter_client_quotas_request::{EntityData, EntryData, OpData},
    },
    protocol::{Decodable, Encodable, HeaderVersion, StrBytes, encode_request_header_into_buffer},
};

use super::Broker;

const VERSION: i16 = 1;

impl Broker {
    /// From now on clients of this id may fetch so many bytes a second.
    pub fn limit_consumer(&self, client_id: &str, bytes_a_second: f64) {
        let entity = EntityData::default()
            .with_entity_type(StrBytes::from_static_str("client-id"))
            .with_entity_name(Some(StrBytes::from_string(client_id.to_owned())));
        let op = OpData::default()
            .with_key(StrBytes::from_static_str("consumer_byte_rate"))
            .with_value(bytes_a_second)
            .with_remove(false);
        let entry = EntryData::default().with_entity(vec![entity]).with_ops(vec![op]);
        let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
        let header = RequestHeader::default()
            .with_request_api_key(ApiKey::AlterClientQuotas as i16)
            .with_request_api_version(VERSION)
            .with_correlation_id(1);
        let mut body = BytesMut::new();
        encode_request_header_into_buffer(&mut body, &header).expect("header");
        request.encode(&mut body, VERSION).expect("request");

        let mut socket = TcpStream::connect(&self.brokers).expect("broker");
        socket.write_all(&(body.len() as u32).to_be_bytes()).expect("size");
        socket.write_all(&body).expect("request");
        let mut size = [0; 4];
        socket.read_exact(&mut size).expect("size");
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        socket.read_exact(&mut answer).expect("answer");
        let mut answer = Bytes::from(answer);
        ResponseHeader::decode(&mut answer, AlterClientQuotasResponse::header_version(VERSION)).expect("header");
        let answer = AlterClientQuotasResponse::decode(&mut answer, VERSION).expect("answer");
        assert!(answer.entries.iter().all(|entry| entry.error_code == 0), "{answer:?}");
        assert_eq!(answer.entries.len(), 1);
    }
}
