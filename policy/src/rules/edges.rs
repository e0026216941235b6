//! The edges of the decision tree: from a node and what was found there to the next node.

use crate::names::NONE;

/// The tables of all nodes, one behind the other, by open addressing. Each node has one of its own, so that the edges of a
/// node are neighbours. What is looked up are numbers of ours, so that no client can choose colliding ones.
#[derive(Debug, Default)]
pub(super) struct Edges {
    slots: Vec<Slot>,
}

/// Where the table of a node is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Table {
    pub(super) start: u32,
    /// It has 2 to the power of this slots, from 1 on, at least half of them free; 0 is a node without edges.
    pub(super) bits: u8,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) node: u32,
    pub(super) number: u32,
    pub(super) child: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u32,
    /// [`NONE`] marks a free slot.
    child: u32,
}

impl Edges {
    /// Adds the table of a node whose edges have different numbers.
    pub(super) fn add(&mut self, edges: &[Edge]) -> Table {
        let size = (edges.len() * 2).next_power_of_two().max(2);
        let table = Table { start: self.slots.len() as u32, bits: size.ilog2() as u8 };
        self.slots.resize(self.slots.len() + size, Slot { number: NONE, child: NONE });
        for edge in edges {
            let at = self.position(table, edge.number);
            self.slots[at] = Slot { number: edge.number, child: edge.child };
        }
        table
    }

    /// Bytes of the tables.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// The slot of a number, or the free one where it would be.
    #[inline(always)]
    fn position(&self, table: Table, number: u32) -> usize {
        let mask = (1 << table.bits) - 1;
        // Fibonacci hashing: the high bits of the product are well mixed
        let mut offset = (number.wrapping_mul(0x9e37_79b9) >> (u32::BITS - u32::from(table.bits))) as usize;
        loop {
            let slot = &self.slots[table.start as usize + offset];
            if slot.child == NONE || slot.number == number {
                return table.start as usize + offset;
            }
            offset = (offset + 1) & mask;
        }
    }

    /// Where the edge with a number leads to, or [`NONE`]. The table has edges.
    #[inline(always)]
    pub(super) fn get(&self, table: Table, number: u32) -> u32 {
        self.slots[self.position(table, number)].child
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_found_by_table_and_number() {
        let mut edges = Edges::default();
        let counts = [1, 2, 3, 7, 100, 1000];
        let tables = counts.map(|count| {
            let of_node: Vec<Edge> =
                (0..count).map(|child| Edge { node: 0, number: child * 7, child: child + count }).collect();
            edges.add(&of_node)
        });
        for (count, table) in counts.into_iter().zip(tables) {
            for number in 0..count * 7 + 9 {
                let is_there = number % 7 == 0 && number / 7 < count;
                let expected = if is_there { number / 7 + count } else { NONE };
                assert_eq!(edges.get(table, number), expected, "{count} {number}");
            }
        }
    }
}
