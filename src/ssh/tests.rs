//! Against a real sshd.

mod commands;
mod connecting;
mod losses;
mod routes;
mod streams;
