//! Who may do what: access rules granted through the plaintext door, whose user may do everything.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, CreateAclsRequest, CreateAclsResponse, RequestHeader, ResponseHeader, create_acls_request::AclCreation,
    },
    protocol::{Decodable, Encodable, HeaderVersion, StrBytes, encode_request_header_into_buffer},
};

use super::Broker;

const VERSION: i16 = 2;

/// What a rule is about, and what it lets its user do; the numbers are Kafka's.
#[derive(Debug, Clone, Copy)]
pub enum Resource {
    Topic = 2,
    Group = 3,
    TransactionalId = 5,
}

#[derive(Debug, Clone, Copy)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Describe = 8,
}

impl Broker {
    /// Lets `user` do this with every resource whose name begins so.
    pub fn grant(&self, user: &str, resource: Resource, begins: &str, operation: Operation) {
        const PREFIXED: i8 = 4;
        const ALLOW: i8 = 3;
        let rule = AclCreation::default()
            .with_resource_type(resource as i8)
            .with_resource_name(StrBytes::from_string(begins.to_owned()))
            .with_resource_pattern_type(PREFIXED)
            .with_principal(StrBytes::from_string(format!("User:{user}")))
            .with_host(StrBytes::from_static_str("*"))
            .with_operation(operation as i8)
            .with_permission_type(ALLOW);
        let header = RequestHeader::default()
            .with_request_api_key(ApiKey::CreateAcls as i16)
            .with_request_api_version(VERSION)
            .with_client_id(Some(StrBytes::from_static_str("tests")));
        let mut request = BytesMut::new();
        encode_request_header_into_buffer(&mut request, &header).expect("header");
        CreateAclsRequest::default().with_creations(vec![rule]).encode(&mut request, VERSION).expect("request");
        let mut connection = TcpStream::connect(&self.brokers).expect("connection");
        connection.write_all(&[&(request.len() as u32).to_be_bytes(), &request[..]].concat()).expect("sent");
        let mut size = [0; 4];
        connection.read_exact(&mut size).expect("size");
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        connection.read_exact(&mut answer).expect("answer");
        let mut answer = Bytes::from(answer);
        ResponseHeader::decode(&mut answer, CreateAclsResponse::header_version(VERSION)).expect("header");
        let answer = CreateAclsResponse::decode(&mut answer, VERSION).expect("answer");
        assert!(answer.results.iter().all(|result| result.error_code == 0), "{answer:?}");
    }
}
