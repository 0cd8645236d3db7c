//! What a run costs whom: processes from /proc, the kernel's own counters, and Shardcast's own word.

pub mod machine;
pub mod process;
pub mod shardcast;
