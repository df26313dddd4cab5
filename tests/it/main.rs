//! One integration binary: the programs and the library from outside.

#![allow(unreachable_pub, reason = "nothing here is seen from outside")]

mod backup;
mod repository;
mod stores;
mod support;
