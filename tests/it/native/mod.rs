//! The native dialect on real sockets, over a small world in memory.

mod commands;
mod frames;
mod resume;
pub mod server;
mod start_over;
pub mod world;
