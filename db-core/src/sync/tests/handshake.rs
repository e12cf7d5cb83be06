//! Who gets past the handshake.

use super::*;

#[test]
fn a_peer_without_the_key_learns_nothing_and_is_cut_off() {
    for stranger in [0, 1] {
        let mut world = World::new(vec![written(1..4, 1, 1), written(1..4, 2, 1)]);
        for node in [0, 1] {
            let mut config = config(node, node == 0, node as u8 + 1);
            if node == stranger {
                config.key = DatabaseKey::from_bytes([66; 32]);
            }
            world.connect_end(node, Session::new(config));
        }
        world.start();
        let mut seen = Vec::new();
        loop {
            seen.extend(world.ends[stranger].inbox.iter().map(|frame| frame[0]));
            if !world.step() {
                break;
            }
        }
        assert!(world.ends.iter().all(|end| end.authenticated.is_none()));
        assert!(world.ends.iter().any(|end| end.closed == Some(CloseReason::WrongDatabaseKey)));
        // A greeting, at most a proof, a farewell: no writer, no tips, no entries.
        assert!(seen.iter().all(|kind| [1, 2, 9].contains(kind)), "{seen:?}");
    }
}

#[test]
fn a_proof_for_another_channel_does_not_hold() {
    let mut world = World::new(vec![written(1..4, 1, 1), MemoryLog::default()]);
    world.connect_end(0, Session::new(config(0, true, 1)));
    world.connect_end(1, Session::new(SessionConfig { binding: [9; 32], ..config(1, false, 2) }));
    world.start();
    world.run();
    assert_eq!(world.ends[1].closed, Some(CloseReason::WrongDatabaseKey));
    assert!(matches!(world.ends[0].closed, Some(CloseReason::ClosedByPeer(_))));
}

#[test]
fn what_is_reflected_opens_nothing() {
    for dialer in [true, false] {
        let log = written(1..4, 1, 1);
        // A mirror: every frame goes back as it came.
        let mut session = Session::new(config(0, dialer, 1));
        let mut out = Vec::new();
        session.start(&mut out);
        let SessionOutput::Send(hello) = out.remove(0) else { panic!("no greeting") };
        session.handle_frame(&hello, &log, &mut out).unwrap();
        assert_eq!(out.last(), Some(&SessionOutput::Close(CloseReason::Reflected)));
    }
    // A relay that answers a dialer with the proof the dialer itself gave.
    let log = written(1..4, 1, 1);
    let mut session = Session::new(config(0, true, 1));
    let mut out = Vec::new();
    session.start(&mut out);
    session.handle_frame(&frame::encode_hello(&[2; 32]), &log, &mut out).unwrap();
    let Some(SessionOutput::Send(proof)) = out.pop() else { panic!("no proof") };
    session.handle_frame(&proof, &log, &mut out).unwrap();
    assert_eq!(out.last(), Some(&SessionOutput::Close(CloseReason::WrongDatabaseKey)));
}
