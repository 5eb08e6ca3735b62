#![no_main]

libfuzzer_sys::fuzz_target!(
    init: verdict_fuzz::plant("component", &verdict_fuzz::component_seeds()),
    |data: &[u8]| verdict_fuzz::component(data)
);
