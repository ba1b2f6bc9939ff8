//! A proxy between kstream and a real broker that loses or refuses the n-th request of a kind.
//!
//! Clients reach the broker through it only: the addresses in answers to Metadata and FindCoordinator are its own. A
//! fault is played once; [`Proxy::was_played`] tells whether it was.

mod refusal;
mod rewrite;

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_protocol::{messages::ApiKey, protocol::decode_request_header_from_buffer};
use uuid::Uuid;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the broker has it.
    RequestLost,
    /// The broker has done it; the connection ends before the answer arrives.
    AnswerLost,
    /// The broker never has it; the answer is this error.
    Refused(i16),
    /// The broker has done it; the answer is this error all the same.
    DoneButRefused(i16),
    /// One bit in the middle of the answer is another.
    Damaged,
}

/// Which request, and how long nobody is let in after its connection has ended.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub key: ApiKey,
    /// From 1.
    pub nth: usize,
    pub fault: Fault,
    pub away: Duration,
}

/// What a broker tells of a topic that is behind.
struct Behind {
    topic: String,
    id: Option<Uuid>,
    partitions: usize,
}

/// An answer with more bytes has records in it.
const LONG_ANSWER: usize = 500;

pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
}

struct Shared {
    address: String,
    broker: String,
    stop: AtomicBool,
    scene: Mutex<Scene>,
}

#[derive(Default)]
struct Scene {
    plan: Option<Plan>,
    seen: HashMap<i16, usize>,
    away_until: Option<Instant>,
    /// Nothing is passed on, and nobody is told.
    mute: bool,
    /// Requests of this kind are not passed on, nor are their answers.
    swallowed: Option<i16>,
    /// What brokers tell of a topic.
    behind: Option<Behind>,
    /// Answers of this kind are never whole.
    torn: Option<i16>,
    /// One end of each connection there was.
    connections: Vec<TcpStream>,
}

/// A request whose answer is still to come.
struct Asked {
    key: i16,
    version: i16,
    request: Bytes,
    fault: Option<Fault>,
}

type Pending = Mutex<HashMap<i32, Asked>>;

impl Proxy {
    pub fn before(broker: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("address").to_string();
        let shared = Arc::new(Shared {
            address: address.clone(),
            broker: broker.to_owned(),
            stop: AtomicBool::new(false),
            scene: Mutex::default(),
        });
        let own = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if own.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let _ = own.connect(client);
            }
        });
        Proxy { address, shared }
    }

    pub fn play(&self, plan: Plan) {
        let mut scene = self.shared.scene();
        (scene.plan, scene.seen) = (Some(plan), HashMap::new());
    }

    pub fn was_played(&self) -> bool {
        self.shared.scene().plan.is_none()
    }

    /// From now on connections stay open and say nothing.
    pub fn fall_silent(&self) {
        self.shared.scene().mute = true;
    }

    /// After [`Proxy::fall_silent`]: whoever comes back is heard.
    pub fn speak(&self) {
        self.shared.scene().mute = false;
        self.cut(Duration::ZERO);
    }

    /// From now on there is no answer to requests of this kind.
    pub fn swallow(&self, key: ApiKey) {
        self.shared.scene().swallowed = Some(key as i16);
    }

    /// From now on the connection ends in the middle of each answer of this kind that has something in it.
    pub fn tear(&self, key: ApiKey) {
        self.shared.scene().torn = Some(key as i16);
    }

    /// From now on brokers tell of `topic` that it has so many partitions, at most, and perhaps another id.
    pub fn stay_behind(&self, topic: &str, id: Option<Uuid>, partitions: usize) {
        self.shared.scene().behind = Some(Behind { topic: topic.to_owned(), id, partitions });
    }

    /// From now on everything is passed on again. What was not is lost with its connection.
    pub fn pass_on(&self) {
        {
            let mut scene = self.shared.scene();
            (scene.swallowed, scene.torn, scene.behind) = (None, None, None);
        }
        self.cut(Duration::ZERO);
    }

    /// Ends all connections, and lets nobody in for so long.
    pub fn cut(&self, away: Duration) {
        let mut scene = self.shared.scene();
        scene.away_until = Some(Instant::now() + away);
        for connection in scene.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Requests of a kind since the start, or since the last plan.
    pub fn seen(&self, key: ApiKey) -> usize {
        self.shared.scene().seen.get(&(key as i16)).copied().unwrap_or(0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

impl Shared {
    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().expect("no thread of the proxy panics")
    }

    fn connect(self: &Arc<Shared>, client: TcpStream) -> io::Result<()> {
        if self.scene().away_until.is_some_and(|until| Instant::now() < until) {
            return client.shutdown(Shutdown::Both);
        }
        let broker = TcpStream::connect(&self.broker)?;
        client.set_nodelay(true)?;
        self.scene().connections.push(client.try_clone()?);
        broker.set_nodelay(true)?;
        let pending = Arc::new(Pending::default());
        // Both threads write to the client: one what the broker says, one refusals of its own.
        let to_client = Arc::new(Mutex::new(client.try_clone()?));
        let (from_client, from_broker) = (client, broker.try_clone()?);
        let (end, end_too) = (end_of(&from_client, &broker)?, end_of(&from_client, &broker)?);
        let (up, down) = (self.clone(), self.clone());
        let (asked, answering) = (pending.clone(), to_client.clone());
        thread::spawn(move || {
            let _ = up.requests(from_client, broker, &asked, &answering);
            end();
        });
        thread::spawn(move || {
            let _ = down.answers(from_broker, &pending, &to_client);
            end_too();
        });
        Ok(())
    }

    /// Counts a request, and says what is to happen to it.
    fn fault(&self, key: i16) -> Option<Fault> {
        let mut scene = self.scene();
        let seen = scene.seen.entry(key).or_default();
        *seen += 1;
        let seen = *seen;
        let plan = scene.plan.filter(|plan| plan.key as i16 == key && plan.nth == seen)?;
        if let Fault::RequestLost = plan.fault {
            scene.goes_away(plan);
        }
        Some(plan.fault)
    }

    fn requests(
        &self,
        mut from: TcpStream,
        mut to: TcpStream,
        pending: &Pending,
        client: &Mutex<TcpStream>,
    ) -> io::Result<()> {
        loop {
            let frame = read_frame(&mut from)?;
            let mut request = Bytes::from(frame.clone());
            let header = decode_request_header_from_buffer(&mut request).map_err(io::Error::other)?;
            let (key, version) = (header.request_api_key, header.request_api_version);
            let fault = self.fault(key);
            match fault {
                Some(Fault::RequestLost) => return Ok(()),
                Some(Fault::Refused(code)) => {
                    self.scene().plan = None;
                    let answer = refusal::of(key, version, header.correlation_id, request, code);
                    write_frame(&mut client.lock().expect("lock"), &answer)?;
                    continue;
                }
                _ => {}
            }
            let asked = Asked { key, version, request, fault };
            pending.lock().expect("lock").insert(header.correlation_id, asked);
            if !self.scene().keeps(key) {
                write_frame(&mut to, &frame)?;
            }
        }
    }

    fn answers(&self, mut from: TcpStream, pending: &Pending, client: &Mutex<TcpStream>) -> io::Result<()> {
        loop {
            let mut frame = read_frame(&mut from)?;
            let id = i32::from_be_bytes(frame.first_chunk().copied().unwrap_or_default());
            let asked = pending.lock().expect("lock").remove(&id);
            let key = asked.as_ref().map_or(-1, |asked| asked.key);
            if let Some(asked) = asked {
                match asked.fault {
                    Some(Fault::AnswerLost) => {
                        let mut scene = self.scene();
                        if let Some(plan) = scene.plan {
                            scene.goes_away(plan);
                        }
                        return Ok(());
                    }
                    Some(Fault::DoneButRefused(code)) => {
                        self.scene().plan = None;
                        frame = refusal::of(asked.key, asked.version, id, asked.request, code);
                    }
                    Some(Fault::Damaged) => {
                        self.scene().plan = None;
                        let middle = frame.len() / 2;
                        frame[middle] ^= 1;
                    }
                    _ => {
                        frame = rewrite::addresses(asked.key, asked.version, frame, &self.address);
                        if let Some(behind) = &self.scene().behind {
                            frame = rewrite::behind(asked.key, asked.version, frame, behind);
                        }
                    }
                }
            }
            if self.scene().torn == Some(key) && frame.len() > LONG_ANSWER {
                let half = [&(frame.len() as u32).to_be_bytes(), &frame[..frame.len() / 2]].concat();
                return client.lock().expect("lock").write_all(&half);
            }
            if !self.scene().keeps(key) {
                write_frame(&mut client.lock().expect("lock"), &frame)?;
            }
        }
    }
}

impl Scene {
    fn keeps(&self, key: i16) -> bool {
        self.mute || self.swallowed == Some(key)
    }

    fn goes_away(&mut self, plan: Plan) {
        self.plan = None;
        self.away_until = Some(Instant::now() + plan.away);
    }
}

fn end_of(client: &TcpStream, broker: &TcpStream) -> io::Result<impl FnOnce() + Send + use<>> {
    let (client, broker) = (client.try_clone()?, broker.try_clone()?);
    Ok(move || {
        let _ = client.shutdown(Shutdown::Both);
        let _ = broker.shutdown(Shutdown::Both);
    })
}

fn read_frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size)?;
    let mut frame = vec![0; u32::from_be_bytes(size) as usize];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(to: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    to.write_all(&[&(frame.len() as u32).to_be_bytes(), frame].concat())
}
