//! What the tests stand on.

pub mod depot;
pub mod foundation;
pub mod pipeline;
pub mod process;
pub mod request;
pub mod scene;
