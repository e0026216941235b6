//! An origin that does what a test says, and remembers every byte it got.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::message::{End, Inbox, Message, Otherwise};
use super::{PATIENCE, eventually};

/// What an origin has seen.
#[derive(Default)]
struct Seen {
    /// Every byte, by connection.
    raw: Vec<Vec<u8>>,
    /// Whole requests, with the number of their connection.
    requests: Vec<(usize, Message)>,
    /// Connections that ended, and how.
    ended: Vec<(usize, End)>,
}

/// An origin on a free port. Its threads end with the test process.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// An address at which nobody listens, and which nobody else can get as long as this is kept.
pub(crate) struct Unserved {
    pub(crate) address: SocketAddr,
    _socket: socket2::Socket,
}

impl Unserved {
    pub(crate) fn reserve() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        Self { address: socket.local_addr().unwrap().as_socket().unwrap(), _socket: socket }
    }
}

/// One connection of an origin, in the hands of a script.
pub(crate) struct Peer {
    /// Which connection it is, counted from 0.
    pub(crate) number: usize,
    stream: Recording,
    inbox: Inbox,
    seen: Arc<Mutex<Seen>>,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

struct Recording {
    transport: Transport,
    number: usize,
    seen: Arc<Mutex<Seen>>,
}

impl Read for Recording {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = match &mut self.transport {
            Transport::Plain(stream) => stream.read(buffer)?,
            Transport::Tls(stream) => stream.read(buffer)?,
        };
        self.seen.lock().unwrap().raw[self.number].extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl Origin {
    /// Runs `script` for each connection, each on a thread of its own. The connection is closed when it returns.
    pub(crate) fn scripted(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::start(None, script)
    }

    /// The same under TLS.
    pub(crate) fn scripted_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&mut Peer) + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(config), script)
    }

    /// Answers every request by what `answer` makes of it, on connections that are kept.
    pub(crate) fn answering(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::scripted(move |peer| {
            while let Some(request) = peer.request() {
                peer.send(answer(&request));
            }
        })
    }

    /// Answers every request `200` with its target as the body.
    pub(crate) fn echoing_targets() -> Self {
        Self::answering(|request| ok(request.target().as_bytes()))
    }

    /// Origins on 127.0.0.1, 127.0.0.2 and so on, all on the same port, that answer every request with their own address.
    pub(crate) fn on_one_port(count: u8) -> Vec<Self> {
        let bind = |last: u8, port: u16| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port));
        // A port that is free at one address may be taken at the next.
        let listeners = eventually("a port that is free at all addresses", || {
            let first = bind(1, 0).unwrap();
            let port = first.local_addr().unwrap().port();
            let others = (2..=count).map(|last| bind(last, port));
            std::iter::once(Ok(first)).chain(others).collect::<Result<Vec<_>, _>>().ok()
        });
        let answering = |listener: TcpListener| {
            let name = listener.local_addr().unwrap().ip().to_string();
            Self::start_on(listener, None, move |peer| {
                while peer.request().is_some() {
                    peer.send(ok(name.as_bytes()));
                }
            })
        };
        listeners.into_iter().map(answering).collect()
    }

    fn start(tls: Option<Arc<ServerConfig>>, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), tls, script)
    }

    fn start_on(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Peer) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let origin = Self { address, seen: Arc::clone(&seen) };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.raw.push(Vec::new());
                    seen.raw.len() - 1
                };
                let (script, seen, tls) = (Arc::clone(&script), Arc::clone(&seen), tls.clone());
                std::thread::spawn(move || {
                    let transport = match tls {
                        None => Transport::Plain(stream),
                        Some(config) => {
                            let connection = ServerConnection::new(config).unwrap();
                            Transport::Tls(Box::new(StreamOwned::new(connection, stream)))
                        }
                    };
                    let stream = Recording { transport, number, seen: Arc::clone(&seen) };
                    let mut peer = Peer { number, stream, inbox: Inbox::default(), seen };
                    script(&mut peer);
                    peer.close();
                });
            }
        });
        origin
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen().raw.len()
    }

    /// Every byte that came in, over all connections.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.seen().raw.concat()
    }

    /// Whole requests so far.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.seen().requests.iter().map(|(_, request)| request.clone()).collect()
    }

    /// The targets of the whole requests so far.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.seen().requests.iter().map(|(_, request)| request.target().to_owned()).collect()
    }

    /// The only request so far.
    #[track_caller]
    pub(crate) fn request(&self) -> Message {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap()
    }

    /// Whether every connection so far has ended.
    pub(crate) fn all_have_ended(&self) -> bool {
        let seen = self.seen();
        seen.ended.len() == seen.raw.len()
    }

    /// Waits for the end of connection `number` and says how it ended. Scripts note it by reading to the end.
    #[track_caller]
    pub(crate) fn await_end(&self, number: usize) -> End {
        eventually("the end of the origin's connection", || {
            self.seen().ended.iter().find(|(ended, _)| *ended == number).map(|(_, end)| *end)
        })
    }
}

impl Peer {
    /// The next whole request; `None` if the connection ended instead.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let head = self.head()?;
        self.body(head)
    }

    /// The head of the next request.
    pub(crate) fn head(&mut self) -> Option<Message> {
        match self.inbox.head(&mut self.stream) {
            Ok(head) => Some(head),
            Err(cut) => self.note_end(cut.end),
        }
    }

    /// The body behind a head.
    pub(crate) fn body(&mut self, head: Message) -> Option<Message> {
        match self.inbox.body(&mut self.stream, head, Otherwise::NoBody) {
            Ok(request) => {
                self.seen.lock().unwrap().requests.push((self.number, request.clone()));
                Some(request)
            }
            Err(cut) => self.note_end(cut.end),
        }
    }

    fn note_end<T>(&self, end: End) -> Option<T> {
        self.seen.lock().unwrap().ended.push((self.number, end));
        None
    }

    /// Sends bytes; a node that has gone away doesn't matter.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = match &mut self.stream.transport {
            Transport::Plain(stream) => stream.write_all(bytes.as_ref()),
            Transport::Tls(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
        };
    }

    /// Reads on until the node closes.
    pub(crate) fn read_to_end(&mut self) {
        let cut = self.inbox.rest(&mut self.stream);
        self.note_end::<()>(cut.end);
    }

    /// Closes the socket without a word of TLS.
    pub(crate) fn break_off(&self) {
        let _ = self.socket().shutdown(std::net::Shutdown::Both);
    }

    /// Closes with a reset when the script is over.
    pub(crate) fn reset(&self) {
        socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream.transport {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => &stream.sock,
        }
    }

    fn close(&mut self) {
        if let Transport::Tls(stream) = &mut self.stream.transport {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
}

/// A `200` with a length.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A gate that a test opens when an origin may go on.
#[derive(Clone)]
pub(crate) struct Gate(Arc<(Mutex<bool>, std::sync::Condvar)>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new((Mutex::new(false), std::sync::Condvar::new())))
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn close(&self) {
        *self.0.0.lock().unwrap() = false;
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    /// Waits until it is open, or for so long that the test is lost anyway.
    pub(crate) fn pass(&self) {
        let closed = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(closed, 2 * PATIENCE, |open| !*open).unwrap());
    }
}
