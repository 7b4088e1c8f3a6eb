//! Which faults a migration gets.

use std::time::Duration;

use ms2m_core::Phase;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{Fault, Strike};

/// What can go wrong here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Menu {
    /// Whether the broker can be restarted.
    pub(crate) restart_broker: bool,
    /// Whether connections can be cut off at the broker.
    pub(crate) drop_connections: bool,
    /// Whether the driver can crash and be started again by the demo itself. With processes the tests do it with SIGKILL.
    pub(crate) crash_driver: bool,
    /// Longest pause of a process.
    pub(crate) pause_max: Duration,
    /// Longest time between the beginning of a phase and a fault in it.
    pub(crate) after_max: Duration,
}

const PHASES: [Phase; 6] =
    [Phase::Pending, Phase::Checkpointing, Phase::Transferring, Phase::Restoring, Phase::Replaying, Phase::Finalizing];

/// The faults of leg `number`: none, one or two. The same seed and number always give the same ones.
pub(crate) fn draw(seed: u64, number: u64, menu: &Menu) -> Vec<Strike> {
    let mut dice = StdRng::seed_from_u64(seed.rotate_left(32) ^ number);
    let wanted = match dice.random_range(0..4) {
        0 => 0,
        1 | 2 => 1,
        _ => 2,
    };
    let mut strikes: Vec<Strike> = Vec::new();
    while strikes.len() < wanted {
        let strike = draw_one(&mut dice, menu);
        if strikes.iter().all(|other| fit_together(other.fault, strike.fault)) {
            strikes.push(strike);
        }
    }
    strikes
}

fn draw_one(dice: &mut StdRng, menu: &Menu) -> Strike {
    let fault = loop {
        let pause = between(dice, Duration::from_millis(200), menu.pause_max);
        break match dice.random_range(0..11) {
            0 => Fault::KillSource,
            1 => Fault::KillCopy,
            2 => Fault::PauseSource(pause),
            3 => Fault::PauseCopy(pause),
            4 if menu.drop_connections => Fault::DropSource,
            5 if menu.drop_connections => Fault::DropCopy,
            6 if menu.drop_connections => Fault::DropController,
            7 if menu.restart_broker => Fault::RestartBroker,
            8 => Fault::TransferFails(dice.random_range(1..=3)),
            9 => Fault::TransferHesitates(between(dice, Duration::from_millis(20), Duration::from_millis(500))),
            10 if menu.crash_driver => Fault::CrashDriver,
            _ => continue,
        };
    };
    let phases = match fault {
        Fault::KillSource => &PHASES[2..],
        Fault::KillCopy => &PHASES[3..5],
        Fault::PauseCopy(_) | Fault::DropCopy => &PHASES[3..],
        _ => &PHASES[..],
    };
    let phase = phases[dice.random_range(0..phases.len())];
    Strike { fault, phase, after: between(dice, Duration::ZERO, menu.after_max) }
}

fn between(dice: &mut StdRng, from: Duration, to: Duration) -> Duration {
    from + to.saturating_sub(from).mul_f64(dice.random())
}

/// Whether both together leave somebody alive who has the state. When the source loses the queue, the copy may become its
/// owner without a word from the driver, and must not be killed then.
fn fit_together(one: Fault, other: Fault) -> bool {
    let kills_copy_beside = |fault: Fault, beside: Fault| {
        fault == Fault::KillCopy
            && !matches!(beside, Fault::TransferFails(_) | Fault::TransferHesitates(_) | Fault::DropController | Fault::CrashDriver)
    };
    let same_kind = std::mem::discriminant(&one) == std::mem::discriminant(&other);
    !same_kind && !kills_copy_beside(one, other) && !kills_copy_beside(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_repeatable_and_leave_a_survivor() {
        let menu = Menu {
            restart_broker: true,
            drop_connections: true,
            crash_driver: true,
            pause_max: Duration::from_secs(3),
            after_max: Duration::from_millis(30),
        };
        let mut kinds = std::collections::HashSet::new();
        for number in 1..=2_000 {
            let strikes = draw(7, number, &menu);
            assert_eq!(strikes, draw(7, number, &menu));
            assert!(strikes.len() <= 2);
            let kills = |strike: &&Strike| matches!(strike.fault, Fault::KillCopy | Fault::KillSource);
            assert!(strikes.iter().filter(kills).count() <= 1, "{strikes:?}");
            kinds.extend(strikes.iter().map(|strike| std::mem::discriminant(&strike.fault)));
        }
        assert_eq!(kinds.len(), 11, "every kind is drawn");
        let drawn = |seed| (1..=20).map(|number| draw(seed, number, &menu)).collect::<Vec<_>>();
        assert_ne!(drawn(7), drawn(8));
        let without = Menu { restart_broker: false, crash_driver: false, ..menu };
        let drawn = (1..=2_000).flat_map(|number| draw(7, number, &without));
        assert!(drawn.into_iter().all(|strike| !matches!(strike.fault, Fault::RestartBroker | Fault::CrashDriver)));
    }
}
