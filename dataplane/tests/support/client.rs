//! A client that sends exactly what a test wants.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

use super::PATIENCE;
use super::message::{Cut, End, Inbox, Message, Otherwise};

/// A connection to the node.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    inbox: Inbox,
}

/// The address that clients come from unless a test chooses.
pub(crate) const ORDINARY: Ipv4Addr = Ipv4Addr::LOCALHOST;

impl Client {
    /// Connects from `source`, any address of 127.0.0.0/8.
    pub(crate) fn connect(node: SocketAddr, source: Ipv4Addr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.bind(&SocketAddr::from((IpAddr::V4(source), 0)).into()).unwrap();
        socket.connect(&node.into()).unwrap();
        Self::over(socket.into())
    }

    /// Connects with a receive buffer as small as the kernel allows, to be a slow reader.
    pub(crate) fn connect_with_small_window(node: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&node.into()).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, inbox: Inbox::default() }
    }

    /// Sends bytes. Whether the node still wants them is another matter.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Ends the sending side.
    pub(crate) fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// The next head, and no more of it.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Message {
        self.inbox.head(&mut self.stream).unwrap_or_else(|cut| panic!("no whole answer: {cut:?}"))
    }

    /// The body behind a head.
    pub(crate) fn body(&mut self, head: Message) -> Result<Message, Cut> {
        self.inbox.body(&mut self.stream, head, Otherwise::UntilClose)
    }

    /// The next answer with its body.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Message {
        let head = self.head();
        let no_body = matches!(head.status(), 100..=199 | 204 | 304);
        if no_body {
            return head;
        }
        self.body(head).unwrap_or_else(|cut| panic!("the answer was cut off: {cut:?}"))
    }

    /// The next answer, of which only the head may come.
    #[track_caller]
    pub(crate) fn answer_without_body(&mut self) -> Message {
        self.head()
    }

    /// Sends a request and waits for the answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request);
        self.answer()
    }

    /// A GET for `target` of `host`.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Message {
        self.ask(get(target))
    }

    /// Waits until so many bytes have come that nobody has taken yet.
    #[track_caller]
    pub(crate) fn await_bytes(&mut self, count: usize) {
        let came = self.inbox.need(&mut self.stream, count);
        assert!(came.is_ok(), "it ended before: {:?}", self.inbox.bytes);
    }

    /// Everything until the node closes.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Cut {
        self.inbox.rest(&mut self.stream)
    }

    /// Waits until the node has closed in order without another byte.
    #[track_caller]
    pub(crate) fn expect_close(&mut self) {
        let rest = self.rest();
        assert_eq!((rest.end, rest.bytes.as_slice()), (End::Closed, &b""[..]));
    }
}

/// The bytes of a plain GET.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: site.example\r\n\r\n")
}

/// The bytes of a POST with a length.
pub(crate) fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: site.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The head of a chunked POST.
pub(crate) fn chunked_post(target: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: site.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    )
}
