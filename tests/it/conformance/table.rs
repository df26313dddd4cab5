//! The table in `docs/conformance.md`.
