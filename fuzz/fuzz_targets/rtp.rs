#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shardcast::protocols::rtp::fuzz(data));
