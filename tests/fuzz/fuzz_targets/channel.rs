#![no_main]

libfuzzer_sys::fuzz_target!(
    init: verdict_fuzz::plant("channel", &verdict_fuzz::channel_seeds()),
    |data: &[u8]| verdict_fuzz::channel(data)
);
