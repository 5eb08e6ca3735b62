//! The Merkle tree of RFC 6962 and RFC 9162: hashes, roots, inclusion and consistency proofs. Pure: no I/O, no state.
//!
//! Builders read the tree through a function from (level, index) to the hash of a *complete* subtree: level 0 holds
//! the leaf hashes, and node `index` of level `l` covers the leaves `index * 2^l .. (index + 1) * 2^l`.

use sha2::{Digest, Sha256};

/// A SHA-256 hash: of a leaf, an inner node or a whole tree.
pub type Hash = [u8; 32];

/// No tree has more levels than a 64-bit size has bits, so no proof has more hashes than this for each of its parts.
pub const LEVELS_MAX: usize = 64;

/// Why a proof does not prove what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The leaf's index is not below the tree's size.
    #[error("index {index} is outside a tree of {size} leaves; ask for a checkpoint that covers it")]
    OutsideTree {
        /// The index asked for.
        index: u64,
        /// The number of leaves.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("a tree of {old} leaves cannot be the beginning of one of {new}; swap the two")]
    NotOlder {
        /// Leaves of the tree called older.
        old: u64,
        /// Leaves of the tree called newer.
        new: u64,
    },
    /// The proof has too few or too many hashes for the position it claims.
    #[error(
        "the proof has the wrong number of hashes for its position; it was cut, extended or made for another tree"
    )]
    WrongLength,
    /// The hashes do not lead to the root.
    #[error(
        "the proof does not lead to the root hash; something of the leaf, index, proof or root was changed"
    )]
    WrongRoot,
}

/// The hash of a leaf: SHA-256(0x00 || leaf), RFC 6962 section 2.1.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// The hash of an inner node: SHA-256(0x01 || left || right), RFC 6962 section 2.1.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The root of the tree over these leaf hashes (MTH of RFC 6962).
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

/// The root of a tree of `size` leaves, from its complete subtrees.
///
/// # Errors
/// Whatever `node` returns.
pub fn root_from<E>(size: u64, node: &mut impl FnMut(u32, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    if size == 0 { Ok(empty_root()) } else { Span { start: 0, len: size }.hash(node) }
}

/// The inclusion proof of leaf `index` in the tree of `size` leaves, from the leaf's sibling up (RFC 6962 section 2.1.1).
///
/// # Errors
/// [`TreeError::OutsideTree`], or whatever `node` returns.
pub fn inclusion_proof<E: From<TreeError>>(
    index: u64,
    size: u64,
    node: &mut impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    if index >= size {
        return Err(TreeError::OutsideTree { index, size }.into());
    }
    let mut siblings = Vec::new();
    let mut span = Span { start: 0, len: size };
    while span.len > 1 {
        let (left, right) = span.split();
        let (next, sibling) = if index < right.start { (left, right) } else { (right, left) };
        siblings.push(sibling.hash(node)?);
        span = next;
    }
    siblings.reverse();
    Ok(siblings)
}

/// The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves (RFC 6962 section 2.1.2).
/// Empty when the trees are equal or the older one is empty.
///
/// # Errors
/// [`TreeError::NotOlder`], or whatever `node` returns.
pub fn consistency_proof<E: From<TreeError>>(
    old: u64,
    new: u64,
    node: &mut impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    if old > new {
        return Err(TreeError::NotOlder { old, new }.into());
    }
    let mut hashes = Vec::new();
    if old == 0 || old == new {
        return Ok(hashes);
    }
    let mut span = Span { start: 0, len: new };
    // The verifier knows the old root, so the subtree that is the whole old tree is left out.
    while span.end() != old {
        let (left, right) = span.split();
        let (next, sibling) = if old <= right.start { (left, right) } else { (right, left) };
        hashes.push(sibling.hash(node)?);
        span = next;
    }
    if span.start != 0 {
        hashes.push(span.hash(node)?);
    }
    hashes.reverse();
    Ok(hashes)
}

/// Checks an inclusion proof by the algorithm of RFC 9162 section 2.1.3.2.
///
/// # Errors
/// Any [`TreeError`] but `NotOlder`.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), TreeError> {
    if index >= size {
        return Err(TreeError::OutsideTree { index, size });
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(TreeError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            let skipped = if node & 1 == 1 { 0 } else { node.trailing_zeros().min(63) };
            (node, last) = (node >> skipped, last >> skipped);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(TreeError::WrongLength);
    }
    if hash == *root { Ok(()) } else { Err(TreeError::WrongRoot) }
}

/// Checks a consistency proof by the algorithm of RFC 9162 section 2.1.4.2. The empty tree is the beginning of every
/// tree, and its proof is empty.
///
/// # Errors
/// [`TreeError::NotOlder`], [`TreeError::WrongLength`] or [`TreeError::WrongRoot`].
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), TreeError> {
    if old > new {
        return Err(TreeError::NotOlder { old, new });
    }
    if old == 0 || old == new {
        let expected = if old == 0 { empty_root() } else { *new_root };
        return match (proof, expected == *old_root) {
            ([], true) => Ok(()),
            ([], false) => Err(TreeError::WrongRoot),
            _ => Err(TreeError::WrongLength),
        };
    }
    let (start, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(TreeError::WrongLength)?
    };
    let (old_computed, new_computed) = climb(old - 1, new - 1, start, rest)?;
    if old_computed == *old_root && new_computed == *new_root { Ok(()) } else { Err(TreeError::WrongRoot) }
}

/// Steps 3 to 6 of RFC 9162 section 2.1.4.2: both roots, as the proof has them.
fn climb(mut node: u64, mut last: u64, start: &Hash, proof: &[Hash]) -> Result<(Hash, Hash), TreeError> {
    let skipped = node.trailing_ones();
    node = node.checked_shr(skipped).unwrap_or(0);
    last = last.checked_shr(skipped).unwrap_or(0);
    let (mut old, mut new) = (*start, *start);
    for sibling in proof {
        if last == 0 {
            return Err(TreeError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            let skipped = if node & 1 == 1 { 0 } else { node.trailing_zeros().min(63) };
            (node, last) = (node >> skipped, last >> skipped);
        } else {
            new = node_hash(&new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 { Ok((old, new)) } else { Err(TreeError::WrongLength) }
}

/// A run of leaves that is a subtree: `start` is a multiple of the smallest power of two that is not below `len`.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    len: u64,
}

impl Span {
    fn end(self) -> u64 {
        self.start + self.len
    }

    /// The two children. Only for spans of two leaves or more: the left one is the largest power of two below `len`.
    fn split(self) -> (Span, Span) {
        let left = 1 << (self.len - 1).checked_ilog2().unwrap_or(0);
        (Span { start: self.start, len: left }, Span { start: self.start + left, len: self.len - left })
    }

    fn hash<E>(self, node: &mut impl FnMut(u32, u64) -> Result<Hash, E>) -> Result<Hash, E> {
        if self.len.is_power_of_two() {
            let level = self.len.trailing_zeros();
            return node(level, self.start >> level);
        }
        let (left, right) = self.split();
        Ok(node_hash(&left.hash(node)?, &right.hash(node)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// The definition of RFC 6962 section 2.1, word for word, as the oracle.
    fn mth(d: &[Hash]) -> Hash {
        if d.is_empty() {
            return empty_root();
        }
        if d.len() == 1 {
            return d[0];
        }
        let mut k = 1;
        while k * 2 < d.len() {
            k *= 2;
        }
        node_hash(&mth(&d[..k]), &mth(&d[k..]))
    }

    /// PATH of RFC 6962 section 2.1.1.
    fn path(m: usize, d: &[Hash]) -> Vec<Hash> {
        if d.len() == 1 {
            return Vec::new();
        }
        let mut k = 1;
        while k * 2 < d.len() {
            k *= 2;
        }
        let (mut below, sibling) =
            if m < k { (path(m, &d[..k]), mth(&d[k..])) } else { (path(m - k, &d[k..]), mth(&d[..k])) };
        below.push(sibling);
        below
    }

    /// SUBPROOF of RFC 6962 section 2.1.2.
    fn subproof(m: usize, d: &[Hash], known: bool) -> Vec<Hash> {
        if m == d.len() {
            return if known { Vec::new() } else { vec![mth(d)] };
        }
        let mut k = 1;
        while k * 2 < d.len() {
            k *= 2;
        }
        let (mut below, sibling) = if m <= k {
            (subproof(m, &d[..k], known), mth(&d[k..]))
        } else {
            (subproof(m - k, &d[k..], false), mth(&d[..k]))
        };
        below.push(sibling);
        below
    }

    fn nodes(leaves: &[Hash]) -> impl FnMut(u32, u64) -> Result<Hash, TreeError> + '_ {
        |level, index| {
            let start = (index << level) as usize;
            Ok(mth(&leaves[start..start + (1 << level)]))
        }
    }

    #[test]
    fn hashes_match_known_values() {
        let hex = |h: Hash| h.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn every_root_and_proof_up_to_75_leaves_equals_the_definition_and_verifies() {
        let all = leaves(75);
        for size in 0..=all.len() {
            let d = &all[..size];
            let expected = mth(d);
            assert_eq!(root(d), expected);
            assert_eq!(root_from(size as u64, &mut nodes(d)), Ok(expected));
            for index in 0..size {
                let proof = inclusion_proof(index as u64, size as u64, &mut nodes(d)).unwrap();
                assert_eq!(proof, path(index, d), "inclusion of {index} in {size}");
                verify_inclusion(&d[index], index as u64, size as u64, &proof, &expected).unwrap();
            }
            for old in 0..=size {
                let proof = consistency_proof(old as u64, size as u64, &mut nodes(d)).unwrap();
                if old > 0 {
                    assert_eq!(proof, subproof(old, d, true), "consistency of {old} with {size}");
                }
                let old_root = mth(&d[..old]);
                verify_consistency((old as u64, &old_root), (size as u64, &expected), &proof).unwrap();
            }
        }
    }

    #[test]
    fn a_proof_holds_for_no_other_index_size_or_length() {
        let all = leaves(40);
        for size in 1..=40u64 {
            let d = &all[..size as usize];
            let root = mth(d);
            for index in 0..size {
                let leaf = &d[index as usize];
                let proof = path(index as usize, d);
                for other in (0..size + 3).filter(|other| *other != index) {
                    assert!(verify_inclusion(leaf, other, size, &proof, &root).is_err());
                }
                let mut longer = proof.clone();
                longer.push(root);
                assert_eq!(verify_inclusion(leaf, index, size, &longer, &root), Err(TreeError::WrongLength));
                if let Some((_, shorter)) = proof.split_last() {
                    assert_eq!(
                        verify_inclusion(leaf, index, size, shorter, &root),
                        Err(TreeError::WrongLength)
                    );
                }
            }
        }
    }

    #[test]
    fn the_largest_sizes_do_not_overflow() {
        let hash = leaf_hash(b"x");
        for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
            let proof = inclusion_proof::<TreeError>(index, u64::MAX, &mut |_, _| Ok(hash)).unwrap();
            assert!(proof.len() <= LEVELS_MAX);
            assert_eq!(verify_inclusion(&hash, index, u64::MAX, &proof, &hash), Err(TreeError::WrongRoot));
        }
        for old in [1, 1 << 63, u64::MAX - 1] {
            let proof = consistency_proof::<TreeError>(old, u64::MAX, &mut |_, _| Ok(hash)).unwrap();
            let result = verify_consistency((old, &hash), (u64::MAX, &hash), &proof);
            assert_eq!(result, Err(TreeError::WrongRoot));
        }
        let equal = verify_consistency((u64::MAX, &hash), (u64::MAX, &hash), &[]);
        assert_eq!(equal, Ok(()));
    }

    proptest! {
        #[test]
        fn one_flipped_bit_anywhere_breaks_an_inclusion_proof(
            size in 1u64..200, pick in any::<u64>(), byte in 0usize..32, bit in 0u8..8, which in any::<usize>()
        ) {
            let all = leaves(size);
            let index = pick % size;
            let (mut leaf, mut tree) = (all[index as usize], root(&all));
            let mut proof = path(index as usize, &all);
            match which % (proof.len() + 2) {
                0 => leaf[byte] ^= 1 << bit,
                1 => tree[byte] ^= 1 << bit,
                n => proof[n - 2][byte] ^= 1 << bit,
            }
            prop_assert_eq!(verify_inclusion(&leaf, index, size, &proof, &tree), Err(TreeError::WrongRoot));
        }

        #[test]
        fn one_flipped_bit_anywhere_breaks_a_consistency_proof(
            size in 2u64..200, pick in any::<u64>(), byte in 0usize..32, bit in 0u8..8, which in any::<usize>()
        ) {
            let all = leaves(size);
            let old = 1 + pick % (size - 1);
            let (mut before, mut after) = (root(&all[..old as usize]), root(&all));
            let mut proof = subproof(old as usize, &all, true);
            match which % (proof.len() + 2) {
                0 => before[byte] ^= 1 << bit,
                1 => after[byte] ^= 1 << bit,
                n => proof[n - 2][byte] ^= 1 << bit,
            }
            prop_assert!(verify_consistency((old, &before), (size, &after), &proof).is_err());
        }
    }
}
