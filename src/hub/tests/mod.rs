//! The hub through its public face, with real sockets; what must hold on every transport runs on every transport.

mod bounds;
mod delivery;
mod join;
mod late;
mod life;
mod pace;
mod reading;
mod support;
