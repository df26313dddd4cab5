//! One integration binary.

mod repository;
