//! One integration binary.

mod layers;
mod repository;
mod stores;
mod support;
