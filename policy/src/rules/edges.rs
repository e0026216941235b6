//! The edges of the decision tree: from a node and what was found there to the next node.

use crate::names::NONE;

/// A table by open addressing. What is looked up are numbers of ours, so that no client can choose colliding ones.
#[derive(Debug)]
pub(super) struct Edges {
    /// A power of two of them, at least three quarters of them free.
    slots: Box<[Edge]>,
    /// Leaves as many bits of a hash as count the slots.
    shift: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) node: u32,
    pub(super) number: u32,
    /// [`NONE`] marks a free slot.
    pub(super) child: u32,
}

impl Edges {
    /// Of edges with different pairs of node and number.
    pub(super) fn new(edges: &[Edge]) -> Self {
        let size = (edges.len() * 4).next_power_of_two().max(2);
        let free = Edge { node: NONE, number: NONE, child: NONE };
        let mut table = Self { slots: vec![free; size].into(), shift: u64::BITS - size.ilog2() };
        for edge in edges {
            let at = table.position(edge.node, edge.number);
            table.slots[at] = *edge;
        }
        table
    }

    /// The slot of an edge, or the free one where it would be.
    #[inline]
    fn position(&self, node: u32, number: u32) -> usize {
        let mask = self.slots.len() - 1;
        // Fibonacci hashing: the high bits of the product are well mixed
        let product = (u64::from(node) << 32 | u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut at = (product >> self.shift) as usize & mask;
        loop {
            let edge = &self.slots[at];
            if edge.child == NONE || (edge.node == node && edge.number == number) {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    /// Where the edge leads to, or [`NONE`].
    #[inline]
    pub(super) fn get(&self, node: u32, number: u32) -> u32 {
        self.slots[self.position(node, number)].child
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_found_by_node_and_number() {
        for count in [0, 1, 2, 3, 1000] {
            let edges: Vec<Edge> =
                (0..count).map(|child| Edge { node: child / 7, number: child % 7, child }).collect();
            let table = Edges::new(&edges);
            for node in 0..200 {
                for number in 0..9 {
                    let child = node * 7 + number;
                    let expected = if number < 7 && child < count { child } else { NONE };
                    assert_eq!(table.get(node, number), expected, "{node} {number}");
                }
            }
        }
    }
}
