//! Who may do what: access rules granted and taken back through the plaintext door, whose user may do everything.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, RequestHeader,
        ResponseHeader, create_acls_request::AclCreation, delete_acls_request::DeleteAclsFilter,
        delete_acls_response::DeleteAclsFilterResult,
    },
    protocol::{Decodable, Encodable, HeaderVersion, StrBytes, encode_request_header_into_buffer},
};

use super::Broker;

const VERSION: i16 = 2;

const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const ALLOW: i8 = 3;

/// A rule is in force a moment after it is made.
const IN_FORCE: Duration = Duration::from_millis(500);

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

impl Resource {
    /// A job's ids end in that of the cluster, so they are granted by their beginning; a topic by its name.
    fn pattern(self) -> i8 {
        match self {
            Resource::Topic => LITERAL,
            Resource::Group | Resource::TransactionalId => PREFIXED,
        }
    }
}

impl Broker {
    /// Lets `user` do this with the topic `name`, or with every id that begins so.
    pub fn grant(&self, user: &str, resource: Resource, name: &str, operation: Operation) {
        let rule = AclCreation::default()
            .with_resource_type(resource as i8)
            .with_resource_name(StrBytes::from_string(name.to_owned()))
            .with_resource_pattern_type(resource.pattern())
            .with_principal(StrBytes::from_string(format!("User:{user}")))
            .with_host(StrBytes::from_static_str("*"))
            .with_operation(operation as i8)
            .with_permission_type(ALLOW);
        let request = CreateAclsRequest::default().with_creations(vec![rule]);
        let answer: CreateAclsResponse = self.ask(ApiKey::CreateAcls, &request);
        assert!(answer.results.iter().all(|result| result.error_code == 0), "{answer:?}");
    }

    /// Takes back what was granted in the same words, and waits until that is in force.
    pub fn revoke(&self, user: &str, resource: Resource, name: &str, operation: Operation) {
        let filter = DeleteAclsFilter::default()
            .with_resource_type_filter(resource as i8)
            .with_resource_name_filter(Some(StrBytes::from_string(name.to_owned())))
            .with_pattern_type_filter(resource.pattern())
            .with_principal_filter(Some(StrBytes::from_string(format!("User:{user}"))))
            .with_host_filter(None)
            .with_operation(operation as i8)
            .with_permission_type(ALLOW);
        let request = DeleteAclsRequest::default().with_filters(vec![filter]);
        let answer: DeleteAclsResponse = self.ask(ApiKey::DeleteAcls, &request);
        let gone = |result: &DeleteAclsFilterResult| result.error_code == 0 && result.matching_acls.len() == 1;
        assert!(answer.filter_results.iter().all(gone), "{answer:?}");
        thread::sleep(IN_FORCE);
    }

    /// Grants several at once, and waits until they are in force.
    pub fn grant_all(&self, user: &str, rights: &[(Resource, &str, Operation)]) {
        for (resource, name, operation) in rights {
            self.grant(user, *resource, name, *operation);
        }
        thread::sleep(IN_FORCE);
    }

    fn ask<R: Decodable + HeaderVersion>(&self, key: ApiKey, request: &impl Encodable) -> R {
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(VERSION)
            .with_client_id(Some(StrBytes::from_static_str("tests")));
        let mut message = BytesMut::new();
        encode_request_header_into_buffer(&mut message, &header).expect("header");
        request.encode(&mut message, VERSION).expect("request");
        let mut connection = TcpStream::connect(&self.brokers).expect("connection");
        connection.write_all(&[&(message.len() as u32).to_be_bytes(), &message[..]].concat()).expect("sent");
        let mut size = [0; 4];
        connection.read_exact(&mut size).expect("size");
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        connection.read_exact(&mut answer).expect("answer");
        let mut answer = Bytes::from(answer);
        ResponseHeader::decode(&mut answer, R::header_version(VERSION)).expect("header");
        R::decode(&mut answer, VERSION).expect("answer")
    }
}
