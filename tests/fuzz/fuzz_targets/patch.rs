#![no_main]

libfuzzer_sys::fuzz_target!(
    init: verdict_fuzz::plant("patch", &verdict_fuzz::patch_seeds()),
    |data: &[u8]| verdict_fuzz::patch(data)
);
