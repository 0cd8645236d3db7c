//! `shardcast-loadtest`.

fn main() {}
