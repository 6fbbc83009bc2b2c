//! A persistent ordered map: a B-tree whose nodes are shared between versions and copied when a
//! shared one is changed, as LMDB does with pages.
//!
//! Cloning a [`Tree`] costs one reference count, so a snapshot, a rollback and a disk image are all
//! "keep the old root". A change copies one node per level when an older version still shares it,
//! and nothing otherwise. Leaves are all at one depth; a node is dropped when it is empty, and
//! neighbours are not merged: stores here shrink by ranges (log truncation) or not at all.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::{Bound, ControlFlow, Deref};
use std::sync::Arc;

use super::{Range, Visit};

/// Entries per node. A small change copies about this many reference counts per level.
const NODE_ENTRIES_MAX: usize = 32;

pub(super) type Bytes = Arc<[u8]>;

/// So much of every key lies in its node: enough to tell most apart, so that a search looks at little else.
const HEAD: usize = 23;
/// So long a key takes no more room than the head of a longer one.
const SHORT: usize = 38;

/// A key's first bytes, and zeros where it has fewer.
type Head = [u8; HEAD];

/// A key. Where a short one ends are zeros.
#[derive(Clone)]
pub(super) enum Key {
    Short(u8, [u8; SHORT]),
    Long(Head, Bytes),
}

impl Key {
    fn head(&self) -> &Head {
        match self {
            Key::Short(_, bytes) => bytes.first_chunk().expect("a head is no longer than that"),
            Key::Long(head, _) => head,
        }
    }
}

fn head_of(bytes: &[u8]) -> Head {
    let mut head = [0; HEAD];
    let length = bytes.len().min(HEAD);
    if let (Some(room), Some(bytes)) = (head.get_mut(..length), bytes.get(..length)) {
        room.copy_from_slice(bytes);
    }
    head
}

/// A head as numbers that are in the order of its bytes; the last two share one.
type Words = (u64, u64, u64);

fn words(head: &Head) -> Words {
    let word = |at: usize| {
        let bytes = head.get(at..at + 8).and_then(|word| word.try_into().ok());
        u64::from_be_bytes(bytes.unwrap_or_default())
    };
    (word(0), word(8), word(HEAD - 8))
}

/// A key that is looked for.
#[derive(Clone, Copy)]
struct Sought<'k> {
    words: Words,
    bytes: &'k [u8],
}

impl<'k> Sought<'k> {
    fn of(bytes: &'k [u8]) -> Self {
        let words = words(&head_of(bytes));
        Sought { words, bytes }
    }

    /// What `key` is to it. Zeros where a key ends are before whatever another has there, or the same.
    fn order_of(&self, key: &Key) -> Ordering {
        (words(key.head()).cmp(&self.words)).then_with(|| key.deref().cmp(self.bytes))
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(bytes);
                Key::Short(len, short)
            }
            _ => Key::Long(head_of(bytes), bytes.into()),
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Key::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Key::Long(_, bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        (words(self.head()).cmp(&words(other.head()))).then_with(|| self.deref().cmp(other))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.deref() == other.deref()
    }
}

impl Eq for Key {}

#[derive(Clone)]
struct Entry {
    key: Key,
    value: Bytes,
}

#[derive(Clone)]
struct Child {
    /// No key below `node` is smaller; the first child of a branch takes smaller keys too.
    from: Key,
    node: Arc<Node>,
}

#[derive(Clone)]
enum Node {
    Leaf(Vec<Entry>),
    Branch(Vec<Child>),
}

/// One version of the map.
#[derive(Clone)]
pub(super) struct Tree {
    root: Arc<Node>,
}

impl Tree {
    pub(super) fn new() -> Self {
        Tree {
            root: Arc::new(Node::Leaf(Vec::new())),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let sought = Sought::of(key);
        let mut node = &self.root;
        loop {
            match node.as_ref() {
                Node::Branch(children) => node = &children.get(child_of(children, &sought))?.node,
                Node::Leaf(entries) => {
                    let at = entries.binary_search_by(|e| sought.order_of(&e.key)).ok()?;
                    return entries.get(at).map(|e| e.value.as_ref());
                }
            }
        }
    }

    pub(super) fn put(&mut self, key: Key, value: Bytes) {
        let Some(right) = put(&mut self.root, key, value) else {
            return;
        };
        let left = Child {
            from: Key::from(b"".as_slice()),
            node: Arc::clone(&self.root),
        };
        self.root = Arc::new(Node::Branch(vec![left, right]));
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        // Asked first, so that deleting nothing copies nothing.
        if self.get(key).is_none() {
            return;
        }
        delete(&mut self.root, &Sought::of(key));
        while let Node::Branch(children) = self.root.as_ref() {
            match children.as_slice() {
                [] => self.root = Arc::new(Node::Leaf(Vec::new())),
                [only] => self.root = Arc::clone(&only.node),
                _ => break,
            }
        }
    }

    /// `Break` when the visitor ended it.
    pub(super) fn scan(&self, range: Range<'_>, visit: &mut Visit<'_>) -> ControlFlow<()> {
        walk(&self.root, range, visit)
    }
}

/// The index of the child that holds `key` if any does.
fn child_of(children: &[Child], key: &Sought<'_>) -> usize {
    children
        .partition_point(|c| key.order_of(&c.from).is_le())
        .saturating_sub(1)
}

/// Puts into the subtree; the new right half when its top node had to split.
fn put(node: &mut Arc<Node>, key: Key, value: Bytes) -> Option<Child> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            match entries.binary_search_by(|e| e.key.cmp(&key)) {
                Ok(at) => {
                    if let Some(entry) = entries.get_mut(at) {
                        entry.value = value;
                    }
                }
                Err(at) => entries.insert(at, Entry { key, value }),
            }
            let right = split(entries)?;
            let from = right.first()?.key.clone();
            Some(Child {
                from,
                node: Arc::new(Node::Leaf(right)),
            })
        }
        Node::Branch(children) => {
            let at = child_of(children, &Sought::of(&key));
            let grown = put(&mut children.get_mut(at)?.node, key, value)?;
            children.insert(at + 1, grown);
            let right = split(children)?;
            let from = right.first()?.from.clone();
            Some(Child {
                from,
                node: Arc::new(Node::Branch(right)),
            })
        }
    }
}

/// The upper half of an overfull node, with room for as many as may be in it until it is split itself.
fn split<T>(entries: &mut Vec<T>) -> Option<Vec<T>> {
    (entries.len() > NODE_ENTRIES_MAX).then(|| {
        let mut upper = Vec::with_capacity(NODE_ENTRIES_MAX + 1);
        upper.extend(entries.drain(NODE_ENTRIES_MAX / 2..));
        upper
    })
}

/// Removes a key that is there; true when the subtree is empty afterwards.
fn delete(node: &mut Arc<Node>, key: &Sought<'_>) -> bool {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            if let Ok(at) = entries.binary_search_by(|e| key.order_of(&e.key)) {
                entries.remove(at);
            }
            entries.is_empty()
        }
        Node::Branch(children) => {
            let at = child_of(children, key);
            let emptied = children
                .get_mut(at)
                .is_some_and(|c| delete(&mut c.node, key));
            if emptied {
                children.remove(at);
            }
            children.is_empty()
        }
    }
}

fn walk(node: &Node, range: Range<'_>, visit: &mut Visit<'_>) -> ControlFlow<()> {
    match node {
        Node::Leaf(entries) => {
            let before = |key: &[u8]| {
                let key = Sought::of(key);
                entries.partition_point(|e| key.order_of(&e.key).is_lt())
            };
            let through = |key: &[u8]| {
                let key = Sought::of(key);
                entries.partition_point(|e| key.order_of(&e.key).is_le())
            };
            let low = match range.from {
                Bound::Unbounded => 0,
                Bound::Included(key) => before(key),
                Bound::Excluded(key) => through(key),
            };
            let high = match range.to {
                Bound::Unbounded => entries.len(),
                Bound::Included(key) => through(key),
                Bound::Excluded(key) => before(key),
            };
            let inside = entries.get(low..high).unwrap_or_default();
            each(inside, range.reverse, |e| visit(&e.key, &e.value))
        }
        Node::Branch(children) => {
            let low = match range.from {
                Bound::Unbounded => 0,
                Bound::Included(k) | Bound::Excluded(k) => child_of(children, &Sought::of(k)),
            };
            let high = match range.to {
                Bound::Unbounded => children.len(),
                Bound::Included(k) | Bound::Excluded(k) => child_of(children, &Sought::of(k)) + 1,
            };
            let inside = children.get(low..high).unwrap_or_default();
            let (first, last) = (inside.first(), inside.last());
            each(inside, range.reverse, |child| {
                // What is between two others is inside as a whole.
                let is = |end: Option<&Child>| end.is_some_and(|end| std::ptr::eq(end, child));
                let range = Range {
                    from: if is(first) {
                        range.from
                    } else {
                        Bound::Unbounded
                    },
                    to: if is(last) { range.to } else { Bound::Unbounded },
                    reverse: range.reverse,
                };
                walk(&child.node, range, visit)
            })
        }
    }
}

fn each<T>(
    slice: &[T],
    reverse: bool,
    visit: impl FnMut(&T) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if reverse {
        slice.iter().rev().try_for_each(visit)
    } else {
        slice.iter().try_for_each(visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(slice: &[u8]) -> Bytes {
        slice.into()
    }

    fn keys(tree: &Tree, reverse: bool) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let range = Range {
            reverse,
            ..Range::ALL
        };
        let _ended = tree.scan(range, &mut |k, _| {
            out.push(k.to_vec());
            ControlFlow::Continue(())
        });
        out
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(24))]

        /// Deep enough for three levels, so that bounds fall on and between branches.
        #[test]
        fn ranges_of_a_deep_tree_are_those_of_a_map(seed: u64) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut tree, mut map) = (Tree::new(), std::collections::BTreeMap::new());
            for _ in 0..3_000 {
                let key = rng.u16(..4_000).to_be_bytes();
                if rng.u8(..4) == 0 {
                    tree.delete(&key);
                    map.remove(&key);
                } else {
                    tree.put(Key::from(&key[..]), bytes(&key));
                    map.insert(key, ());
                }
            }
            for _ in 0..100 {
                let (a, b) = (rng.u16(..4_000).to_be_bytes(), rng.u16(..4_000).to_be_bytes());
                let from = [Bound::Unbounded, Bound::Included(&a[..]), Bound::Excluded(&a[..])][rng.usize(..3)];
                let to = [Bound::Unbounded, Bound::Included(&b[..]), Bound::Excluded(&b[..])][rng.usize(..3)];
                let inside = |k: &[u8]| {
                    let above = match from { Bound::Unbounded => true, Bound::Included(f) => k >= f, Bound::Excluded(f) => k > f };
                    let below = match to { Bound::Unbounded => true, Bound::Included(t) => k <= t, Bound::Excluded(t) => k < t };
                    above && below
                };
                let mut expected: Vec<Vec<u8>> = map.keys().filter(|k| inside(&k[..])).map(|k| k.to_vec()).collect();
                for reverse in [false, true] {
                    let mut seen = Vec::new();
                    let _ended = tree.scan(Range { from, to, reverse }, &mut |k, _| {
                        seen.push(k.to_vec());
                        ControlFlow::Continue(())
                    });
                    assert_eq!(seen, expected);
                    expected.reverse();
                }
            }
        }
    }

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut tree = Tree::new();
        for n in 0..5_000u32 {
            let key = n.wrapping_mul(2_654_435_761).to_be_bytes();
            tree.put(Key::from(&key[..]), bytes(b"old"));
        }
        let before = tree.clone();
        let listed = keys(&before, false);
        assert_eq!(listed.len(), 5_000);
        assert!(listed.is_sorted());
        for key in &listed {
            tree.put(Key::from(&key[..]), bytes(b"new"));
        }
        assert_eq!(before.get(&listed[77]), Some(b"old".as_slice()));
        for key in &listed {
            tree.delete(key);
            tree.delete(key);
        }
        assert!(keys(&tree, false).is_empty());
        assert!(
            matches!(tree.root.as_ref(), Node::Leaf(_)),
            "an emptied tree is a leaf again"
        );
        assert_eq!(keys(&before, false), listed);
        let mut back = keys(&before, true);
        back.reverse();
        assert_eq!(back, listed);
    }
}
