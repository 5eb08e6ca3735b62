//! Looks at many bytes at once.

use wide::u8x16;

/// Finds the bytes that a string cannot have as they are: quotes, backslashes and control characters. They are looked
/// for in blocks, each once, so that finding one does not wait for the bytes.
pub(super) struct Specials<'a> {
    bytes: &'a [u8],
    /// Where the current block begins, and which of its bytes are special, from the lowest bit on.
    block: usize,
    specials: u64,
}

const BLOCK: usize = 64;

impl<'a> Specials<'a> {
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, block: 0, specials: specials_of_block(bytes, 0) }
    }

    /// The first special byte from `at` on; the end of the text if there is none.
    #[inline(always)]
    pub(super) fn from(&mut self, at: usize) -> usize {
        let block = at & !(BLOCK - 1);
        if block != self.block {
            self.block = block;
            self.specials = specials_of_block(self.bytes, block);
        }
        let mut left = self.specials >> (at % BLOCK) << (at % BLOCK);
        while left == 0 {
            self.block += BLOCK;
            self.specials = specials_of_block(self.bytes, self.block);
            left = self.specials;
        }
        self.block + left.trailing_zeros() as usize
    }
}

/// Which bytes of the block that begins at `at` are special. After the end of the text all are.
#[inline(always)]
fn specials_of_block(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(block) => specials(block),
        None => {
            let mut block = [0; BLOCK];
            block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            specials(&block)
        }
    }
}

#[inline(always)]
fn specials(block: &[u8; BLOCK]) -> u64 {
    let (chunks, _) = block.as_chunks();
    let of = |chunk: &[u8; 16]| {
        let bytes = u8x16::new(*chunk);
        u64::from((is(bytes, b'"') | is(bytes, b'\\') | at_most(bytes, 0x1f)).to_bitmask())
    };
    chunks.iter().rev().fold(0, |specials, chunk| specials << 16 | of(chunk))
}

#[inline(always)]
fn is(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.simd_eq(u8x16::splat(byte))
}

#[inline(always)]
fn at_most(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.min(u8x16::splat(byte)).simd_eq(bytes)
}

/// How many bytes at the start are white space.
#[inline(always)]
pub(super) fn space(chunk: &[u8; 16]) -> usize {
    let bytes = u8x16::new(*chunk);
    let space = is(bytes, b' ') | is(bytes, b'\t') | is(bytes, b'\n') | is(bytes, b'\r');
    space.to_bitmask().trailing_ones() as usize
}

/// How many bytes at the start are neither quotes nor backslashes.
#[inline(always)]
pub(super) fn plain(chunk: &[u8; 16]) -> usize {
    let bytes = u8x16::new(*chunk);
    (is(bytes, b'"') | is(bytes, b'\\')).to_bitmask().trailing_zeros().min(16) as usize
}

/// How many bytes at the start are decimal digits.
#[inline(always)]
pub(super) fn digits(chunk: &[u8; 16]) -> usize {
    let digits = at_most(u8x16::new(*chunk) - u8x16::splat(b'0'), 9);
    digits.to_bitmask().trailing_ones() as usize
}
