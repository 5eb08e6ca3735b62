//! Tiles (C2SP tlog-tiles): the tree as static files of up to 256 hashes, and the entries as bundles beside them.
//! Pure: no I/O; reading a tile is an argument.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::checkpoint::decimal;
use crate::tree::{self, Hash, TreeError};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// The longest entry a bundle can hold: its length is written in 16 bits. Bytes.
pub const ENTRY_BYTES_MAX: usize = 65_535;

const TILE_HEIGHT: u32 = 8;

/// Why a tile was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// The text is not a path of a tile.
    #[error("`{path}` is not the path of a tile; it has the form `tile/<level>/<index>[.p/<width>]`")]
    Path {
        /// The text.
        path: String,
    },
    /// The tile has another length than its width asks for.
    #[error("the tile `{tile}` does not have the length of its width; it was cut or is not a tile")]
    Length {
        /// The tile.
        tile: TilePath,
    },
    /// The proof asked for cannot exist.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of the level (0 to 63): of leaves at level 0, of full tiles below at the others.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// The path of a tile or an entry bundle, relative to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u64,
}

impl TilePath {
    /// The tile `index` of the kind as a tree of `size` leaves has it: full, partial, or none.
    pub fn at_size(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let level = match kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        let hashes = size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0);
        let width = hashes.saturating_sub(index.checked_mul(TILE_WIDTH)?).min(TILE_WIDTH);
        (width > 0).then_some(Self { kind, index, width })
    }

    /// Hashes or entries.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// The tile's index within its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The number of hashes or entries, 1 to 256.
    pub fn width(&self) -> u64 {
        self.width
    }

    /// Whether it has all 256.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The path without the width of a partial tile: where the full tile is or will be.
    pub(crate) fn full_path(&self) -> String {
        Self { width: TILE_WIDTH, ..*self }.to_string()
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut group = 1_000_000_000_000_000_000;
        while group > 1 {
            if self.index >= group {
                write!(f, "x{:03}/", self.index / group % 1000)?;
            }
            group /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TilePath {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let parsed = parse_path(path).filter(|tile| tile.to_string() == path);
        parsed.ok_or_else(|| TileError::Path { path: path.chars().take(120).collect() })
    }
}

/// Lenient in form; the caller compares with the one canonical form.
fn parse_path(path: &str) -> Option<TilePath> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(decimal(level).filter(|level| *level < 64)?.try_into().ok()?),
    };
    let (index, width) = match rest.split_once(".p/") {
        None => (rest, TILE_WIDTH),
        Some((index, width)) => (index, decimal(width).filter(|width| (1..TILE_WIDTH).contains(width))?),
    };
    let mut number = 0u64;
    for part in index.split('/') {
        let digits = part.strip_prefix('x').unwrap_or(part);
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(TilePath { kind, index: number, width })
}

/// The hashes of a tile.
///
/// # Errors
/// [`TileError::Length`].
pub fn parse_hashes(tile: TilePath, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() as u64 != tile.width {
        return Err(TileError::Length { tile });
    }
    Ok(hashes.to_vec())
}

/// The entries of a bundle: each behind its length in two bytes, big-endian.
///
/// # Errors
/// [`TileError::Length`].
pub fn parse_entries(tile: TilePath, bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let entry = after.split_at_checked(usize::from(u16::from_be_bytes(*length)));
        let (entry, after) = entry.ok_or(TileError::Length { tile })?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() || entries.len() as u64 != tile.width {
        return Err(TileError::Length { tile });
    }
    Ok(entries)
}

/// The bytes of a tile of hashes.
pub(crate) fn write_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// Adds an entry to the bytes of a bundle; `None` when it is too long for one.
pub(crate) fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Option<()> {
    bundle.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
    bundle.extend_from_slice(entry);
    Some(())
}

/// The first `width` hashes or entries of a tile that has at least as many, as bytes.
pub(crate) fn prefix(kind: TileKind, bytes: &[u8], width: u64) -> Option<&[u8]> {
    let mut end = 0usize;
    for _ in 0..width {
        end += match kind {
            TileKind::Hashes(_) => 32,
            TileKind::Entries => {
                let length = bytes.get(end..)?.first_chunk::<2>()?;
                2 + usize::from(u16::from_be_bytes(*length))
            }
        };
    }
    bytes.get(..end)
}

/// Builds proofs for a tree of a certain size out of its hash tiles. What it hands out is as true as the tiles:
/// compare [`TileTree::root`] with a signed checkpoint.
pub struct TileTree<F> {
    size: u64,
    read: F,
    tiles: HashMap<(u8, u64), Vec<Hash>>,
}

impl<E: From<TileError>, F: FnMut(TilePath) -> Result<Vec<u8>, E>> TileTree<F> {
    /// A tree of `size` leaves whose tiles `read` returns. Each tile is read once.
    pub fn new(size: u64, read: F) -> Self {
        Self { size, read, tiles: HashMap::new() }
    }

    /// The root hash.
    ///
    /// # Errors
    /// Those of reading, or [`TileError::Length`].
    pub fn root(&mut self) -> Result<Hash, E> {
        tree::root_from(self.size, &mut |level, index| self.node(level, index))
    }

    /// The inclusion proof of a leaf.
    ///
    /// # Errors
    /// Those of reading, [`TileError::Length`], or [`TileError::Tree`] outside the tree.
    pub fn inclusion_proof(&mut self, index: u64) -> Result<Vec<Hash>, E> {
        if index >= self.size {
            return Err(TileError::from(TreeError::OutsideTree { index, size: self.size }).into());
        }
        let (size, mut node) = (self.size, |level, index| self.node(level, index).map_err(Wrapped));
        tree::inclusion_proof(index, size, &mut node).map_err(|Wrapped(error)| error)
    }

    /// The proof that the first `old` leaves were the whole tree once.
    ///
    /// # Errors
    /// As for [`TileTree::inclusion_proof`].
    pub fn consistency_proof(&mut self, old: u64) -> Result<Vec<Hash>, E> {
        let (new, mut node) = (self.size, |level, index| self.node(level, index).map_err(Wrapped));
        tree::consistency_proof(old, new, &mut node).map_err(|Wrapped(error)| error)
    }

    /// A complete subtree's hash: `2^(level % 8)` hashes of one tile, hashed up.
    fn node(&mut self, level: u32, index: u64) -> Result<Hash, E> {
        let within = level % TILE_HEIGHT;
        let tile_level = u8::try_from(level / TILE_HEIGHT).unwrap_or(u8::MAX);
        let tile_index = index >> (TILE_HEIGHT - within);
        let start = usize::try_from((index << within) % TILE_WIDTH).unwrap_or(usize::MAX);
        let hashes = self.tile(tile_level, tile_index)?;
        let covered = hashes.get(start..).and_then(|from| from.get(..1 << within));
        match covered {
            Some(hashes) => Ok(tree::root(hashes)),
            None => Err(TileError::from(TreeError::OutsideTree { index, size: self.size }).into()),
        }
    }

    fn tile(&mut self, level: u8, index: u64) -> Result<&[Hash], E> {
        use std::collections::hash_map::Entry;
        match self.tiles.entry((level, index)) {
            Entry::Occupied(tile) => Ok(tile.into_mut()),
            Entry::Vacant(empty) => {
                let outside = TileError::from(TreeError::OutsideTree { index, size: self.size });
                let path = TilePath::at_size(TileKind::Hashes(level), index, self.size).ok_or(outside)?;
                Ok(empty.insert(parse_hashes(path, &(self.read)(path)?)?))
            }
        }
    }
}

/// Carries a caller's error through the functions of `tree`, which may add errors of their own.
struct Wrapped<E>(E);

impl<E: From<TileError>> From<TreeError> for Wrapped<E> {
    fn from(error: TreeError) -> Self {
        Wrapped(TileError::from(error).into())
    }
}

/// The right edge of a growing tree: for each tile level the hashes of its last, partial tile. At most 255 hashes
/// (8 KiB) a level, and a level more for every factor of 256.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf and returns the tiles that it filled, lowest first.
    pub(crate) fn push(&mut self, leaf: Hash) -> Vec<(TilePath, Vec<Hash>)> {
        let mut filled = Vec::new();
        let mut carried = Some(leaf);
        self.size += 1;
        let mut level = 0u8;
        while let Some(hash) = carried.take() {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(usize::from(level)) else { break };
            hashes.push(hash);
            if hashes.len() as u64 == TILE_WIDTH {
                let hashes = std::mem::take(hashes);
                carried = Some(tree::root(&hashes));
                let index = (self.size >> (TILE_HEIGHT * (u32::from(level) + 1))) - 1;
                filled.push((TilePath { kind: TileKind::Hashes(level), index, width: TILE_WIDTH }, hashes));
            }
            level += 1;
        }
        filled
    }

    /// The partial tiles at the edge, lowest first.
    pub(crate) fn partial(&self) -> impl Iterator<Item = (TilePath, &[Hash])> {
        self.levels.iter().zip(0u8..).filter(|(hashes, _)| !hashes.is_empty()).map(|(hashes, level)| {
            let index = self.size.checked_shr(TILE_HEIGHT * (u32::from(level) + 1)).unwrap_or(0);
            let path = TilePath { kind: TileKind::Hashes(level), index, width: hashes.len() as u64 };
            (path, hashes.as_slice())
        })
    }

    /// The root of the whole tree: the complete subtrees on the edge, joined from the smallest up.
    pub(crate) fn root(&self) -> Hash {
        let mut joined: Option<Hash> = None;
        for hashes in &self.levels {
            let mut rest = hashes.as_slice();
            let mut subtrees = Vec::new();
            while !rest.is_empty() {
                let (subtree, after) = rest.split_at(1 << rest.len().ilog2());
                subtrees.push(tree::root(subtree));
                rest = after;
            }
            for left in subtrees.iter().rev() {
                joined = Some(joined.map_or(*left, |right| tree::node_hash(left, &right)));
            }
        }
        joined.unwrap_or_else(tree::empty_root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn paths_are_as_in_the_specification() {
        let path = |index| TilePath { kind: TileKind::Hashes(0), index, width: 256 }.to_string();
        assert_eq!(path(0), "tile/0/000");
        assert_eq!(path(999), "tile/0/999");
        assert_eq!(path(1000), "tile/0/x001/000");
        assert_eq!(path(1_234_067), "tile/0/x001/x234/067");
        assert_eq!(path(1_000_000_007), "tile/0/x001/x000/x000/007");
        let at = |kind, index, size| TilePath::at_size(kind, index, size).map(|tile| tile.to_string());
        assert_eq!(at(TileKind::Entries, 273, 70_000).as_deref(), Some("tile/entries/273.p/112"));
        assert_eq!(at(TileKind::Hashes(1), 1, 70_000).as_deref(), Some("tile/1/001.p/17"));
        assert_eq!(at(TileKind::Hashes(2), 0, 70_000).as_deref(), Some("tile/2/000.p/1"));
        assert_eq!(at(TileKind::Hashes(3), 0, 70_000), None);
        assert_eq!(at(TileKind::Hashes(1), 0, 256).as_deref(), Some("tile/1/000.p/1"));
    }

    #[test]
    fn refuses_paths_that_are_not_in_the_one_form() {
        for wrong in [
            "",
            "checkpoint",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/../000",
            "tile/data/000",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/entries/000.p/1/",
            "tile/0/+01",
            "tile/0/000.p/5.p/5",
        ] {
            assert!(wrong.parse::<TilePath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_edge_gives_the_tiles_and_roots_of_every_size() {
        let mut edge = Edge::default();
        let mut leaves = Vec::new();
        let mut full = BTreeMap::new();
        for size in 1..=70_000u64 {
            let leaf = tree::leaf_hash(&size.to_be_bytes());
            leaves.push(leaf);
            full.extend(edge.push(leaf));
            if size > 600 && size % 9973 != 0 && ![65_535, 65_536, 65_537, 70_000].contains(&size) {
                continue;
            }
            assert_eq!(edge.root(), tree::root(&leaves), "root at {size}");
            let partial: BTreeMap<_, _> =
                edge.partial().map(|(path, hashes)| (path, hashes.to_vec())).collect();
            let read = |path: TilePath| {
                let hashes = full.get(&path).or_else(|| partial.get(&path));
                Ok::<_, TileError>(write_hashes(hashes.unwrap_or_else(|| panic!("{path} at {size}"))))
            };
            let mut tiles = TileTree::new(size, read);
            assert_eq!(tiles.root().unwrap(), tree::root(&leaves));
            for index in [0, size / 3, size / 2, size - 1] {
                let proof = tiles.inclusion_proof(index).unwrap();
                let leaf = &leaves[index as usize];
                tree::verify_inclusion(leaf, index, size, &proof, &tree::root(&leaves)).unwrap();
                let proof = tiles.consistency_proof(index).unwrap();
                let old = tree::root(&leaves[..index as usize]);
                tree::verify_consistency((index, &old), (size, &tree::root(&leaves)), &proof).unwrap();
            }
            assert!(tiles.inclusion_proof(size).is_err());
        }
    }

    #[test]
    fn refuses_tiles_of_another_length() {
        let path: TilePath = "tile/entries/000.p/2".parse().unwrap();
        assert_eq!(parse_entries(path, b"\0\x01a\0\0").unwrap(), [b"a".as_slice(), b""]);
        for wrong in [b"".as_slice(), b"\0\x01a", b"\0\x01a\0", b"\0\x01a\0\x01", b"\0\x01a\0\0\0\0"] {
            assert!(parse_entries(path, wrong).is_err());
        }
        let path: TilePath = "tile/3/000.p/2".parse().unwrap();
        assert!(parse_hashes(path, &[0; 64]).is_ok());
        assert!(parse_hashes(path, &[0; 63]).is_err());
        assert!(parse_hashes(path, &[0; 96]).is_err());
        assert_eq!(prefix(TileKind::Entries, b"\0\x01a\0\x02bc", 1), Some(b"\0\x01a".as_slice()));
        assert_eq!(prefix(TileKind::Entries, b"\0\x01a\0\x02b", 2), None);
        assert_eq!(prefix(TileKind::Hashes(0), &[0; 64], 3), None);
    }

    proptest! {
        #[test]
        fn every_path_parses_to_itself(level in 0u8..64, entries in any::<bool>(), index in any::<u64>(), width in 1u64..=256) {
            let kind = if entries { TileKind::Entries } else { TileKind::Hashes(level) };
            let tile = TilePath { kind, index, width };
            prop_assert_eq!(tile.to_string().parse::<TilePath>(), Ok(tile));
        }
    }
}
