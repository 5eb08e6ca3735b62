//! One suite for every place that blobs are kept in, a fault at every step of each, and power and processes that end.

mod conformance;
#[cfg(feature = "objects")]
mod emulators;
mod faults;
mod forgetful;
mod kill;
#[cfg(feature = "objects")]
mod objects;

use super::*;

/// Small, seeded, good enough to choose with (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// Some bytes, others for another seed.
fn some(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ len as u64;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}

/// On a directory of its own or on one that forgets.
fn on_directory(directory: Directory, limits: Limits, part_bytes: usize) -> Blobs {
    Blobs::on(Backend::Directory(directory), "directory".into(), limits, part_bytes)
}
