//! Writes random questions on random hierarchies of the paper's sizes, a line of JSON each, for comparisons with other
//! engines: `cargo run --example questions -- HIERARCHIES_OF_EACH_SIZE QUESTIONS_OF_EACH`.

use document_sharing::hierarchy::{Hierarchy, Size};

/// So many users, groups, documents and folders each, and so many possible connections exist, as in the paper.
const SIZES: [usize; 7] = [5, 10, 15, 20, 30, 40, 50];
const CONNECTIONS_PER_MILLE: u64 = 50;

const RULES: [&str; 5] = ["read", "write", "share", "change-owner", "create-document"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> =
        std::env::args().skip(1).map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    let [hierarchies, questions] = numbers[..] else {
        return Err("two numbers are needed: HIERARCHIES_OF_EACH_SIZE QUESTIONS_OF_EACH".into());
    };
    let seeds = (0_u64..).zip(SIZES.iter().flat_map(|of_each| (0..hierarchies).map(move |_| *of_each)));
    for (seed, of_each) in seeds {
        let hierarchy =
            Hierarchy::random(seed, Size { of_each, connections_per_mille: CONNECTIONS_PER_MILLE });
        for (index, rule) in (0..questions).zip(RULES.iter().cycle()) {
            // Strides that share no factor with the sizes, and a step a turn through the rules: everything comes up.
            let turn = index / RULES.len();
            let (user, resource) = ((index * 7 + turn * 3) % of_each, (index * 11 + turn) % of_each);
            let input = match *rule {
                "create-document" => hierarchy.input_of_folder(user, resource)?,
                _ => hierarchy.input(user, resource)?,
            };
            println!(r#"{{"hierarchy": {seed}, "rule": "{rule}", "input": {input}}}"#);
        }
    }
    Ok(())
}
