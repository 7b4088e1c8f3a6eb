use ms2m_core::Digest;
use proptest::prelude::*;

use super::*;

fn body(publisher: &str, seq: u64) -> Digest {
    Digest::of(format!("{publisher}/{seq}").as_bytes())
}

/// The log of a consumer that applies these messages one after another.
fn log(messages: &[(&str, u64)]) -> Vec<EffectRecord> {
    let mut state = Digest::default();
    let mut records = Vec::new();
    for (n, (publisher, seq)) in (1..).zip(messages) {
        state = fold(state, n, publisher, *seq, body(publisher, *seq));
        records.push(EffectRecord {
            consumer_n: n,
            index: 0,
            publisher: (*publisher).to_owned(),
            seq: *seq,
            body_digest: body(publisher, *seq),
            state_digest: state,
        });
    }
    records
}

fn sent_by(publishers: &[&str], count: u64) -> Auditor {
    let mut auditor = Auditor::new();
    for publisher in publishers {
        for seq in 1..=count {
            auditor.sent(publisher, seq, body(publisher, seq));
            auditor.confirmed(publisher, seq);
        }
    }
    auditor
}

fn hear(auditor: &mut Auditor, effects: &[EffectRecord]) -> Verdict {
    effects.iter().for_each(|effect| auditor.effect(effect));
    auditor.finish()
}

#[test]
fn a_correct_log_is_exact() {
    let mut auditor = sent_by(&["a", "b"], 3);
    let effects = log(&[("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 3), ("b", 3)]);
    let verdict = hear(&mut auditor, &effects);
    assert_eq!(verdict, Verdict { published: 6, seen: 6, exact: true, ..Verdict::default() });
}

#[test]
fn nothing_at_all_is_exact_and_nothing_seen_is_lost() {
    assert!(Auditor::new().finish().exact);
    let verdict = sent_by(&["a"], 4).finish();
    assert_eq!((verdict.published, verdict.lost, verdict.exact), (4, 4, false));
    assert!(verdict.first_findings[0].contains("the first one 1 of a"), "{verdict:?}");
}

#[test]
fn a_lost_message_is_lost_even_when_the_consumer_never_notices() {
    let mut auditor = sent_by(&["a"], 5);
    let verdict = hear(&mut auditor, &log(&[("a", 1), ("a", 2), ("a", 4), ("a", 5)]));
    assert_eq!((verdict.lost, verdict.state_mismatches, verdict.exact), (1, 0, false));
    assert_eq!(auditor.verdict().lost, 1, "known as soon as it is overtaken");
}

#[test]
fn what_was_never_confirmed_may_be_missing_or_there() {
    let mut auditor = Auditor::new();
    for seq in 1..=3 {
        auditor.sent("a", seq, body("a", seq));
    }
    auditor.confirmed("a", 1);
    let verdict = hear(&mut auditor, &log(&[("a", 1), ("a", 3)]));
    assert_eq!((verdict.published, verdict.seen, verdict.lost, verdict.exact), (2, 2, 0, true));
}

#[test]
fn an_effect_repeated_to_the_bit_is_no_fault_and_any_other_is() {
    let messages: Vec<_> = (1..=8).map(|seq| ("a", seq)).collect();
    let effects = log(&messages);
    let mut auditor = sent_by(&["a"], 8);
    effects[..6].iter().for_each(|effect| auditor.effect(effect));
    effects[3..].iter().for_each(|effect| auditor.effect(effect));
    let verdict = auditor.finish();
    assert_eq!((verdict.repeated_effects, verdict.doubled, verdict.exact), (3, 0, true));
    let altered = EffectRecord { state_digest: Digest::of(b"other"), ..effects[5].clone() };
    auditor.effect(&altered);
    let verdict = auditor.finish();
    assert_eq!((verdict.conflicts, verdict.doubled, verdict.exact), (1, 1, false));
}

#[test]
fn a_message_may_have_several_effects() {
    let mut effects = log(&[("a", 1), ("a", 2)]);
    let second = EffectRecord { index: 1, ..effects[0].clone() };
    effects.insert(1, second.clone());
    effects.insert(2, second);
    let verdict = hear(&mut sent_by(&["a"], 2), &effects);
    assert_eq!((verdict.seen, verdict.repeated_effects, verdict.exact), (2, 1, true));
}

#[test]
fn a_second_copy_of_the_publishers_own_making_is_told_apart() {
    let mut auditor = sent_by(&["a"], 4);
    auditor.uncertain("a", 2);
    auditor.uncertain("a", 3);
    let verdict = hear(&mut auditor, &log(&[("a", 1), ("a", 2), ("a", 3), ("a", 2), ("a", 3), ("a", 4)]));
    assert_eq!((verdict.publisher_duplicates, verdict.doubled, verdict.exact), (2, 0, true));
    let once_more = log(&[("a", 1), ("a", 2), ("a", 3), ("a", 2), ("a", 3), ("a", 4), ("a", 2)]);
    auditor.effect(&once_more[6]);
    assert_eq!((auditor.finish().doubled, auditor.finish().exact), (1, false), "only as many copies as were sent again");
}

/// Bind a second queue, checkpoint, replay: the copy starts from an older state and applies what the source has applied too.
#[test]
fn the_published_scheme_is_caught() {
    let mut auditor = sent_by(&["a"], 20);
    let source: Vec<_> = (1..=12).map(|seq| ("a", seq)).collect();
    // The image stands at 8, the second queue was bound after 6 and dropped with 18 still in it.
    let copy: Vec<_> = (1..=8).chain(7..=17).map(|seq| ("a", seq)).collect();
    let verdict = hear(&mut auditor, &[log(&source), log(&copy)[8..].to_vec()].concat());
    assert!(!verdict.exact && verdict.doubled > 0 && verdict.conflicts > 0, "{verdict:?}");
    assert_eq!(verdict.lost, 3);
    assert!(verdict.first_findings.len() <= 10);
}

#[test]
fn unknown_publishers_bodies_and_messages_are_findings() {
    let mut effects = log(&[("a", 1), ("x", 1), ("a", 9)]);
    effects[0].body_digest = Digest::of(b"altered");
    effects[0].state_digest = fold(Digest::default(), 1, "a", 1, effects[0].body_digest);
    let mut auditor = sent_by(&["a"], 1);
    let verdict = hear(&mut auditor, &effects);
    assert_eq!((verdict.altered, verdict.unknown, verdict.state_mismatches, verdict.exact), (1, 2, 1, false));
}

#[test]
fn counts_go_to_the_migration_in_which_they_come_to_light() {
    let mut auditor = sent_by(&["a"], 9);
    let effects = log(&[("a", 1), ("a", 2), ("a", 4), ("a", 5), ("a", 6), ("a", 3), ("a", 7), ("a", 8), ("a", 9)]);
    effects[..2].iter().for_each(|effect| auditor.effect(effect));
    let first = auditor.checkpoint_verdict();
    assert_eq!((first.seen, first.lost, first.exact), (2, 0, true), "what is under way is not lost");
    effects[2..5].iter().for_each(|effect| auditor.effect(effect));
    let second = auditor.checkpoint_verdict();
    assert_eq!((second.published, second.seen, second.lost, second.exact), (0, 3, 1, false));
    assert!(!second.first_findings.is_empty());
    effects[5..7].iter().for_each(|effect| auditor.effect(effect));
    let third = auditor.checkpoint_verdict();
    assert_eq!((third.seen, third.lost, third.reordered, third.exact), (2, 0, 1, false));
    effects[7..].iter().for_each(|effect| auditor.effect(effect));
    assert!(auditor.checkpoint_verdict().exact);
    let whole = auditor.finish();
    assert_eq!((whole.lost, whole.reordered, whole.exact), (0, 1, false), "a verdict of the whole run forgets nothing");
}

#[test]
fn memory_does_not_grow_with_the_run() {
    let limits = AuditLimits { window_effects: 1_000, overtaken_max: 100 };
    let mut auditor = Auditor::with_limits(limits);
    let (mut state, mut n) = (Digest::default(), 0);
    for seq in 1..=100_000_u64 {
        auditor.sent("a", seq, Digest::default());
        auditor.confirmed("a", seq);
        if seq % 10 == 0 {
            auditor.uncertain("a", seq);
        }
        if seq % 50 == 0 {
            continue;
        }
        n += 1;
        state = fold(state, n, "a", seq, Digest::default());
        let (publisher, body_digest) = ("a".to_owned(), Digest::default());
        auditor.effect(&EffectRecord { consumer_n: n, index: 0, publisher, seq, body_digest, state_digest: state });
    }
    assert!(auditor.remembered() < 1_000 + 100 + 6_600, "{}", auditor.remembered());
    let verdict = auditor.finish();
    assert_eq!((verdict.lost, verdict.seen, verdict.published), (2_000, 98_000, 100_000), "what is forgotten is still counted");
}

/// Every message is seen, half of them by a consumer whose state was thrown away.
#[test]
fn what_the_surviving_history_lacks_is_lost() {
    let mut auditor = sent_by(&["a"], 6);
    let all: Vec<_> = (1..=6).map(|seq| ("a", seq)).collect();
    log(&all[..4]).iter().for_each(|effect| auditor.effect(effect));
    // From a copy of the state after 2, which goes on with 5.
    let other = log(&[("a", 1), ("a", 2), ("a", 5), ("a", 6)]);
    let verdict = hear(&mut auditor, &other[2..]);
    assert_eq!((verdict.seen, verdict.conflicts, verdict.lost, verdict.exact), (6, 2, 2, false), "{verdict:?}");
}

/// An interleaving of three publishers' messages, each in its own order.
fn interleaving() -> impl Strategy<Value = Vec<(&'static str, u64)>> {
    proptest::collection::vec(0..3_usize, 2..60).prop_map(|choices| {
        let mut next = [0; 3];
        let interleave = |choice: usize| {
            next[choice] += 1;
            (["a", "b", "c"][choice], next[choice])
        };
        choices.into_iter().map(interleave).collect()
    })
}

fn auditor_of(messages: &[(&str, u64)]) -> Auditor {
    let mut auditor = Auditor::new();
    let mut sorted = messages.to_vec();
    sorted.sort_unstable();
    for (publisher, seq) in sorted {
        auditor.sent(publisher, seq, body(publisher, seq));
        auditor.confirmed(publisher, seq);
    }
    auditor
}

proptest! {
    #[test]
    fn any_interleaving_is_exact(messages in interleaving(), repeat in any::<(prop::sample::Index, prop::sample::Index)>()) {
        let mut auditor = auditor_of(&messages);
        let effects = log(&messages);
        let (cut, back) = (repeat.0.index(effects.len()), repeat.1.index(effects.len()).min(repeat.0.index(effects.len())));
        effects[..cut].iter().for_each(|effect| auditor.effect(effect));
        let verdict = hear(&mut auditor, &effects[back..]);
        prop_assert!(verdict.exact, "{verdict:?}");
        prop_assert_eq!(verdict.seen, messages.len() as u64);
        prop_assert_eq!(verdict.repeated_effects, (cut - back) as u64);
    }

    /// The consumer itself is consistent here: only what publishers sent tells that something is missing.
    #[test]
    fn a_consistent_consumer_that_drops_is_caught(messages in interleaving(), which in any::<prop::sample::Index>()) {
        let mut applied = messages.clone();
        applied.remove(which.index(messages.len()));
        let verdict = hear(&mut auditor_of(&messages), &log(&applied));
        prop_assert_eq!((verdict.lost, verdict.exact), (1, false));
    }

    #[test]
    fn a_consistent_consumer_that_doubles_is_caught(messages in interleaving(), which in any::<(prop::sample::Index, prop::sample::Index)>()) {
        let from = which.0.index(messages.len());
        let to = from + 1 + which.1.index(messages.len() - from);
        let mut applied = messages.clone();
        applied.insert(to, messages[from]);
        let verdict = hear(&mut auditor_of(&messages), &log(&applied));
        prop_assert_eq!((verdict.doubled, verdict.lost, verdict.exact), (1, 0, false));
    }

    #[test]
    fn a_consistent_consumer_that_reorders_is_caught(messages in interleaving(), which in any::<(prop::sample::Index, prop::sample::Index)>()) {
        let (i, j) = (which.0.index(messages.len()), which.1.index(messages.len()));
        prop_assume!(messages[i].0 == messages[j].0 && i != j);
        let mut applied = messages.clone();
        applied.swap(i, j);
        let verdict = hear(&mut auditor_of(&messages), &log(&applied));
        prop_assert!(verdict.reordered > 0 && verdict.lost == 0 && !verdict.exact, "{verdict:?}");
    }

    /// A sink's log with anything done to it.
    #[test]
    fn a_tampered_log_is_never_exact(
        messages in interleaving(),
        which in any::<(prop::sample::Index, prop::sample::Index)>(),
        how in 0..4_u8,
    ) {
        let mut effects = log(&messages);
        let (i, j) = (which.0.index(effects.len()), which.1.index(effects.len()));
        match how {
            0 => drop(effects.remove(i)),
            1 if i != j => effects.swap(i, j),
            1 => effects[i].state_digest = Digest::of(b"other"),
            2 => effects[i].body_digest = Digest::of(b"other"),
            _ => effects[i].consumer_n += 1,
        }
        let verdict = hear(&mut auditor_of(&messages), &effects);
        prop_assert!(!verdict.exact, "{verdict:?}");
    }
}
