//! The connections of a pool that wait for a request.

use std::net::SocketAddr;

use super::UpstreamId;

/// Idle connections; the last one was used last and is used next.
#[derive(Debug, Default)]
pub(crate) struct IdleConnections {
    /// With whose requests each may carry; absent = anyone's.
    list: Vec<(UpstreamId, Option<SocketAddr>)>,
}

impl IdleConnections {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn push(&mut self, id: UpstreamId, client: Option<SocketAddr>) {
        self.list.push((id, client));
    }

    /// The one used last, among those that may carry requests of `client`. In a pool whose connections carry one client
    /// each this looks through all of them, at neighbouring places of memory; elsewhere it is the last one.
    pub(crate) fn pop(&mut self, client: Option<SocketAddr>) -> Option<UpstreamId> {
        let position = self.list.iter().rposition(|(_, carries)| *carries == client)?;
        Some(self.list.remove(position).0)
    }

    /// The one that idled longest.
    pub(crate) fn oldest(&self) -> Option<UpstreamId> {
        self.list.first().map(|(id, _)| *id)
    }

    /// Takes a connection off the list, wherever it stands there. Says whether it was there.
    pub(crate) fn forget(&mut self, id: UpstreamId) -> bool {
        // The one that dies is most often the one that idled longest: look from the front.
        let position = self.list.iter().position(|(idle, _)| *idle == id);
        if let Some(position) = position {
            self.list.remove(position);
        }
        position.is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = UpstreamId> {
        self.list.iter().map(|(id, _)| *id)
    }

    /// Those that carry this client alone.
    pub(crate) fn carrying(&self, client: SocketAddr) -> impl Iterator<Item = UpstreamId> {
        self.list.iter().filter(move |(_, carries)| *carries == Some(client)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn the_last_one_of_the_same_client_is_taken() {
        let mut ids = SlotMap::<UpstreamId, ()>::with_key();
        let [first, second, third] = [(); 3].map(|()| ids.insert(()));
        let [here, there] = ["192.0.2.1:1", "192.0.2.1:2"].map(|text| Some(text.parse().unwrap()));
        let mut idle = IdleConnections::default();
        idle.push(first, here);
        idle.push(second, there);
        idle.push(third, here);
        assert_eq!(idle.pop(None), None, "a connection of somebody is nobody else's");
        assert_eq!((idle.oldest(), idle.carrying(here.unwrap()).count()), (Some(first), 2));
        assert_eq!(idle.pop(here), Some(third));
        assert_eq!(idle.pop(here), Some(first));
        assert_eq!(idle.pop(here), None);
        assert!(idle.forget(second) && !idle.forget(second));
        assert_eq!(idle.len(), 0);
    }
}
