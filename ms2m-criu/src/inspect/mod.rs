//! What is in a checkpoint, and whether it can be restored here.
