//! One integration binary.

mod repository;
mod stores;
mod support;
