//! Publishers and players against any live media server's address, and what they saw.

pub mod clock;
pub mod media;
pub mod play;
pub mod stats;
pub mod units;
pub mod url;
