//! What the tests stand on.

pub mod foundation;
pub(crate) mod process;
pub(crate) mod request;
