#![no_main]

libfuzzer_sys::fuzz_target!(
    init: verdict_fuzz::plant("snapshot", &verdict_fuzz::snapshot_seeds()),
    |data: &[u8]| verdict_fuzz::snapshot(data)
);
