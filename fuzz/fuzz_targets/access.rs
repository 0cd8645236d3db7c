#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shardcast::access::fuzz(data));
