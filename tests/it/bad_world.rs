//! A world that does not play along: wrong addresses, certificates, credentials, scripts,
//! stores and stored objects. Each case ends with exit code 1, nothing on standard output, and
//! one sentence that names the thing and what to do; it shows no secret, lists nothing and
//! leaves nothing on the instances.
//!
//! Configuration that can be refused without asking anybody is in `bad_input.rs`.

mod director;
mod input;
mod instances;
mod reading;
mod ssh;
mod stores;
mod table;
