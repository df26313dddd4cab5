//! One integration binary: the shipped programs, and what only real servers can show.

#![allow(unreachable_pub, reason = "nothing here is seen from outside")]
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod backup;
mod bad_input;
mod confidential;
mod docs;
mod forgery;
mod keygen;
mod recovery;
mod repository;
mod secrets;
mod stores;
mod support;
