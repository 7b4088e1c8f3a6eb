//! Checkpoint archives: what container engines write, and our own.
