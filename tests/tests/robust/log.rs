//! A log as an auditor reads it: the static files, and nothing of the server's word for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use verdict_ledger::tile::{TileKind, TilePath, parse_entries};
use verdict_ledger::{Checkpoint, VerifierKey, tree};
use verdict_tests::server::Server;

/// The records of a tenant's log, by id, once a checkpoint has at least so many; each is in the tree that is signed.
pub(crate) fn records(server: &Server, tenant: &str, at_least: u64) -> BTreeMap<String, Value> {
    let folder = format!("/v1/tenants/{tenant}/log");
    let words = |path: &str| String::from_utf8(server.bytes(&format!("{folder}/{path}"))).unwrap();
    let key: VerifierKey = words("key").trim().parse().unwrap();
    let began = Instant::now();
    let checkpoint = loop {
        let checkpoint = Checkpoint::verify(&words("checkpoint"), &key).unwrap();
        if checkpoint.size >= at_least {
            break checkpoint;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "only {} are signed", checkpoint.size);
        std::thread::sleep(Duration::from_millis(100));
    };
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
