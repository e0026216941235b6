//! Real loopback sockets driven through the ring.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::io::ReceiveBuffer;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Echoes until `connections` sockets have ended.
fn echo(io: &mut UringIo, connections: usize) {
    let mut events = Vec::new();
    let mut ended = 0;
    while ended < connections {
        io.wait(None, &mut events).unwrap();
        for event in events.drain(..) {
            match event {
                Event::Accepted { socket, .. } => io.receive(socket),
                Event::Received { socket, buffer } => {
                    io.pause(socket);
                    let all = 0..buffer.bytes().len();
                    io.send(socket, Outgoing { head: Vec::new(), body: Some((buffer, all)) });
                }
                Event::Sent { socket, result, .. } => {
                    result.unwrap();
                    io.receive(socket);
                }
                Event::ReceiveEnded { socket, .. } => {
                    io.close(socket, false);
                    ended += 1;
                }
                Event::Connected { .. } | Event::Woken => unreachable!(),
            }
        }
    }
}

#[test]
fn every_rung_serves() {
    for (mask, rung) in [
        (SetupMask::default(), Rung::DeferredDirect),
        (SetupMask { no_sqarray: true, ..SetupMask::default() }, Rung::Deferred),
        (SetupMask { defer_taskrun: true, ..SetupMask::default() }, Rung::Cooperative),
        (SetupMask { defer_taskrun: true, coop_taskrun: true, ..SetupMask::default() }, Rung::Plain),
        (SetupMask { registered_ring: true, ..SetupMask::default() }, Rung::DeferredDirect),
    ] {
        let (listener, address) = listener();
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"ping").unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            answer
        });
        let mut io = UringIo::new(UringOptions { mask, ..UringOptions::default() }, vec![listener]).unwrap();
        assert_eq!(io.setup().rung, rung);
        assert_eq!(io.setup().registered_ring, !mask.registered_ring);
        echo(&mut io, 1);
        assert_eq!(&client.join().unwrap(), b"ping");
    }
}
