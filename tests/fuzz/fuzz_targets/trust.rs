#![no_main]

libfuzzer_sys::fuzz_target!(
    init: verdict_fuzz::plant("trust", &verdict_fuzz::trust_seeds()),
    |data: &[u8]| verdict_fuzz::trust(data)
);
