//! Breadth-first search over all states, with the shortest way to a bad one.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::world::{Setup, Step, World};

/// What a search has found.
#[derive(Debug)]
pub(super) enum Found {
    /// Every reachable state is fine.
    Nothing { states: usize },
    /// A bad one, and how to get there.
    Violation { what: &'static str, trace: Vec<Step>, states: usize },
}

/// Two 64-bit lanes of multiply and rotate: 128 bits make a collision among millions of states unlikely beyond concern.
#[derive(Default)]
struct Lanes(u64, u64);

impl Hasher for Lanes {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        self.1 = (self.1.rotate_left(23) ^ word).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn fingerprint(world: &World) -> u128 {
    let mut lanes = Lanes::default();
    world.hash(&mut lanes);
    u128::from(lanes.0 ^ lanes.0 >> 31) << 64 | u128::from(lanes.1 ^ lanes.1 >> 33)
}

/// Visits every state, at most `limit`.
pub(super) fn explore(setup: &Setup, limit: usize) -> Found {
    let start = World::new(setup);
    let mut seen: HashMap<u128, Option<(u128, Step)>> = HashMap::from([(fingerprint(&start), None)]);
    let mut frontier = vec![(fingerprint(&start), start)];
    while !frontier.is_empty() {
        let mut next_frontier = Vec::new();
        for (from, world) in &frontier {
            let from = *from;
            let successors = world.successors(setup);
            if successors.is_empty()
                && let Some(what) = world.unfinished(setup)
            {
                return Found::Violation { what, trace: trace(&seen, from), states: seen.len() };
            }
            for (step, next) in successors {
                let print = fingerprint(&next);
                if seen.contains_key(&print) {
                    continue;
                }
                seen.insert(print, Some((from, step)));
                if let Some(what) = next.violation() {
                    return Found::Violation { what, trace: trace(&seen, print), states: seen.len() };
                }
                next_frontier.push((print, next));
            }
            assert!(seen.len() < limit, "more than {limit} states: make the world smaller");
        }
        frontier = next_frontier;
    }
    Found::Nothing { states: seen.len() }
}

fn trace(seen: &HashMap<u128, Option<(u128, Step)>>, mut at: u128) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(Some((before, step))) = seen.get(&at) {
        steps.push(*step);
        at = *before;
    }
    steps.reverse();
    steps
}
