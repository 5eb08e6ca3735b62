//! RFC 8785 canonical JSON against the examples of its author.

use verdict_core::jcs;
use verdict_tests::suites::{self, Report};

#[test]
fn writes_the_canonical_text_of_every_example() {
    let Some(folder) = suites::folder("jcs") else { return };
    let mut report = Report::new("jcs");
    for entry in std::fs::read_dir(folder.join("input")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let input: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("input").join(&name)).unwrap()).unwrap();
        let canonical = jcs::canonical(&input).unwrap();
        let output = std::fs::read(folder.join("output").join(&name)).unwrap();
        let hex = std::fs::read_to_string(folder.join("outhex").join(name.replace(".json", ".txt"))).unwrap();
        let bytes: Vec<u8> =
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let same = canonical.as_bytes() == output && canonical.as_bytes() == bytes;
        report.check(&name, same, format!("wrote `{canonical}`"));
    }
    report.finish();
}
