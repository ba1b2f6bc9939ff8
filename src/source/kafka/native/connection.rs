//! One authenticated connection to a broker: a request, its response, both within a deadline.
//!
//! Opening it finds out what the broker speaks (ApiVersions) and refuses one older than Kafka 2.1 by name, then
//! authenticates. Anything unexpected on the wire (another correlation id, a length beyond the bound, a body that does
//! not hold what it claims) ends the connection, never the process.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
        SaslHandshakeRequest,
    },
    protocol::{Decodable, HeaderVersion, Request, StrBytes, VersionRange, encode_request_header_into_buffer},
};
use openssl::{hash::MessageDigest, ssl::SslConnector};

use super::{
    buffer::BufferPool,
    failure::{refused, unreachable},
    scram::Scram,
    settings::{Endpoint, Mechanism, SaslSettings, Settings},
    shape::Shaped,
    stop::StopFlag,
    stream::Stream,
};
use crate::source::{SourceError, kafka::certificate};

const UNSUPPORTED_VERSION: i16 = 35;
const SIZE_LEN: usize = 4;
/// How a TLS listener answers a request that is not encrypted; as a length it is beyond any limit.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];
/// Versions of each request that this room can send, of which brokers from 2.1 on speak at least one.
const SPOKEN: &[(ApiKey, VersionRange)] = &[
    (ApiKey::Fetch, VersionRange { min: 10, max: 15 }),
    (ApiKey::Metadata, VersionRange { min: 7, max: 12 }),
    (ApiKey::ListOffsets, VersionRange { min: 4, max: 6 }),
    (ApiKey::OffsetForLeaderEpoch, VersionRange { min: 2, max: 4 }),
];
/// The same, for what only some listeners offer.
const SPOKEN_IF_OFFERED: &[(ApiKey, VersionRange)] = &[(ApiKey::SaslAuthenticate, VersionRange { min: 0, max: 1 })];
/// A session is renewed by a new connection once so much of its lifetime has passed.
const SESSION_USED_PERCENT: u32 = 80;

pub struct Connection {
    stream: Stream,
    endpoint: Endpoint,
    client_id: StrBytes,
    stop: StopFlag,
    /// How long a response may pause.
    patience: Duration,
    response_limit: usize,
    correlation_id: i32,
    versions: Vec<(ApiKey, i16)>,
    /// When the authenticated session ends, where the broker limits it.
    renew_at: Option<Instant>,
    output: BytesMut,
    response_len: usize,
    is_broken: bool,
    buffers: BufferPool,
}

/// What opening a connection needs; shared by all connections of a plane.
pub struct Dialer {
    pub settings: Settings,
    pub stop: StopFlag,
    /// Of all connections and readers, because bytes of one outlive the other.
    pub buffers: BufferPool,
    tls: Option<SslConnector>,
}

impl Dialer {
    pub fn new(settings: Settings) -> Result<Dialer, SourceError> {
        let tls = settings.tls.as_ref().map(super::tls::connector).transpose()?;
        Ok(Dialer { settings, stop: StopFlag::default(), buffers: BufferPool::default(), tls })
    }

    /// Connects, negotiates and authenticates.
    pub fn open(&self, endpoint: &Endpoint) -> Result<Connection, SourceError> {
        let settings = &self.settings;
        let connected_by = Instant::now() + settings.connect_timeout;
        let stream = Stream::connect(endpoint, self.tls.as_ref(), settings, &self.stop, connected_by)?;
        let mut connection = Connection {
            stream,
            endpoint: endpoint.clone(),
            client_id: StrBytes::from_string(settings.client_id.clone()),
            stop: self.stop.clone(),
            patience: settings.request_timeout,
            response_limit: settings.response_limit_bytes,
            correlation_id: 0,
            versions: Vec::new(),
            renew_at: None,
            output: BytesMut::new(),
            response_len: 0,
            is_broken: false,
            buffers: self.buffers.clone(),
        };
        let deadline = Instant::now() + settings.request_timeout;
        connection.negotiate(deadline)?;
        if let Some(sasl) = &settings.sasl {
            connection.authenticate(sasl, deadline)?;
        }
        Ok(connection)
    }
}

impl Connection {
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Bytes of the last response, which back everything decoded from it.
    pub fn response_len(&self) -> usize {
        self.response_len
    }

    /// Whether the session is about to end.
    pub fn is_stale(&self) -> bool {
        self.renew_at.is_some_and(|at| at <= Instant::now())
    }

    /// The highest version of `key` that both sides speak.
    pub fn version(&self, key: ApiKey) -> Result<i16, SourceError> {
        let found = self.versions.iter().find(|(spoken, _)| *spoken == key);
        found.map(|(_, version)| *version).ok_or_else(|| {
            refused(
                format!("broker {} speaks no version of {key:?} that kstream speaks", self.endpoint),
                Some("kstream reads from Kafka 2.1 and later."),
            )
        })
    }

    /// Whether a call has failed in a way that leaves nothing to be read here.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Sends `request` and waits for its response. After an error the connection is of no further use.
    pub fn call<R>(&mut self, request: &R, version: i16, deadline: Instant) -> Result<R::Response, SourceError>
    where
        R: Request,
        R::Response: Shaped,
    {
        self.call_heard(request, version, deadline, &mut || {})
    }

    /// As [`Connection::call`]; `heard` is called for each part of a response that comes in several.
    pub fn call_heard<R>(
        &mut self,
        request: &R,
        version: i16,
        deadline: Instant,
        heard: &mut dyn FnMut(),
    ) -> Result<R::Response, SourceError>
    where
        R: Request,
        R::Response: Shaped,
    {
        let response =
            self.exchange(request, version, deadline, heard).and_then(|body| self.decode::<R>(body, version));
        self.is_broken |= response.is_err();
        response
    }

    fn exchange<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        deadline: Instant,
        heard: &mut dyn FnMut(),
    ) -> Result<Bytes, SourceError> {
        self.correlation_id = self.correlation_id.wrapping_add(1) & i32::MAX;
        self.encode(request, version)?;
        let output = self.output.split();
        let sent = self.stream.write_all(&output, &self.stop, deadline);
        sent.map_err(|error| self.broken::<R>(error))?;
        let mut head = Vec::with_capacity(SIZE_LEN);
        let got = self.stream.read_onto(&mut head, SIZE_LEN, &self.stop, deadline, self.patience, &mut || {});
        got.map_err(|error| self.broken::<R>(error))?;
        if head.starts_with(&TLS_ALERT) {
            return Err(refused(
                format!("broker {} answers with a TLS alert", self.endpoint),
                Some("Its listener speaks TLS: set security.protocol to SSL or SASL_SSL."),
            ));
        }
        let len = usize::try_from(head.as_slice().get_i32()).unwrap_or(usize::MAX);
        if !(SIZE_LEN..=self.response_limit).contains(&len) {
            let limit = self.response_limit;
            return Err(
                self.broken::<R>(format!("its response claims {len} bytes, receive.message.max.bytes is {limit}"))
            );
        }
        let mut body = self.buffers.take(len);
        let got = self.stream.read_onto(&mut body, len, &self.stop, deadline, self.patience, heard);
        got.map_err(|error| self.broken::<R>(error))?;
        self.response_len = len;
        let body = self.buffers.freeze(body);
        match body.slice(..SIZE_LEN).get_i32() == self.correlation_id {
            true => Ok(body),
            false => Err(self.broken::<R>("its response answers another request")),
        }
    }

    fn encode<R: Request>(&mut self, request: &R, version: i16) -> Result<(), SourceError> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(self.client_id.clone()));
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        output.extend_from_slice(&[0; SIZE_LEN]);
        let encoded =
            encode_request_header_into_buffer(&mut output, &header).and_then(|()| request.encode(&mut output, version));
        encoded
            .map_err(|error| refused(format!("cannot write a request for broker {}: {error}", self.endpoint), None))?;
        let len = (output.len() - SIZE_LEN) as u32;
        if let Some(size) = output.first_chunk_mut() {
            *size = len.to_be_bytes();
        }
        self.output = output;
        Ok(())
    }

    fn decode<R>(&self, mut body: Bytes, version: i16) -> Result<R::Response, SourceError>
    where
        R: Request,
        R::Response: Shaped,
    {
        let header = ResponseHeader::decode(&mut body, R::Response::header_version(version));
        if header.is_err() || !R::Response::shape(version).fits(&body) {
            return Err(self.broken::<R>("its response does not hold what it claims to"));
        }
        R::Response::decode(&mut body, version).map_err(|error| self.broken::<R>(error))
    }

    fn broken<R: Request>(&self, reason: impl std::fmt::Display) -> SourceError {
        let request = ApiKey::try_from(R::KEY).map_or_else(|()| R::KEY.to_string(), |key| format!("{key:?}"));
        let message = format!("broker {}: {request}: {reason}", self.endpoint);
        // A broker looks at the client's certificate after the handshake.
        if certificate::is_refused(&message) {
            return refused(message, Some(certificate::HINT));
        }
        unreachable(message)
    }

    fn negotiate(&mut self, deadline: Instant) -> Result<(), SourceError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("kstream"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut body = self.exchange(&request, 3, deadline, &mut || {})?;
        // A broker that does not know the version answers in the oldest form, whose error code stands in the same place.
        let response: ApiVersionsResponse = match body.get(SIZE_LEN..).and_then(|rest| rest.first_chunk()) {
            Some(code) if i16::from_be_bytes(*code) == UNSUPPORTED_VERSION => {
                body = self.exchange(&ApiVersionsRequest::default(), 0, deadline, &mut || {})?;
                self.decode::<ApiVersionsRequest>(body, 0)?
            }
            _ => self.decode::<ApiVersionsRequest>(body, 3)?,
        };
        if response.error_code != 0 {
            return Err(self.broken::<ApiVersionsRequest>(error_name(response.error_code)));
        }
        let theirs = |key: ApiKey| {
            let found = response.api_keys.iter().find(|theirs| theirs.api_key == key as i16);
            found.map_or(VersionRange { min: 0, max: -1 }, |found| VersionRange {
                min: found.min_version,
                max: found.max_version,
            })
        };
        for (key, ours) in SPOKEN_IF_OFFERED {
            let common = ours.intersect(&theirs(*key));
            if !common.is_empty() {
                self.versions.push((*key, common.max));
            }
        }
        for (key, ours) in SPOKEN {
            let theirs = theirs(*key);
            let common = ours.intersect(&theirs);
            if common.is_empty() {
                let what = if theirs.max < ours.min { "older than Kafka 2.1" } else { "newer than kstream knows" };
                return Err(refused(
                    format!("broker {} is {what}: it speaks {key:?} {theirs}, kstream {ours}", self.endpoint),
                    Some("Set fetch = \"librdkafka\" to read through librdkafka, which speaks other versions."),
                ));
            }
            self.versions.push((*key, common.max));
        }
        Ok(())
    }

    fn authenticate(&mut self, sasl: &SaslSettings, deadline: Instant) -> Result<(), SourceError> {
        let mechanism = sasl.mechanism.name();
        let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
        let response = self.call(&request, 1, deadline)?;
        if response.error_code != 0 {
            let offered: Vec<&str> = response.mechanisms.iter().map(|name| name.as_str()).collect();
            return Err(refused(
                format!("broker {} does not offer {mechanism} but {}", self.endpoint, offered.join(", ")),
                Some("Set sasl.mechanisms to one that the broker's listener offers."),
            ));
        }
        let lifetime = match sasl.mechanism {
            Mechanism::Plain => {
                let message = format!("\0{}\0{}", sasl.username, sasl.password);
                self.sasl_message(message, deadline)?.1
            }
            Mechanism::ScramSha256 => self.scram(MessageDigest::sha256(), sasl, deadline)?,
            Mechanism::ScramSha512 => self.scram(MessageDigest::sha512(), sasl, deadline)?,
        };
        let lifetime = Duration::from_millis(u64::try_from(lifetime).unwrap_or(0));
        self.renew_at = (!lifetime.is_zero()).then(|| Instant::now() + lifetime * SESSION_USED_PERCENT / 100);
        Ok(())
    }

    fn scram(&mut self, digest: MessageDigest, sasl: &SaslSettings, deadline: Instant) -> Result<i64, SourceError> {
        let endpoint = self.endpoint.clone();
        let failed = |error| refused(format!("broker {endpoint}: {error}"), Some(LOGIN_HINT));
        let mut scram = Scram::new(digest, &sasl.username, &sasl.password).map_err(failed)?;
        let (first, _) = self.sasl_message(scram.first_message(), deadline)?;
        let answer = scram.final_message(&first).map_err(failed)?;
        let (last, lifetime) = self.sasl_message(answer, deadline)?;
        scram.verify(&last).map_err(failed)?;
        Ok(lifetime)
    }

    /// Sends one authentication message: the broker's answer, and the session's lifetime in milliseconds (0: no limit).
    fn sasl_message(&mut self, message: String, deadline: Instant) -> Result<(Bytes, i64), SourceError> {
        // Version 1 is the first with a session lifetime.
        let version = self.version(ApiKey::SaslAuthenticate).unwrap_or(0);
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
        let response = self.call(&request, version, deadline)?;
        if response.error_code == 0 {
            return Ok((response.auth_bytes, response.session_lifetime_ms));
        }
        let reason = response.error_message.map_or_else(|| error_name(response.error_code), |text| text.to_string());
        Err(refused(format!("broker {} refused the login: {reason}", self.endpoint), Some(LOGIN_HINT)))
    }
}

const LOGIN_HINT: &str = "Check sasl.mechanisms, sasl.username and sasl.password.";

/// The protocol's name of an error code.
pub fn error_name(code: i16) -> String {
    match kafka_protocol::ResponseError::try_from_code(code) {
        Some(kafka_protocol::ResponseError::Unknown(code)) => format!("error {code}"),
        Some(error) => format!("{error:?}"),
        None => "no error".to_owned(),
    }
}
