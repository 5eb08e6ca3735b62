//! Writes one random question: `cargo run --example hierarchy -- SEED OF_EACH CONNECTIONS_PER_MILLE`.

use document_sharing::hierarchy::{Hierarchy, Size};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<u64> =
        std::env::args().skip(1).map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    let [seed, of_each, connections_per_mille] = numbers[..] else {
        return Err("three numbers are needed: SEED OF_EACH CONNECTIONS_PER_MILLE".into());
    };
    let size = Size { of_each: usize::try_from(of_each)?, connections_per_mille };
    println!("{}", Hierarchy::random(seed, size).input(0, 0)?);
    Ok(())
}
