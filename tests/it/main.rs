//! One integration binary: the shipped programs, and what only real servers can show.

#![allow(unreachable_pub, reason = "nothing here is seen from outside")]
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests are told nothing; they read PATH and $BBR themselves"
)]

mod backup;
mod bad_input;
mod bad_world;
mod bbr;
mod bench;
mod confidential;
mod conformance;
mod damage;
mod disk;
mod docs;
mod documents;
mod drill;
mod faults;
mod forgery;
mod incremental;
mod inventory;
mod keygen;
mod layers;
mod opsman;
mod pipelines;
mod plan;
mod planted;
mod probes;
mod prune;
mod recipients;
mod recovery;
mod replicate;
mod report;
mod repository;
mod resource;
mod restore;
mod scale;
mod secrets;
mod signals;
mod stage;
mod store_faults;
mod stores;
mod support;
mod tasks;
mod verify;
mod year;
