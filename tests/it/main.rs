//! The integration tests: the shipped programs, from outside.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod bad_input;
mod docs;
mod keygen;
mod secrets;
mod support;
