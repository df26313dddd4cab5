//! What the real bbr reads and writes.
