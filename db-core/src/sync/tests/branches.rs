//! Logs that are forked: whoever meets ends with all branches.

use super::*;

#[test]
fn peers_with_different_branches_end_with_both() {
    for (ours, theirs) in [(1, 1), (3, 1), (1, 3), (5, 4)] {
        let mut left = written(1..4, 2, 2);
        let mut right = left.clone();
        left.write_branch(2, ours, 50);
        left.write(3, 1);
        right.write_branch(2, theirs, 60);
        right.write(1, 1);
        let mut world = World::new(vec![left, right]);
        world.connect(0, 1);
        world.run();
        world.assert_equal();
        assert_eq!(
            world.logs[0].tips().unwrap().iter().filter(|t| t.writer == MemoryLog::writer(2)).count(),
            2
        );
        let before = world.delivered;
        world.cut();
        world.connect(0, 1);
        world.run();
        world.assert_equal();
        assert_eq!(world.delivered - before, 6);
    }
}

#[test]
fn three_branches_spread_over_three_peers_end_everywhere() {
    let common = written(1..4, 2, 2);
    let mut logs = vec![common.clone(), common.clone(), common];
    for (node, log) in logs.iter_mut().enumerate() {
        log.write_branch(2, node as u64 + 1, node as u8 + 50);
        // What stands on one branch alone must not come before it.
        log.write(node as u32 + 10, 1);
    }
    let mut world = World::new(logs);
    world.connect(0, 1);
    world.connect(1, 2);
    world.connect(2, 0);
    world.run();
    world.assert_equal();
    assert_eq!(world.logs[0].tips().unwrap().iter().filter(|t| t.writer == MemoryLog::writer(2)).count(), 3);
}

#[test]
fn one_branch_more_than_the_peer_has_is_sent_and_no_less() {
    let mut left = written(1..3, 3, 1);
    let mut right = left.clone();
    let fork = Tip {
        length: 1,
        ..left.tips().unwrap().into_iter().find(|t| t.writer == MemoryLog::writer(1)).unwrap()
    };
    let first = left.run_at(left.number_at(&fork.writer, 0).unwrap().unwrap()).unwrap().unwrap();
    let fork = Tip { head: first.run.entries()[0].hash, ..fork };
    left.write_after(1, Some(fork), vec![vec![1], vec![2]]);
    right.write(2, 2);
    let mut world = World::new(vec![left, right]);
    world.connect(0, 1);
    world.run();
    world.assert_equal();
}

#[test]
fn a_large_forked_log_is_searched_in_turns() {
    let mut left = MemoryLog::default();
    for writer in 1..6_000 {
        left.write(writer, 1);
    }
    left.write_after(1, None, vec![vec![1], vec![2]]);
    let mut right = left.clone();
    left.write_after(2, None, vec![vec![3]]);
    right.write(2, 1);
    let mut world = World::new(vec![left, right]);
    world.connect(0, 1);
    world.run();
    world.assert_equal();
}
