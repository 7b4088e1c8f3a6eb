//! Breadth-first search over all states, with the shortest way to a bad one.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::world::{Setup, Step, World};

/// What a search has found.
#[derive(Debug)]
pub(super) enum Found {
    /// Every reachable state is fine; in so many final ones the queue has changed hands.
    Nothing { states: usize, moved: usize },
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
    let mut moved = 0;
    let mut frontier = vec![(fingerprint(&start), start)];
    while !frontier.is_empty() {
        let mut next_frontier = Vec::new();
        for (from, world) in &frontier {
            let from = *from;
            let successors = world.successors(setup);
            if successors.is_empty() {
                moved += usize::from(world.has_moved());
            }
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
    Found::Nothing { states: seen.len(), moved }
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

/// One random way through a world that is too large to visit whole; whether the queue has changed hands, or the violation and the way to it.
pub(super) fn walk(setup: &Setup, seed: u64) -> Result<bool, (&'static str, Vec<Step>)> {
    let mut world = World::new(setup);
    let mut trace = Vec::new();
    let mut random = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    loop {
        let steps = world.enabled_steps(setup);
        if steps.is_empty() {
            return world.unfinished(setup).map_or_else(|| Ok(world.has_moved()), |what| Err((what, trace)));
        }
        // xorshift64*
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        let drawn = random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        let step = steps[usize::try_from(drawn).expect("31 bits") % steps.len()];
        // Faults are rare, so that there is something for them to hit.
        if step.is_fault() && drawn & 0x7_0000 != 0 && steps.iter().any(|other| !other.is_fault()) {
            continue;
        }
        world.perform(step, setup);
        trace.push(step);
        if let Some(what) = world.violation() {
            return Err((what, trace));
        }
    }
}
