#![no_main]

libfuzzer_sys::fuzz_target!(
    init: verdict_fuzz::plant("document", &verdict_fuzz::document_seeds()),
    |data: &[u8]| verdict_fuzz::document(data)
);
