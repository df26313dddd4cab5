//! The integration tests: the shipped programs, from outside.

mod bad_input;
mod docs;
mod keygen;
mod secrets;
mod support;
