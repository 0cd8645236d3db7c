//! Where glommio meets bytes: sockets, listeners, TLS, and the table of connections.
//!
//! The only place with `unsafe`: borrowing a descriptor that glommio owns.

pub mod admission;
pub mod connection;
pub mod interfaces;
pub mod listener;
pub mod seldom;
pub mod socket;
pub mod steer;
pub mod takeover;
pub mod tls;
pub mod traffic;
pub mod trains;
pub mod udp;
