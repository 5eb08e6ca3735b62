#![no_main]

libfuzzer_sys::fuzz_target!(
    init: verdict_fuzz::plant("revocations", &verdict_fuzz::revocations_seeds()),
    |data: &[u8]| verdict_fuzz::revocations(data)
);
