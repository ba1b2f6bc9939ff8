//! A blocking socket, plain or TLS, whose every wait ends at a deadline or when the plane stops.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use openssl::ssl::{HandshakeError, SslConnector, SslStream};

use super::{
    failure::{refused, unreachable},
    settings::{AddressFamily, Endpoint, Settings},
    stop::{SLICE, StopFlag},
};
use crate::source::{SourceError, kafka::certificate};

/// The most that is read before deadline and flag are looked at: of a response that comes slowly, and of one that comes as
/// fast as it is taken.
const FIRST_READ_BYTES: usize = 16 << 10;
const READ_BYTES: usize = 128 << 10;
const FAST_READ: Duration = Duration::from_millis(20);

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

/// Why a read or write ended early.
#[derive(Debug)]
pub enum StreamError {
    Deadline,
    Stopped,
    Closed,
    Io(io::Error),
}

impl std::fmt::Display for StreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StreamError::Deadline => f.write_str("no answer within the time limit"),
            StreamError::Stopped => f.write_str("the source is being closed"),
            StreamError::Closed => f.write_str("the broker closed the connection"),
            StreamError::Io(error) => error.fmt(f),
        }
    }
}

impl Stream {
    /// Connects to the first address of `endpoint` that answers.
    pub fn connect(
        endpoint: &Endpoint,
        tls: Option<&SslConnector>,
        settings: &Settings,
        stop: &StopFlag,
        deadline: Instant,
    ) -> Result<Stream, SourceError> {
        let socket = connect(endpoint, settings, deadline)?;
        let prepared = socket
            .set_nodelay(!settings.nagle)
            .and_then(|()| socket.set_read_timeout(Some(SLICE)))
            .and_then(|()| socket.set_write_timeout(Some(SLICE)));
        prepared.map_err(|error| unreachable(format!("broker {endpoint}: {error}")))?;
        let Some(connector) = tls else { return Ok(Stream::Plain(socket)) };
        let mut configuration = connector
            .configure()
            .map_err(|error| refused(format!("broker {endpoint}: cannot set up TLS: {error}"), None))?;
        if settings.tls.as_ref().is_some_and(|tls| tls.skip_host_name_check || tls.skip_verification) {
            configuration.set_verify_hostname(false);
        }
        let mut outcome = configuration.connect(&endpoint.host, socket);
        loop {
            match outcome {
                Ok(stream) => return Ok(Stream::Tls(Box::new(stream))),
                Err(HandshakeError::WouldBlock(middle)) if Instant::now() < deadline && !stop.is_set() => {
                    outcome = middle.handshake();
                }
                Err(HandshakeError::WouldBlock(_)) => {
                    return Err(no_handshake(format!("broker {endpoint}: no TLS handshake within the time limit")));
                }
                Err(HandshakeError::SetupFailure(error)) => {
                    return Err(refused(format!("broker {endpoint}: cannot set up TLS: {error}"), None));
                }
                Err(HandshakeError::Failure(middle)) => return Err(handshake_failure(endpoint, &middle)),
            }
        }
    }

    /// Appends exactly `len` bytes to `buffer`. Each part that comes moves the deadline to `patience` from then on and is
    /// told to `heard`, but for the last.
    pub fn read_onto(
        &mut self,
        buffer: &mut Vec<u8>,
        len: usize,
        stop: &StopFlag,
        mut deadline: Instant,
        patience: Duration,
        heard: &mut dyn FnMut(),
    ) -> Result<(), StreamError> {
        let end = buffer.len() + len;
        let (mut first, mut is_fast) = ([0; FIRST_READ_BYTES], false);
        while buffer.len() < end {
            if stop.is_set() {
                return Err(StreamError::Stopped);
            }
            let (begun, before, left) = (Instant::now(), buffer.len(), end - buffer.len());
            let wanted = left.min(if is_fast { READ_BYTES } else { FIRST_READ_BYTES });
            let read = match is_fast {
                true => self.read_whole(buffer, wanted),
                false => self.read_some(buffer, first.get_mut(..wanted).unwrap_or_default()),
            };
            let came = buffer.len() - before;
            match read {
                Ok(true) => {}
                Ok(false) => return Err(StreamError::Closed),
                Err(error) if came > 0 => wait_or_fail(error, stop, Instant::now() + patience)?,
                Err(error) => wait_or_fail(error, stop, deadline)?,
            }
            is_fast = came == wanted && begun.elapsed() < FAST_READ;
            if came > 0 && buffer.len() < end {
                deadline = Instant::now() + patience;
                heard();
            }
        }
        Ok(())
    }

    /// What has come, by way of `scratch`; `false` at the end of the stream.
    fn read_some(&mut self, buffer: &mut Vec<u8>, scratch: &mut [u8]) -> io::Result<bool> {
        let read = match self {
            Stream::Plain(socket) => socket.read(scratch)?,
            Stream::Tls(stream) => stream.read(scratch)?,
        };
        buffer.extend_from_slice(scratch.get(..read).unwrap_or_default());
        Ok(read > 0)
    }

    /// All of `wanted` bytes, for as long as some come within each time slice of the socket: without a copy, and without
    /// a look at deadline and flag. `false` at the end of the stream.
    fn read_whole(&mut self, buffer: &mut Vec<u8>, wanted: usize) -> io::Result<bool> {
        let read = match self {
            Stream::Plain(socket) => socket.take(wanted as u64).read_to_end(buffer)?,
            Stream::Tls(stream) => stream.take(wanted as u64).read_to_end(buffer)?,
        };
        Ok(read == wanted)
    }

    pub fn write_all(&mut self, mut bytes: &[u8], stop: &StopFlag, deadline: Instant) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            let result = match self {
                Stream::Plain(socket) => socket.write(bytes),
                Stream::Tls(stream) => stream.write(bytes),
            };
            match result {
                Ok(0) => return Err(StreamError::Closed),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) => wait_or_fail(error, stop, deadline)?,
            }
        }
        Ok(())
    }
}

/// A socket's time slice being over is no failure until the deadline has passed.
fn wait_or_fail(error: io::Error, stop: &StopFlag, deadline: Instant) -> Result<(), StreamError> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
            if stop.is_set() {
                return Err(StreamError::Stopped);
            }
            if deadline <= Instant::now() { Err(StreamError::Deadline) } else { Ok(()) }
        }
        io::ErrorKind::UnexpectedEof => Err(StreamError::Closed),
        _ => Err(StreamError::Io(error)),
    }
}

fn connect(endpoint: &Endpoint, settings: &Settings, deadline: Instant) -> Result<TcpStream, SourceError> {
    let addresses = (&*endpoint.host, endpoint.port)
        .to_socket_addrs()
        .map_err(|error| unreachable(format!("broker {endpoint}: cannot resolve the host name: {error}")))?;
    let wanted = |address: &SocketAddr| match settings.address_family {
        AddressFamily::Any => true,
        AddressFamily::V4 => address.is_ipv4(),
        AddressFamily::V6 => address.is_ipv6(),
    };
    let mut reason = "the host name has no such address".to_owned();
    for address in addresses.filter(wanted) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            reason = format!("no connection within {} ms", settings.connect_timeout.as_millis());
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => return Ok(socket),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(unreachable(format!("broker {endpoint}: cannot connect: {reason}")))
}

/// A certificate that does not verify will not do so later; a connection that breaks may.
fn handshake_failure(endpoint: &Endpoint, middle: &openssl::ssl::MidHandshakeSslStream<TcpStream>) -> SourceError {
    let verified = middle.ssl().verify_result();
    if verified != openssl::x509::X509VerifyResult::OK {
        let hint = "Check ssl.ca.location, and that the broker's certificate names this host.";
        let reason = verified.error_string();
        return refused(format!("broker {endpoint}: its certificate is not trusted: {reason}"), Some(hint));
    }
    let message = format!("broker {endpoint}: the TLS handshake failed: {}", middle.error());
    match middle.error().ssl_error() {
        Some(_) if certificate::is_refused(&message) => refused(message, Some(certificate::HINT)),
        Some(_) => {
            refused(message, Some("Check security.protocol and the ssl.* properties against the broker's listener."))
        }
        None => no_handshake(message),
    }
}

/// A broker that goes away, or a listener that expects something else.
fn no_handshake(message: String) -> SourceError {
    let hint = "Check that security.protocol is what the broker's listener speaks.".to_owned();
    SourceError { hint: Some(hint), ..unreachable(message) }
}
