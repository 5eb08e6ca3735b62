#![no_main]

libfuzzer_sys::fuzz_target!(
    init: verdict_fuzz::plant("receipt", &verdict_fuzz::receipt_seeds()),
    |data: &[u8]| verdict_fuzz::receipt(data)
);
