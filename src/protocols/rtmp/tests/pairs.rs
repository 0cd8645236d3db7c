//! Our client against our server.
