//! The fuzz targets for a moment: seeds, and a bounded number of random changes to them, the same in every run.

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, reason = "libFuzzer uses the rest")]
mod fuzz;

/// What random bytes seldom are.
const TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"\n",
    b"\n\n",
    b" ",
    b"=",
    b"==",
    b"~",
    b"/",
    b"\"payload\":\"\",",
    b"\"sig\":\"\",",
    b"18446744073709551616",
    b"\xf0\x9f\x98\x80",
    b"\x7f\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80",
    b"{\"a\":1,\"a\":2}",
];

/// Marsaglia's xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.below(24)).min(length)
    }

    fn change(&mut self, data: &mut Vec<u8>, other: &[u8]) {
        let range = self.range(data.len());
        match self.below(8) {
            0 | 1 => {
                let (at, bit) = (self.below(data.len()), self.below(8));
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            2 => data.truncate(range.start),
            3 => drop(data.drain(range)),
            4 => {
                let copy = data[range.clone()].to_vec();
                let at = self.below(data.len() + 1);
                data.splice(at..at, copy);
            }
            5 => drop(data.splice(range, other[self.range(other.len())].iter().copied())),
            6 => {
                drop(data.splice(range.start..range.start, TOKENS[self.below(TOKENS.len())].iter().copied()))
            }
            _ => drop(data.splice(range, TOKENS[self.below(TOKENS.len())].iter().copied())),
        }
    }
}

fn run(target: fn(&[u8]), seeds: &[Vec<u8>], count: usize) {
    seeds.iter().for_each(|seed| target(seed));
    target(b"");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..count {
        let mut data = seeds[random.below(seeds.len())].clone();
        let other = &seeds[random.below(seeds.len())];
        // Mostly one change: much of what breaks is nearly right.
        for _ in 0..=random.below(3).saturating_sub(random.below(2)) {
            random.change(&mut data, other);
        }
        target(&data);
    }
}

#[test]
fn envelopes_hold_for_a_moment() {
    run(fuzz::envelope, &fuzz::envelope_seeds(), 40_000);
}

#[test]
fn receipts_hold_for_a_moment() {
    run(fuzz::receipt, &fuzz::receipt_seeds(), 100_000);
}

#[test]
fn documents_hold_for_a_moment() {
    run(fuzz::document, &fuzz::document_seeds(), 200_000);
}

#[test]
fn components_hold_for_a_moment() {
    run(fuzz::component, &fuzz::component_seeds(), 20_000);
}

#[test]
fn trust_policies_hold_for_a_moment() {
    run(fuzz::trust, &fuzz::trust_seeds(), 5_000);
}

#[test]
fn channel_states_hold_for_a_moment() {
    run(fuzz::channel, &fuzz::channel_seeds(), 10_000);
}

#[test]
fn revocations_hold_for_a_moment() {
    run(fuzz::revocations, &fuzz::revocations_seeds(), 10_000);
}

#[test]
fn data_snapshots_hold_for_a_moment() {
    run(fuzz::snapshot, &fuzz::snapshot_seeds(), 10_000);
}

#[test]
fn patches_hold_for_a_moment() {
    run(fuzz::patch, &fuzz::patch_seeds(), 80_000);
}
