//! An exhaustive check of the protocol machines themselves: every interleaving of a small world, with crashes, lost
//! connections and lost acknowledgements, and every rule switched off once to show that the checker would see it.

mod explore;
mod queue;
mod tests;
mod world;
