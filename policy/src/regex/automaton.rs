//! Complement and intersection: a regex that has them becomes an automaton over whole values, by Brzozowski's derivatives,
//! and that an ordinary regex again, by elimination of states. Exact, or refused where it would grow too large.

use std::collections::HashMap;

use super::Refusal;
use super::set::{ByteSet, partition};
use super::tree::Tree;

/// Bytes and marks of the regex.
const MAX_POSITIONS: usize = 1_000;
const MAX_STATES: usize = 300;
const MAX_TERMS: usize = 60_000;
/// Bytes and marks of the ordinary regex that comes out.
const MAX_WRITTEN: usize = 3_000;

/// The same regex without complement and intersection; it stands at the beginning of a value.
pub(super) fn rewrite(tree: &Tree) -> Result<Tree, Refusal> {
    if tree.positions() > MAX_POSITIONS {
        return Err(too_large());
    }
    let states = States::build(tree)?.minimal();
    if states.accepting == [true] {
        return Ok(Tree::Empty);
    }
    let written = states.as_tree()?;
    Ok(if written == Tree::Nothing { written } else { Tree::sequence([written, Tree::End]) })
}

/// Whether a value that isn't empty meets all of them.
pub(super) fn have_common_value(trees: &[Tree]) -> Result<bool, Refusal> {
    if trees.iter().map(Tree::positions).sum::<usize>() > MAX_POSITIONS {
        return Err(too_large());
    }
    // whole values in which each of them occurs, marks included
    let occurs = |tree: &Tree| {
        let anything = Tree::Not(Box::new(Tree::Nothing));
        Tree::Sequence(vec![anything.clone(), tree.clone(), anything])
    };
    let states = States::build(&Tree::All(trees.iter().map(occurs).collect()))?;
    // one letter at least leads to a state that accepts
    let mut reached = vec![false; states.next.len()];
    let mut open = vec![0];
    while let Some(state) = open.pop() {
        for &target in &states.next[state] {
            if states.accepting[target] {
                return Ok(true);
            }
            if !std::mem::replace(&mut reached[target], true) {
                open.push(target);
            }
        }
    }
    Ok(false)
}

fn too_large() -> Refusal {
    Refusal::new(
        "its `~` and `&` lead to too large an automaton",
        "several conditions without `&` (all have to hold), a shorter regex under `~`, or a rule for what it matches and \
         a milder one for the rest",
    )
}

/// A regex in the form that derivatives are taken of; the same one always has the same number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Term {
    Nothing,
    Empty,
    Byte(ByteSet),
    Beginning,
    End,
    Pair(u32, u32),
    Any(Vec<u32>),
    All(Vec<u32>),
    Not(u32),
    Star(u32),
}

/// What a text is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Letter {
    /// One of the bytes of a part that the regex doesn't tell apart.
    Byte(u8),
    Beginning,
    End,
}

#[derive(Debug, Default)]
struct Terms {
    terms: Vec<Term>,
    numbers: HashMap<Term, u32>,
    derivatives: HashMap<(u32, Letter), u32>,
}

const NOTHING: u32 = 0;
const EMPTY: u32 = 1;
/// Any text, marks included.
const EVERYTHING: u32 = 2;

impl Terms {
    fn new() -> Self {
        let mut terms = Self::default();
        terms.number(Term::Nothing);
        terms.number(Term::Empty);
        terms.number(Term::Not(NOTHING));
        terms
    }

    fn number(&mut self, term: Term) -> u32 {
        if let Some(&number) = self.numbers.get(&term) {
            return number;
        }
        let number = self.terms.len() as u32;
        self.terms.push(term.clone());
        self.numbers.insert(term, number);
        number
    }

    fn pair(&mut self, first: u32, second: u32) -> u32 {
        match (first, second) {
            (NOTHING, _) | (_, NOTHING) => NOTHING,
            (EMPTY, other) | (other, EMPTY) => other,
            (EVERYTHING, EVERYTHING) => EVERYTHING,
            _ => match self.terms[first as usize] {
                // to the right, so that equal sequences are equal terms
                Term::Pair(one, two) => {
                    let rest = self.pair(two, second);
                    self.pair(one, rest)
                }
                _ => self.number(Term::Pair(first, second)),
            },
        }
    }

    fn any(&mut self, parts: impl IntoIterator<Item = u32>) -> u32 {
        let mut flat = Vec::new();
        for part in parts {
            match &self.terms[part as usize] {
                Term::Nothing => {}
                Term::Any(inner) => flat.extend_from_slice(inner),
                _ => flat.push(part),
            }
        }
        flat.sort_unstable();
        flat.dedup();
        match flat.as_slice() {
            [] => NOTHING,
            [one] => *one,
            _ if flat.contains(&EVERYTHING) => EVERYTHING,
            _ => self.number(Term::Any(flat)),
        }
    }

    fn all(&mut self, parts: impl IntoIterator<Item = u32>) -> u32 {
        let mut flat = Vec::new();
        for part in parts {
            match &self.terms[part as usize] {
                Term::All(inner) => flat.extend_from_slice(inner),
                _ if part == EVERYTHING => {}
                _ => flat.push(part),
            }
        }
        flat.sort_unstable();
        flat.dedup();
        match flat.as_slice() {
            [] => EVERYTHING,
            [one] => *one,
            _ if flat.contains(&NOTHING) => NOTHING,
            _ => self.number(Term::All(flat)),
        }
    }

    fn not(&mut self, inner: u32) -> u32 {
        match self.terms[inner as usize] {
            Term::Not(twice) => twice,
            _ => self.number(Term::Not(inner)),
        }
    }

    fn star(&mut self, inner: u32) -> u32 {
        match self.terms[inner as usize] {
            Term::Nothing | Term::Empty => EMPTY,
            Term::Star(_) => inner,
            _ if inner == EVERYTHING => EVERYTHING,
            _ => self.number(Term::Star(inner)),
        }
    }

    fn of_tree(&mut self, tree: &Tree) -> u32 {
        match tree {
            Tree::Nothing => NOTHING,
            Tree::Empty => EMPTY,
            Tree::Byte(set) if set.is_empty() => NOTHING,
            Tree::Byte(set) => self.number(Term::Byte(*set)),
            Tree::Beginning => self.number(Term::Beginning),
            Tree::End => self.number(Term::End),
            Tree::Sequence(parts) => {
                let parts: Vec<u32> = parts.iter().map(|part| self.of_tree(part)).collect();
                parts.into_iter().rev().fold(EMPTY, |rest, part| self.pair(part, rest))
            }
            Tree::Any(parts) => {
                let parts: Vec<u32> = parts.iter().map(|part| self.of_tree(part)).collect();
                self.any(parts)
            }
            Tree::All(parts) => {
                let parts: Vec<u32> = parts.iter().map(|part| self.of_tree(part)).collect();
                self.all(parts)
            }
            Tree::Not(inner) => {
                let inner = self.of_tree(inner);
                self.not(inner)
            }
            Tree::Repeat(inner, min, max) => {
                let inner = self.of_tree(inner);
                let mut rest = match max {
                    None => self.star(inner),
                    Some(max) => (*min..*max).fold(EMPTY, |rest, _| {
                        let one_more = self.pair(inner, rest);
                        self.any([EMPTY, one_more])
                    }),
                };
                for _ in 0..*min {
                    rest = self.pair(inner, rest);
                }
                rest
            }
        }
    }

    fn is_nullable(&self, term: u32) -> bool {
        match &self.terms[term as usize] {
            Term::Empty | Term::Star(_) => true,
            Term::Nothing | Term::Byte(_) | Term::Beginning | Term::End => false,
            Term::Pair(first, second) => self.is_nullable(*first) && self.is_nullable(*second),
            Term::Any(parts) => parts.iter().any(|&part| self.is_nullable(part)),
            Term::All(parts) => parts.iter().all(|&part| self.is_nullable(part)),
            Term::Not(inner) => !self.is_nullable(*inner),
        }
    }

    /// What may follow a letter.
    fn derivative(&mut self, term: u32, letter: Letter) -> Result<u32, Refusal> {
        if let Some(&known) = self.derivatives.get(&(term, letter)) {
            return Ok(known);
        }
        if self.terms.len() > MAX_TERMS {
            return Err(too_large());
        }
        let found = match self.terms[term as usize].clone() {
            Term::Nothing | Term::Empty => NOTHING,
            Term::Byte(set) => match letter {
                Letter::Byte(byte) if set.contains(byte) => EMPTY,
                _ => NOTHING,
            },
            Term::Beginning => {
                if letter == Letter::Beginning {
                    EMPTY
                } else {
                    NOTHING
                }
            }
            Term::End => {
                if letter == Letter::End {
                    EMPTY
                } else {
                    NOTHING
                }
            }
            Term::Pair(first, second) => {
                let through = self.derivative(first, letter)?;
                let through = self.pair(through, second);
                if self.is_nullable(first) {
                    let around = self.derivative(second, letter)?;
                    self.any([through, around])
                } else {
                    through
                }
            }
            Term::Any(parts) => {
                let parts = self.derivatives_of(&parts, letter)?;
                self.any(parts)
            }
            Term::All(parts) => {
                let parts = self.derivatives_of(&parts, letter)?;
                self.all(parts)
            }
            Term::Not(inner) => {
                let inner = self.derivative(inner, letter)?;
                self.not(inner)
            }
            Term::Star(inner) => {
                let through = self.derivative(inner, letter)?;
                self.pair(through, term)
            }
        };
        self.derivatives.insert((term, letter), found);
        Ok(found)
    }

    fn derivatives_of(&mut self, parts: &[u32], letter: Letter) -> Result<Vec<u32>, Refusal> {
        parts.iter().map(|&part| self.derivative(part, letter)).collect()
    }
}

/// An automaton over whole values; it starts in state 0.
#[derive(Debug)]
struct States {
    /// Bytes that are not told apart.
    parts: Vec<ByteSet>,
    /// By state and part.
    next: Vec<Vec<usize>>,
    accepting: Vec<bool>,
}

impl States {
    /// The values in which the regex occurs.
    fn build(tree: &Tree) -> Result<Self, Refusal> {
        let mut sets = Vec::new();
        tree.sets(&mut sets);
        let parts = partition(sets.into_iter());
        let mut terms = Terms::new();
        let regex = terms.of_tree(tree);
        let occurs = terms.pair(regex, EVERYTHING);
        let occurs = terms.pair(EVERYTHING, occurs);
        let start = terms.derivative(occurs, Letter::Beginning)?;
        let mut numbers = HashMap::from([(start, 0)]);
        let mut found = vec![start];
        let (mut next, mut accepting) = (Vec::new(), Vec::new());
        while let Some(&state) = found.get(next.len()) {
            let mut row = Vec::with_capacity(parts.len());
            for part in &parts {
                let Some(byte) = part.bytes().next() else { continue };
                let target = terms.derivative(state, Letter::Byte(byte))?;
                row.push(*numbers.entry(target).or_insert_with(|| {
                    found.push(target);
                    found.len() - 1
                }));
            }
            let end = terms.derivative(state, Letter::End)?;
            accepting.push(terms.is_nullable(end));
            next.push(row);
            if found.len() > MAX_STATES {
                return Err(too_large());
            }
        }
        Ok(Self { parts, next, accepting })
    }

    /// With states that accept the same made one.
    fn minimal(&self) -> Self {
        let mut group: Vec<usize> = self.accepting.iter().map(|&accepting| usize::from(accepting)).collect();
        let mut count = 0;
        loop {
            let mut numbers: HashMap<(usize, Vec<usize>), usize> = HashMap::new();
            let mut finer = Vec::with_capacity(group.len());
            for (state, row) in self.next.iter().enumerate() {
                let signature = (group[state], row.iter().map(|&target| group[target]).collect());
                let fresh = numbers.len();
                finer.push(*numbers.entry(signature).or_insert(fresh));
            }
            group = finer;
            if numbers.len() == count {
                break;
            }
            count = numbers.len();
        }
        // groups are numbered in the order of their first states, so that the start stays 0
        let mut merged = Self { parts: self.parts.clone(), next: Vec::new(), accepting: Vec::new() };
        for (state, row) in self.next.iter().enumerate() {
            if group[state] == merged.next.len() {
                merged.next.push(row.iter().map(|&target| group[target]).collect());
                merged.accepting.push(self.accepting[state]);
            }
        }
        merged
    }

    /// States from which a value can still be accepted.
    fn living(&self) -> Vec<bool> {
        let mut living = self.accepting.clone();
        loop {
            let more: Vec<usize> = (0..living.len())
                .filter(|&state| !living[state] && self.next[state].iter().any(|&target| living[target]))
                .collect();
            if more.is_empty() {
                return living;
            }
            more.into_iter().for_each(|state| living[state] = true);
        }
    }

    /// The regex of the values that are accepted, by taking out one state after another.
    fn as_tree(&self) -> Result<Tree, Refusal> {
        let living = self.living();
        let (start, end) = (self.next.len(), self.next.len() + 1);
        let mut edges: HashMap<(usize, usize), Tree> = HashMap::from([((start, 0), Tree::Empty)]);
        for state in (0..self.next.len()).filter(|&state| living[state]) {
            let mut sets: HashMap<usize, ByteSet> = HashMap::new();
            for (part, &target) in self.parts.iter().zip(&self.next[state]) {
                if living[target] {
                    let set = sets.entry(target).or_insert(ByteSet::NONE);
                    *set = set.union(*part);
                }
            }
            edges.extend(sets.into_iter().map(|(target, set)| ((state, target), Tree::Byte(set))));
            if self.accepting[state] {
                edges.insert((state, end), Tree::Empty);
            }
        }
        let mut left: Vec<usize> = (0..self.next.len()).filter(|&state| living[state]).collect();
        while let Some(state) = take_cheapest(&mut left, &edges) {
            take_out(state, &mut edges)?;
        }
        Ok(edges.remove(&(start, end)).unwrap_or(Tree::Nothing))
    }
}

/// The state whose way around costs least.
fn take_cheapest(left: &mut Vec<usize>, edges: &HashMap<(usize, usize), Tree>) -> Option<usize> {
    let mut weights: HashMap<usize, (usize, usize, usize, usize)> = HashMap::new();
    for (&(from, to), tree) in edges {
        let size = tree.positions() + 1;
        if from != to {
            let entry = weights.entry(to).or_default();
            (entry.0, entry.1) = (entry.0 + 1, entry.1 + size);
            let entry = weights.entry(from).or_default();
            (entry.2, entry.3) = (entry.2 + 1, entry.3 + size);
        }
    }
    let cost = |state: &usize| {
        let (ins, in_size, outs, out_size) = weights.get(state).copied().unwrap_or_default();
        (in_size * outs + out_size * ins, *state)
    };
    let position = (0..left.len()).min_by_key(|&at| cost(&left[at]))?;
    Some(left.swap_remove(position))
}

fn take_out(state: usize, edges: &mut HashMap<(usize, usize), Tree>) -> Result<(), Refusal> {
    let around = edges.remove(&(state, state)).map_or(Tree::Empty, |inner| Tree::repeat(inner, 0, None));
    let mut ins: Vec<(usize, Tree)> = edges
        .iter()
        .filter(|((_, to), _)| *to == state)
        .map(|(&(from, _), tree)| (from, tree.clone()))
        .collect();
    let mut outs: Vec<(usize, Tree)> = edges
        .iter()
        .filter(|((from, _), _)| *from == state)
        .map(|(&(_, to), tree)| (to, tree.clone()))
        .collect();
    ins.sort_unstable();
    outs.sort_unstable();
    edges.retain(|&(from, to), _| from != state && to != state);
    for (from, before) in &ins {
        for (to, after) in &outs {
            let way = Tree::sequence([before.clone(), around.clone(), after.clone()]);
            let both = match edges.remove(&(*from, *to)) {
                Some(other) => Tree::any([other, way]),
                None => way,
            };
            if both.positions() > MAX_WRITTEN {
                return Err(too_large());
            }
            edges.insert((*from, *to), both);
        }
    }
    Ok(())
}
