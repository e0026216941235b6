//! Clients that keep asking, over plain connections and under TLS. None of them may ever see a failure.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use weir::tls::forge::DemoAuthority;

use super::PATIENCE;
use super::client::{Client, get};
use super::message::{Inbox, Message, Otherwise};
use super::node::Node;

/// The name that the listener's certificate carries.
pub(crate) const SITE: &str = "site.example";
/// Requests after which a client under TLS connects anew.
const REQUESTS_PER_CONNECTION: u64 = 20;

/// A running load.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

/// Where a client connects to.
#[derive(Clone)]
enum Way {
    Plain(SocketAddr),
    Tls(SocketAddr, Arc<ClientConfig>),
}

/// One connection.
enum Connection {
    Plain(Client),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>, Inbox),
}

impl Connection {
    fn open(way: &Way) -> Self {
        match way {
            Way::Plain(address) => Self::Plain(Client::connect(*address, Ipv4Addr::LOCALHOST)),
            Way::Tls(address, config) => {
                let socket = TcpStream::connect(address).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let connection = ClientConnection::new(Arc::clone(config), SITE.try_into().unwrap()).unwrap();
                Self::Tls(Box::new(StreamOwned::new(connection, socket)), Inbox::default())
            }
        }
    }

    fn get(&mut self, target: &str) -> Message {
        match self {
            Self::Plain(client) => client.get(target),
            Self::Tls(stream, inbox) => {
                std::io::Write::write_all(stream, get(target).as_bytes()).unwrap();
                let head = inbox.head(stream).unwrap_or_else(|cut| panic!("no whole answer: {cut:?}"));
                inbox.body(stream, head, Otherwise::UntilClose).unwrap()
            }
        }
    }
}

fn ask_until(stop: &AtomicBool, answers: &AtomicU64, way: &Way, pause: Duration) {
    let mut connection = Connection::open(way);
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = connection.get("/page");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "/page"));
        answers.fetch_add(1, Ordering::Relaxed);
        asked += 1;
        let again = matches!(way, Way::Tls(..)) && asked % REQUESTS_PER_CONNECTION == 0;
        if again || answer.field("connection") == Some("close") {
            connection = Connection::open(way);
        }
        std::thread::sleep(pause);
    }
}

impl Load {
    /// Half of the clients ask the listener `public`, half the listener `secure`, whose certificate `authority` issued.
    pub(crate) fn start(node: &Node, authority: &DemoAuthority, clients: u64) -> Self {
        let secure = node.await_log("the listener under TLS", |line| {
            line["message"] == "accepting" && line["listener"] == "secure"
        });
        let secure = secure["address"].as_str().unwrap().parse().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let ways = [Way::Plain(node.address), Way::Tls(secure, Arc::new(config))];
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..clients).map(|number| {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            let way = ways[number as usize % 2].clone();
            // Some are mostly idle, some mostly busy.
            let pause = Duration::from_millis(number % 20);
            std::thread::spawn(move || ask_until(&stop, &answers, &way, pause))
        });
        Self { clients: clients.collect(), stop, answers }
    }

    /// Answers so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Ends it. Panics if any client saw a failure.
    pub(crate) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.clients.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
        assert_eq!(failed, 0, "clients that saw a failure");
        self.answers.load(Ordering::Relaxed)
    }
}
