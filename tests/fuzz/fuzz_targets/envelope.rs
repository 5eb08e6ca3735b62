#![no_main]

libfuzzer_sys::fuzz_target!(
    init: verdict_fuzz::plant("envelope", &verdict_fuzz::envelope_seeds()),
    |data: &[u8]| verdict_fuzz::envelope(data)
);
