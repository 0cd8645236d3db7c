//! Publishers and players against any live media server's address, and what they saw.

pub mod clock;
pub mod engine;
pub mod floor;
pub mod measure;
pub mod media;
pub mod outcome;
pub mod output;
pub mod play;
pub mod publish;
pub mod require;
pub mod rtc;
pub mod stats;
pub mod units;
pub mod url;
