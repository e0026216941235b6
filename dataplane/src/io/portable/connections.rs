//! The table of connections: slots with generations, and how far each connection is.

use mio::event::Event as Readiness;
use socket2::Socket;

use super::buffers::PortableBuffer;
use crate::io::sending::Sending;
use crate::io::{Errno, SocketId};

/// Whether a connection is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Connecting {
    /// It is, or it came in.
    Done,
    /// The peer has not answered yet.
    Waiting,
    /// It failed at once, which is still to be told.
    Failed(Errno),
}

/// One socket, and what its next turn can do.
pub(super) struct Connection {
    pub(super) socket: Socket,
    pub(super) connecting: Connecting,
    /// There may be something to receive. Set by the kernel's word, cleared when a receive found nothing.
    pub(super) readable: bool,
    /// The kernel may take bytes; the same.
    pub(super) writable: bool,
    /// The peer has finished or the connection broke: a short read is not the last word.
    pub(super) peer_closed: bool,
    pub(super) wants_bytes: bool,
    /// End of stream or failure: nothing more comes.
    pub(super) receive_ended: bool,
    pub(super) sending: Option<Sending<PortableBuffer>>,
    /// A FIN is due once `sending` has ended.
    pub(super) finish_after_send: bool,
    /// It is in the queue of those that get a turn.
    pub(super) queued: bool,
    /// It is in the queue of those that wait for a buffer. It sends meanwhile, which is what frees buffers.
    pub(super) starved: bool,
}

impl Connection {
    pub(super) fn new(socket: Socket, connecting: Connecting) -> Self {
        Self {
            socket,
            connecting,
            readable: false,
            writable: connecting == Connecting::Done,
            peer_closed: false,
            wants_bytes: false,
            receive_ended: false,
            sending: None,
            finish_after_send: false,
            queued: false,
            starved: false,
        }
    }

    /// Takes in what the kernel said of the socket.
    pub(super) fn note(&mut self, readiness: &Readiness) {
        let broken = readiness.is_error();
        self.peer_closed |= broken || readiness.is_read_closed();
        self.readable |= readiness.is_readable() || self.peer_closed;
        self.writable |= broken || readiness.is_writable() || readiness.is_write_closed();
    }

    /// Whether its turn would do something.
    pub(super) fn has_work(&self) -> bool {
        match self.connecting {
            Connecting::Failed(_) => true,
            Connecting::Waiting => self.writable,
            Connecting::Done => (self.writable && self.sending.is_some()) || self.can_receive(),
        }
    }

    /// Whether to try to receive.
    pub(super) fn can_receive(&self) -> bool {
        self.readable && self.wants_bytes && !self.receive_ended && !self.starved
    }
}

struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

/// All connections of one worker. Slots are used again, last freed first.
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    limit: u32,
}

impl Table {
    pub(super) fn new(limit: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit }
    }

    /// Number of slots, free ones included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Gives a connection a slot; nothing if the table is at its limit, and the connection is closed then.
    pub(super) fn insert(&mut self, connection: Connection) -> Option<SocketId> {
        let index = match self.free.pop() {
            Some(index) => index,
            // The limit is a u32, so the length fits.
            None if self.slots.len() as u32 >= self.limit => return None,
            None => {
                self.slots.push(Slot { generation: 0, connection: None });
                // Room for every slot, so that freeing one never allocates.
                self.free.reserve(self.slots.len());
                self.slots.len() as u32 - 1
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.connection = Some(connection);
        Some(SocketId { index, generation: slot.generation })
    }

    /// An open connection; nothing for one that is closed, or whose slot has a new owner.
    pub(super) fn get(&mut self, socket: SocketId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(socket.index as usize)?;
        (slot.generation == socket.generation).then_some(slot.connection.as_mut()).flatten()
    }

    /// The connection in a slot, and the id that its owner knows it by.
    pub(super) fn at(&mut self, index: usize) -> Option<(SocketId, &mut Connection)> {
        let slot = self.slots.get_mut(index)?;
        let id = SocketId { index: u32::try_from(index).ok()?, generation: slot.generation };
        Some((id, slot.connection.as_mut()?))
    }

    /// Frees a slot for the next owner.
    pub(super) fn remove(&mut self, socket: SocketId) -> Option<Connection> {
        self.get(socket)?;
        let slot = self.slots.get_mut(socket.index as usize)?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(socket.index);
        slot.connection.take()
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    fn connection() -> Connection {
        Connection::new(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap(), Connecting::Done)
    }

    #[test]
    fn a_slot_is_used_again_under_a_new_generation() {
        let mut table = Table::new(1);
        let first = table.insert(connection()).unwrap();
        assert!(table.insert(connection()).is_none(), "the limit holds");
        assert!(table.remove(first).is_some());
        assert!(table.remove(first).is_none());
        let second = table.insert(connection()).unwrap();
        assert_eq!(first.index, second.index);
        assert!(table.get(first).is_none() && table.get(second).is_some());
        assert_eq!(table.at(second.index as usize).unwrap().0, second);
    }
}
