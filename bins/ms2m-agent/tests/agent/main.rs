//! The real program, as a process: its contract, its operations port, its end, its death at any byte, its memory.

mod conformance;
mod image_store;
mod killed;
mod memory;
mod operations;
mod process;
