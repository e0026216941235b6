//! The table of sockets: slots with generations, and what each socket is in the middle of.

use std::os::fd::OwnedFd;

use super::buffers::UringBuffer;
use super::operations::Wire;
use super::user_data::{GENERATION_MASK, Kind, UserData};
use crate::io::SocketId;
use crate::io::sending::Sending;

/// Where a slot is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Holds no socket.
    Free,
    /// In use by the caller.
    Open,
    /// Closed by the caller; some operation still has its last completion to come.
    Draining,
}

/// What the receiving side of a socket does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Receiving {
    /// No operation; the caller has not asked, or has paused.
    Idle,
    /// A receive is in flight.
    Armed,
    /// None is in flight; the next wait starts one, unless the caller has paused by then.
    Due,
    /// It is being cancelled.
    Cancelling,
    /// All buffers were in use; the socket is in the list of those that wait for one.
    Starved,
    /// End of stream or failure: nothing more comes.
    Ended,
}

/// One place of the table.
pub(super) struct Slot {
    generation: u32,
    pub(super) phase: Phase,
    /// Present unless the slot is free.
    pub(super) descriptor: Option<OwnedFd>,
    pub(super) receiving: Receiving,
    /// Whether the caller wants bytes, whatever the operation is doing at the moment.
    pub(super) wants_bytes: bool,
    /// A receive may find bytes at once: the last one left some in the kernel, or there was none yet.
    pub(super) has_more: bool,
    pub(super) connecting: bool,
    pub(super) sending: Option<Sending<UringBuffer>>,
    /// A FIN is due once `sending` has ended.
    pub(super) finish_after_send: bool,
    /// Operations of this socket whose last completion is still to come.
    pub(super) in_flight: u32,
    /// What the kernel reads by address while it sends or connects; boxed, so that it stays put.
    pub(super) wire: Box<Wire>,
}

impl Slot {
    /// Whether a socket can be freed: closed, and the kernel is done with it.
    pub(super) fn is_drained(&self) -> bool {
        self.phase == Phase::Draining && self.in_flight == 0
    }

    pub(super) fn user_data(&self, kind: Kind, index: u32) -> UserData {
        UserData { kind, generation: self.generation, index }
    }
}

/// Slots that are set aside when the table is made.
const RESERVED_SLOTS_MAX: u32 = 65_536;

/// All sockets of one worker. Slots are used again, last freed first.
pub(super) struct SocketTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    limit: u32,
}

impl SocketTable {
    pub(super) fn new(limit: u32) -> Self {
        // Set aside, and no memory before it is used: a table that grows leaves holes as large as itself.
        let slots = Vec::with_capacity(limit.min(RESERVED_SLOTS_MAX) as usize);
        Self { slots, free: Vec::new(), limit }
    }

    /// Number of slots, free ones included.
    pub(super) fn len(&self) -> u32 {
        // The limit is a u32, so the length fits.
        self.slots.len() as u32
    }

    /// Puts a socket into a slot; gives it back if the table is at its limit.
    pub(super) fn insert(&mut self, descriptor: OwnedFd) -> Result<SocketId, OwnedFd> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.len() >= self.limit => return Err(descriptor),
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    phase: Phase::Free,
                    descriptor: None,
                    receiving: Receiving::Idle,
                    wants_bytes: false,
                    has_more: true,
                    connecting: false,
                    sending: None,
                    finish_after_send: false,
                    in_flight: 0,
                    wire: Box::default(),
                });
                // Room for every slot, so that freeing one never allocates.
                self.free.reserve(self.slots.len());
                self.len() - 1
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.wire.address = None;
        slot.phase = Phase::Open;
        slot.descriptor = Some(descriptor);
        Ok(SocketId { index, generation: slot.generation })
    }

    /// The slot of an open socket; `None` for one that is closed, or whose slot has a new owner.
    pub(super) fn open(&mut self, socket: SocketId) -> Option<&mut Slot> {
        self.slots
            .get_mut(socket.index as usize)
            .filter(|slot| slot.phase == Phase::Open && slot.generation == socket.generation)
    }

    /// The slot that a completion belongs to, open or draining.
    pub(super) fn completed(&mut self, user_data: UserData) -> Option<&mut Slot> {
        self.slots
            .get_mut(user_data.index as usize)
            .filter(|slot| slot.phase != Phase::Free && slot.generation == user_data.generation)
    }

    /// The slot at `index`, whatever its phase.
    pub(super) fn at(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)
    }

    /// The id that a slot's present owner knows it by.
    pub(super) fn id_of(user_data: UserData) -> SocketId {
        SocketId { index: user_data.index, generation: user_data.generation }
    }

    /// Frees a drained slot for the next owner and gives out its descriptor.
    pub(super) fn release(&mut self, index: u32) -> Option<OwnedFd> {
        let slot = self.slots.get_mut(index as usize).filter(|slot| slot.is_drained())?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        slot.phase = Phase::Free;
        slot.receiving = Receiving::Idle;
        slot.wants_bytes = false;
        slot.has_more = true;
        slot.connecting = false;
        slot.sending = None;
        slot.finish_after_send = false;
        self.free.push(index);
        slot.descriptor.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn release(table: &mut SocketTable, id: SocketId) {
        table.open(id).unwrap().phase = Phase::Draining;
        assert!(table.release(id.index).is_some());
    }

    #[test]
    fn a_slot_is_used_again_under_a_new_generation() {
        let mut table = SocketTable::new(8);
        let first = table.insert(descriptor()).unwrap();
        release(&mut table, first);
        let second = table.insert(descriptor()).unwrap();
        assert_eq!(first.index, second.index);
        assert_ne!(first.generation, second.generation);
        assert!(table.open(first).is_none());
        assert!(table.open(second).is_some());
        let late = UserData { kind: Kind::Receive, generation: first.generation, index: first.index };
        assert!(table.completed(late).is_none());
    }

    #[test]
    fn a_socket_in_flight_is_not_released() {
        let mut table = SocketTable::new(8);
        let id = table.insert(descriptor()).unwrap();
        let slot = table.open(id).unwrap();
        slot.in_flight = 1;
        slot.phase = Phase::Draining;
        assert!(table.release(id.index).is_none());
        assert!(table.open(id).is_none());
        table.at(id.index).unwrap().in_flight = 0;
        assert!(table.release(id.index).is_some());
    }

    #[test]
    fn the_limit_holds_and_freed_slots_count() {
        let mut table = SocketTable::new(2);
        let first = table.insert(descriptor()).unwrap();
        table.insert(descriptor()).unwrap();
        assert!(table.insert(descriptor()).is_err());
        release(&mut table, first);
        assert!(table.insert(descriptor()).is_ok());
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn generations_wrap() {
        let mut table = SocketTable::new(1);
        let id = table.insert(descriptor()).unwrap();
        table.at(id.index).unwrap().generation = GENERATION_MASK;
        let last = SocketId { generation: GENERATION_MASK, ..id };
        release(&mut table, last);
        assert_eq!(table.insert(descriptor()).unwrap().generation, 0);
    }
}
