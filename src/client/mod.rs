//! The client's side of the wire, for what the program itself asks of a running server: `tail`, `chaos`, `bench`.

pub mod sse;
pub mod ws;
