#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shardcast::protocols::proxy::fuzz(data));
