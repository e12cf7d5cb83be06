use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::driver::stub::StubDatabase;
use crate::driver::{EngineLink, read_topic, refuse, write_topic};
use crate::ids::Topic;

const BINDING: [u8; 32] = [3; 32];

fn impatient() -> ConnectionOptions {
    ConnectionOptions {
        handshake_timeout: Duration::from_millis(200),
        frame_timeout: Duration::from_millis(100),
        keep_alive: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(300),
    }
}

type Running = JoinHandle<Result<(), ConnectionError>>;

/// Runs a connection over one end of a stream; gives the other end and the engine's.
fn connection(options: ConnectionOptions) -> (DuplexStream, EngineLink, Running) {
    let (near, far) = duplex(1_000_000);
    let (link, engine) = PeerLink::pair(Room::of_all());
    (far, engine, tokio::spawn(run_connection(near, link, options, ConnectionMonitor::default())))
}

fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_le_bytes()[..], frame].concat()
}

#[tokio::test]
async fn two_databases_meet_over_a_narrow_stream() {
    let (left, right) = (StubDatabase::new(1, 1), StubDatabase::new(1, 2));
    left.write(100);
    left.write_large(2_000_000);
    right.write(50);
    let (near, far) = duplex(1_000);
    let monitor = ConnectionMonitor::default();
    let options = ConnectionOptions::default();
    let dialing = run_connection(near, left.attach(BINDING, true), options.clone(), monitor.clone());
    let accepting = run_connection(far, right.attach(BINDING, false), options, ConnectionMonitor::default());
    let (dialing, accepting) = (tokio::spawn(dialing), tokio::spawn(accepting));
    assert_eq!(monitor.authenticated().await, right.writer());
    left.holds(151).await;
    right.holds(151).await;
    right.write(1);
    left.holds(152).await;
    assert!(monitor.progress().caught_up);
    assert!(monitor.bytes_sent() > 2_000_000 && monitor.bytes_received() > 5_000);
    dialing.abort();
    assert!(accepting.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_stranger_is_told_to_go_and_both_ends_know_why() {
    let (left, right) = (StubDatabase::new(1, 1), StubDatabase::new(2, 2));
    let (near, far) = duplex(1_000);
    let options = ConnectionOptions::default();
    let dialing =
        run_connection(near, left.attach(BINDING, true), options.clone(), ConnectionMonitor::default());
    let accepting = run_connection(far, right.attach(BINDING, false), options, ConnectionMonitor::default());
    let (dialed, accepted) = tokio::join!(dialing, accepting);
    assert_eq!(accepted.unwrap_err().to_string(), "the peer does not know the database's key");
    assert_eq!(
        dialed.unwrap_err().to_string(),
        "closed by the peer: the peer does not know the database's key"
    );
}

#[tokio::test]
async fn a_frame_that_claims_four_gigabytes_is_refused_at_its_header() {
    let (mut far, mut engine, running) = connection(ConnectionOptions::default());
    far.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    far.write_all(&[6]).await.unwrap();
    let ended = running.await.unwrap();
    assert!(
        matches!(ended, Err(ConnectionError::FrameTooLarge { bytes: 0xFFFF_FFFF, max: 256 })),
        "{ended:?}"
    );
    assert_eq!(engine.inputs.recv().await, Some(PeerInput::Closed));
}

#[tokio::test]
async fn a_stranger_that_says_nothing_or_one_byte_at_a_time_is_cut_off() {
    let (far, _engine, running) = connection(impatient());
    assert!(matches!(running.await.unwrap(), Err(ConnectionError::HandshakeTimeout)));
    drop(far);
    let (mut far, _engine, running) = connection(impatient());
    let slow = async {
        for byte in framed(&[1; 43]) {
            if far.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let ((), ended) = tokio::join!(slow, running);
    assert!(matches!(ended.unwrap(), Err(ConnectionError::HandshakeTimeout)));
}

#[tokio::test]
async fn after_the_handshake_silence_is_fine_while_there_are_signs_of_life() {
    let (mut far, mut engine, running) = connection(impatient());
    for _ in 0..3 {
        far.write_all(&framed(&[1; 43])).await.unwrap();
        assert_eq!(engine.inputs.recv().await, Some(PeerInput::Frame(vec![1; 43].into())));
    }
    for _ in 0..12 {
        far.write_all(&[0; 4]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!running.is_finished());
    let mut heard = [9; 4];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, [0; 4]);
    assert!(matches!(running.await.unwrap(), Err(ConnectionError::IdleTimeout)));
}

#[tokio::test]
async fn a_frame_that_begins_and_does_not_go_on_is_given_up() {
    let (mut far, mut engine, running) = connection(impatient());
    for _ in 0..3 {
        far.write_all(&framed(&[1; 43])).await.unwrap();
        engine.inputs.recv().await.unwrap();
    }
    far.write_all(&10_000_000u32.to_le_bytes()).await.unwrap();
    far.write_all(&vec![6; 70_000]).await.unwrap();
    assert!(matches!(running.await.unwrap(), Err(ConnectionError::FrameTimeout)));
}

#[tokio::test]
async fn a_stream_cut_within_a_frame_is_an_error_and_between_frames_is_not() {
    let (mut far, mut engine, running) = connection(ConnectionOptions::default());
    far.write_all(&framed(&[1; 43])[..20]).await.unwrap();
    drop(far);
    assert_eq!(engine.inputs.recv().await, Some(PeerInput::Closed));
    drop(engine);
    assert!(matches!(running.await.unwrap(), Err(ConnectionError::Io(_))));
    let (far, engine, running) = connection(ConnectionOptions::default());
    drop((far, engine));
    assert!(running.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_up() {
    let (far, engine, running) =
        connection(ConnectionOptions { handshake_timeout: Duration::from_secs(10), ..impatient() });
    engine.outputs.send(PeerOutput::Frame(vec![0; 2_000_000])).await.unwrap();
    assert!(matches!(running.await.unwrap(), Err(ConnectionError::FrameTimeout)));
    drop(far);
}

#[tokio::test]
async fn streams_name_their_topic_and_unknown_ones_are_refused_with_a_reason() {
    let options = impatient();
    let topic = Topic::from_bytes([5; 32]);
    let (mut near, mut far) = duplex(1_000);
    write_topic(&mut near, &topic).await.unwrap();
    assert_eq!(read_topic(&mut far, &options).await.unwrap(), topic);
    let database = StubDatabase::new(1, 1);
    let dialing =
        run_connection(near, database.attach(BINDING, true), options.clone(), ConnectionMonitor::default());
    let refusing = async {
        refuse(&mut far, "no database of this topic").await.unwrap();
        far.read_to_end(&mut Vec::new()).await
    };
    let (dialed, _) = tokio::join!(dialing, refusing);
    assert_eq!(dialed.unwrap_err().to_string(), "closed by the peer: no database of this topic");

    let (mut near, mut far) = duplex(1_000);
    near.write_all(&[b'G'; 40]).await.unwrap();
    assert!(matches!(read_topic(&mut far, &options).await, Err(ConnectionError::Preamble)));
    assert!(matches!(read_topic(&mut far, &options).await, Err(ConnectionError::HandshakeTimeout)));
}
