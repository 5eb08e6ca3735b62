//! A log as an auditor reads it: the static files, and nothing of the server's word for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use verdict_ledger::tile::{TileKind, TilePath, parse_entries};
use verdict_ledger::{Checkpoint, VerifierKey, tree};
use verdict_tests::server::Server;

/// How long what was told may take until it is signed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The records of a tenant's log, by id, once all that was told is in it.
///
/// A count would not do: the log also has what nobody was told of, and what was asked beside those who were.
pub(crate) fn records<'a>(
    server: &Server,
    tenant: &str,
    told: impl ExactSizeIterator<Item = &'a str> + Clone,
) -> BTreeMap<String, Value> {
    let folder = format!("/v1/tenants/{tenant}/log");
    let words = |path: &str| String::from_utf8(server.bytes(&format!("{folder}/{path}"))).unwrap();
    let key: VerifierKey = words("key").trim().parse().unwrap();
    let began = Instant::now();
    let (mut read, mut missing) = (0, told.clone().next());
    loop {
        let checkpoint = Checkpoint::verify(&words("checkpoint"), &key).unwrap();
        let size = checkpoint.size;
        if size > read && size >= told.len() as u64 {
            let records = signed(server, &folder, &checkpoint);
            missing = told.clone().find(|id| !records.contains_key(*id));
            if missing.is_none() {
                return records;
            }
            read = size;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{missing:?} was told and is not among the {size} that are signed"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The records of a log whose tree this checkpoint signs.
fn signed(server: &Server, folder: &str, checkpoint: &Checkpoint) -> BTreeMap<String, Value> {
    let (mut hashes, mut records) = (Vec::new(), BTreeMap::new());
    for tile in (0..).map_while(|index| TilePath::at_size(TileKind::Entries, index, checkpoint.size)) {
        let bundle = server.bytes(&format!("{folder}/{tile}"));
        for entry in parse_entries(tile, &bundle).unwrap() {
            hashes.push(tree::leaf_hash(entry));
            let record: Value = serde_json::from_slice(entry).unwrap();
            // Others are events of the registry.
            if let Some(id) = record["id"].as_str().map(ToOwned::to_owned) {
                assert!(records.insert(id, record).is_none(), "two records have one id");
            }
        }
    }
    assert_eq!(tree::root(&hashes), checkpoint.root);
    records
}
