//! Peers that break the rules: each is cut off by name, and nothing that they send makes a session panic or send without bound.

use super::*;

/// A session that has gone through the handshake with an equal peer, and its log.
fn streaming() -> (Session, MemoryLog) {
    let log = written(1..3, 2, 1);
    let mut world = World::new(vec![log.clone(), log.clone()]);
    world.connect(0, 1);
    world.run();
    (world.ends.remove(0).session, log)
}

fn reason_for(frame: &[u8]) -> Option<CloseReason> {
    let (mut session, log) = streaming();
    let mut out = Vec::new();
    session.handle_frame(frame, &log, &mut out).unwrap();
    match out.pop() {
        Some(SessionOutput::Close(reason)) => Some(reason),
        _ => None,
    }
}

#[test]
fn what_breaks_a_rule_closes_the_session_by_name() {
    let log = written(1..3, 2, 1);
    let run = log.sign_after(7, None, vec![vec![1], vec![2]]).encode();
    assert_eq!(reason_for(&frame::encode_runs(std::slice::from_ref(&run))), None);
    let mut bad = run.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert!(matches!(
        reason_for(&frame::encode_runs(&[bad])),
        Some(CloseReason::InvalidRun(InvalidRun::Signature(_)))
    ));
    assert!(matches!(
        reason_for(&frame::encode_runs(&[run[..run.len() - 1].to_vec()])),
        Some(CloseReason::InvalidRun(InvalidRun::Malformed(_)))
    ));
    assert!(matches!(
        reason_for(&frame::encode_hello(&[3; 32])),
        Some(CloseReason::UnexpectedFrame { kind: "hello", phase: "streaming" })
    ));
    assert!(matches!(reason_for(&frame::encode_caught_up()), Some(CloseReason::UnexpectedFrame { .. })));
    assert_eq!(
        reason_for(&frame::encode_credit(1)),
        Some(CloseReason::CreditExceeded { bytes: 1, in_flight: 0 })
    );
    assert!(matches!(reason_for(&[]), Some(CloseReason::Malformed(_))));
    assert!(matches!(reason_for(&[200]), Some(CloseReason::Malformed(_))));
    assert!(matches!(reason_for(&[7; 1_000]), Some(CloseReason::FrameTooLarge { .. })));
    assert_eq!(
        reason_for(&frame::encode_bye("enough\n")),
        Some(CloseReason::ClosedByPeer("enough ".to_owned()))
    );
}

#[test]
fn every_frame_out_of_its_turn_is_unexpected() {
    let frames = [
        frame::encode_proof(&[0; 32]),
        frame::encode_frontier(&MemoryLog::writer(1), &[0; 32], 1, &[]),
        frame::encode_groups(&[]),
        frame::encode_tips(&[]).remove(0),
        frame::encode_whole(&[]).remove(0),
        frame::encode_runs(&[vec![0; 70]]),
        frame::encode_credit(0),
        frame::encode_caught_up(),
    ];
    for frame in frames {
        let mut session = Session::new(config(0, false, 1));
        let mut out = Vec::new();
        session.handle_frame(&frame, &MemoryLog::default(), &mut out).unwrap();
        let Some(SessionOutput::Close(CloseReason::UnexpectedFrame { phase: "hello", .. })) = out.last()
        else {
            panic!("{out:?}");
        };
        out.clear();
        session.handle_frame(&frame, &MemoryLog::default(), &mut out).unwrap();
        assert_eq!(out, []);
    }
}

#[test]
fn a_peer_that_does_not_wait_for_credit_is_cut_off() {
    let (mut session, log) = streaming();
    let mut sender = log.clone();
    let mut out = Vec::new();
    for writer in 100..110 {
        let run = sender.sign_after(writer, None, vec![vec![9; 600_000]]);
        sender.store(run.clone()).unwrap();
        session.handle_frame(&frame::encode_runs(&[run.encode()]), &log, &mut out).unwrap();
    }
    assert!(matches!(out.last(), Some(SessionOutput::Close(CloseReason::CreditExceeded { .. }))));
    let ingested = out.iter().filter(|output| matches!(output, SessionOutput::Ingest(_))).count();
    assert_eq!(ingested as u64, WINDOW_BYTES / 600_000);
}

#[test]
fn what_the_engine_refuses_ends_the_session_with_the_reason_told() {
    let mut left = written(1..2, 1, 1);
    let orphan = {
        let mut elsewhere = MemoryLog::default();
        elsewhere.write(5, 1);
        elsewhere.sign_after(6, None, vec![vec![1]])
    };
    let (mut session, log) = streaming();
    let mut out = Vec::new();
    session.handle_frame(&frame::encode_runs(&[orphan.encode()]), &log, &mut out).unwrap();
    let Some(SessionOutput::Ingest(runs)) = out.pop() else { panic!("{out:?}") };
    let refused = runs.into_iter().try_for_each(|run: VerifiedRun| left.store(run));
    session.runs_stored(refused, &mut out);
    assert_eq!(out.pop(), Some(SessionOutput::Close(CloseReason::Refused("absent parents".to_owned()))));
    let Some(SessionOutput::Send(bye)) = out.pop() else { panic!("{out:?}") };
    assert_eq!(Frame::decode(&bye), Ok(Frame::Bye("entries refused: absent parents")));
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let tips = proptest::collection::vec((0u32..6, 0u64..5, any::<[u8; 32]>()), 0..5).prop_map(|tips| {
        let tips: Vec<Tip> = tips
            .into_iter()
            .map(|(writer, length, head)| Tip {
                writer: MemoryLog::writer(writer),
                length,
                head: crate::ids::EntryHash::from_bytes(head),
            })
            .collect();
        frame::encode_tips(&tips).remove(0)
    });
    let runs = (0u32..6, 1usize..4, any::<u8>()).prop_map(|(writer, count, salt)| {
        let log = MemoryLog::default();
        frame::encode_runs(&[log.sign_after(writer, None, vec![vec![salt]; count]).encode()])
    });
    prop_oneof![
        tips,
        runs,
        proptest::collection::vec(0u32..6, 0..3).prop_map(|writers| {
            let writers: Vec<WriterKey> = writers.into_iter().map(MemoryLog::writer).collect();
            frame::encode_whole(&writers).remove(0)
        }),
        any::<[u8; 32]>().prop_map(|nonce| frame::encode_hello(&nonce)),
        any::<[u8; 32]>().prop_map(|bytes| frame::encode_frontier(
            &MemoryLog::writer(3),
            &bytes,
            usize::from(bytes[0]),
            &[MemoryLog::writer(4)],
        )),
        proptest::collection::vec(any::<[u8; 16]>(), 0..5).prop_map(|prints| frame::encode_groups(&prints)),
        any::<u64>().prop_map(frame::encode_credit),
        Just(frame::encode_caught_up()),
        (0u8..12, proptest::collection::vec(any::<u8>(), 0..200)).prop_map(|(kind, mut bytes)| {
            bytes.insert(0, kind);
            bytes
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_frame_at_any_moment_panics_or_makes_a_session_send_without_bound(
        after in 0usize..14,
        frames in proptest::collection::vec(any_frame(), 1..8),
    ) {
        let mut world = World::new(vec![written(1..4, 2, 1), written(2..6, 2, 1)]);
        world.connect(0, 1);
        for _ in 0..after {
            world.step();
        }
        world.ends[0].inbox.clear();
        let before = world.bytes;
        for frame in frames {
            if world.ends[0].closed.is_none() {
                world.deliver(0, &frame);
            }
        }
        prop_assert!(world.bytes - before < 100_000);
    }
}
