//! Replicas that follow feeds end up with exactly the lists that the cores write straight into a view:
//! whatever the points of flush, with two workers that do not know of each other, records that are there
//! twice, records that are lost, workers that die in the middle of a flush, and replicas that come late.

mod common;

use common::feed::{Feed, Follower, Worker, apply, batches, config, view};
use model::{Batch, Partition};
use proptest::{collection, prelude::*};

const BATCHES: usize = 60;

/// Something that happens to one of the workers of a partition.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// It applies so many batches.
    Apply(usize),
    Flush,
    Keyframe,
    /// A delta, and a keyframe of the same offset.
    FlushAndKeyframe,
    /// So many of the records it has made are appended.
    Append(usize),
    /// Of the records appended last, so many are appended again.
    Again(usize),
    /// What it has not appended is given up.
    Lose,
    /// It writes a checkpoint.
    Save,
    /// A new run takes its place, from the last checkpoint; it applies so many batches before it goes on.
    Die(usize),
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Worker {
        partition: usize,
        worker: usize,
        event: Event,
    },
    /// A replica comes.
    Join,
    /// A replica is replaced by a new one on the same view.
    Rejoin(usize),
    /// All replicas read.
    Read,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1_usize..9).prop_map(Event::Apply),
        5 => Just(Event::Flush),
        1 => Just(Event::Keyframe),
        1 => Just(Event::FlushAndKeyframe),
        8 => (1_usize..12).prop_map(Event::Append),
        1 => (1_usize..5).prop_map(Event::Again),
        1 => Just(Event::Lose),
        1 => Just(Event::Save),
        1 => (0_usize..12).prop_map(Event::Die),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0_usize..2, 0_usize..2, event())
            .prop_map(|(partition, worker, event)| Step::Worker { partition, worker, event }),
        1 => Just(Step::Join),
        1 => (0_usize..3).prop_map(Step::Rejoin),
        4 => Just(Step::Read),
    ]
}

struct World {
    streams: [Vec<Batch>; 2],
    feeds: [Feed; 2],
    workers: [Vec<Worker>; 2],
    runs: u64,
    target_bytes: usize,
}

impl World {
    fn new(seed: u64, target_bytes: usize) -> Self {
        let streams = [0, 1].map(|p| batches(seed, Partition(p), BATCHES));
        let mut world = Self {
            streams,
            feeds: [Feed::default(), Feed::default()],
            workers: [Vec::new(), Vec::new()],
            runs: 0,
            target_bytes,
        };
        for p in 0..2 {
            for _ in 0..2 {
                let worker = world.start(p);
                world.workers[p].push(worker);
            }
        }
        world
    }

    fn start(&mut self, p: usize) -> Worker {
        self.runs += 1;
        Worker::new(self.runs, Partition(p as u32), self.target_bytes, &self.feeds[p])
    }

    fn happen(&mut self, p: usize, w: usize, event: Event) {
        let (batches, feed) = (&self.streams[p], &mut self.feeds[p]);
        let worker = &mut self.workers[p][w];
        let at = worker.state.progress().next.0 as usize;
        match event {
            Event::Apply(count) => apply(&mut worker.state, batches, at + count),
            Event::Flush => _ = worker.flush(false),
            Event::Keyframe => _ = worker.flush(true),
            Event::FlushAndKeyframe => {
                worker.flush(false);
                worker.flush(true);
            }
            Event::Append(count) => worker.append(count, feed),
            Event::Again(count) => worker.append_again(count, feed),
            Event::Lose => worker.lose(),
            Event::Save => worker.save(),
            Event::Die(count) => {
                let mut new = self.start(p);
                new.restore(&self.workers[p][w]);
                let at = new.state.progress().next.0 as usize;
                apply(&mut new.state, &self.streams[p], at + count);
                self.workers[p][w] = new;
            }
        }
    }

    /// Every worker comes to the end.
    fn finish(&mut self, keyframe: bool) {
        for p in 0..2 {
            for worker in &mut self.workers[p] {
                worker.append_all(&mut self.feeds[p]);
                apply(&mut worker.state, &self.streams[p], BATCHES);
                worker.flush(keyframe);
                worker.append_all(&mut self.feeds[p]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn replicas_have_the_lists_of_the_cores(
        seed in any::<u64>(),
        target_bytes in prop_oneof![Just(60_usize), Just(400), Just(1 << 18)],
        steps in collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(seed, target_bytes);
        let mut followers = vec![Follower::join(view(), &world.feeds)];
        for step in steps {
            match step {
                Step::Worker { partition, worker, event } => world.happen(partition, worker, event),
                Step::Join if followers.len() < 3 => {
                    followers.push(Follower::join(view(), &world.feeds));
                }
                Step::Join => {}
                Step::Rejoin(which) => {
                    if which < followers.len() {
                        let Follower { view, .. } = followers.remove(which);
                        followers.push(Follower::join(view, &world.feeds));
                    }
                }
                Step::Read => {
                    for follower in &mut followers {
                        follower.follow(&world.feeds);
                        follower.check(&world.streams);
                    }
                }
            }
        }
        // What was lost on the way may have left a gap; a keyframe ends that.
        for keyframe in [false, true] {
            world.finish(keyframe);
            for follower in &mut followers {
                follower.follow(&world.feeds);
                follower.check(&world.streams);
            }
        }
        followers.push(Follower::join(view(), &world.feeds));
        followers.last_mut().unwrap().follow(&world.feeds);
        for follower in &followers {
            prop_assert_eq!(follower.settled(), Some([BATCHES, BATCHES]));
            follower.check(&world.streams);
        }
    }
}

/// As long as one of two workers lives, its own chain of deltas has no gap, whatever the other does.
#[test]
fn a_standby_goes_on_where_the_other_stopped_in_the_middle_of_a_flush() {
    for seed in 0..20 {
        let mut world = World::new(seed, 100);
        let mut follower = Follower::join(view(), &world.feeds);
        for p in 0..2 {
            world.happen(p, 0, Event::Keyframe);
            world.happen(p, 1, Event::Keyframe);
            for w in 0..2 {
                world.happen(p, w, Event::Append(usize::MAX));
            }
        }
        for round in 0..6 {
            for p in 0..2 {
                for (w, count) in [(0, 7), (1, 4), (1, 3)] {
                    world.happen(p, w, Event::Apply(count));
                    world.happen(p, w, Event::Flush);
                    // From the middle on, the first one's flush stops after its first records.
                    let appended = if w == 0 && round >= 3 { 2 } else { usize::MAX };
                    if !(w == 0 && round > 3) {
                        world.happen(p, w, Event::Append(appended));
                    }
                }
            }
            follower.follow(&world.feeds);
            follower.check(&world.streams);
        }
        assert_eq!(follower.gaps(), 0);
        assert_eq!(
            follower.settled(),
            Some([42, 42]),
            "the standby has passed what was interrupted"
        );
    }
}

/// A worker that flushes just before each keyframe costs those who follow nothing.
#[test]
fn a_keyframe_after_a_flush_is_passed_over() {
    use view::feed::Outcome;

    let mut world = World::new(1, 300);
    let mut follower = Follower::join(view(), &world.feeds);
    for p in 0..2 {
        world.happen(p, 0, Event::Apply(20));
        world.happen(p, 0, Event::Keyframe);
        world.happen(p, 0, Event::Apply(20));
        world.happen(p, 0, Event::FlushAndKeyframe);
        world.happen(p, 0, Event::Append(usize::MAX));
    }
    follower.follow(&world.feeds);
    follower.check(&world.streams);
    let published = follower.outcomes.iter().filter(|&&o| o == Outcome::Published).count();
    assert_eq!(published, 4);
    assert_eq!(follower.outcomes.last(), Some(&Outcome::Known));
    let mut late = Follower::join(view(), &world.feeds);
    late.follow(&world.feeds);
    late.check(&world.streams);
    assert_eq!(config().partitions.get(), 2);
}

/// What was lost tells of days that were dropped; the keyframe that ends the gap does not name them.
#[test]
fn a_keyframe_after_a_gap_leaves_no_day_that_is_not_kept() {
    let mut world = World::new(4, 400);
    let mut follower = Follower::join(view(), &world.feeds);
    for (count, lost) in [(25, false), (30, true), (5, false)] {
        for p in 0..2 {
            world.happen(p, 0, Event::Apply(count));
            world.happen(p, 0, Event::Flush);
            world.happen(p, 0, if lost { Event::Lose } else { Event::Append(usize::MAX) });
        }
        let before = follower.view.stats().closed_days;
        follower.follow(&world.feeds);
        follower.check(&world.streams);
        assert_eq!(before == follower.view.stats().closed_days, lost);
    }
    assert_eq!(follower.settled(), Some([60, 60]));
}

/// Keyframes of two workers, one behind the other, that get mixed: the newer values stay.
#[test]
fn a_new_replica_takes_mixed_keyframes() {
    let mut world = World::new(3, 200);
    for p in 0..2 {
        for (w, to) in [(0, 50), (1, 40)] {
            world.happen(p, w, Event::Apply(to));
            let count = world.workers[p][w].flush(true);
            world.happen(p, w, Event::Append(count - 1));
        }
    }
    let mut follower = Follower::join(view(), &world.feeds);
    follower.follow(&world.feeds);
    assert_eq!(follower.settled(), None);
    for (worker, furthest) in [(0, [50, 50]), (1, [50, 50])] {
        for p in 0..2 {
            world.happen(p, worker, Event::Append(1));
        }
        follower.follow(&world.feeds);
        assert_eq!(follower.settled(), Some(furthest));
        follower.check(&world.streams);
    }
}

/// A view that has followed another stream has nothing of it left.
#[test]
fn a_new_replica_on_a_used_view_has_only_what_its_keyframe_says() {
    let mut old = World::new(5, 400);
    let mut new = World::new(6, 400);
    old.finish(true);
    for p in 0..2 {
        new.happen(p, 0, Event::Apply(2));
        new.happen(p, 0, Event::Keyframe);
        new.happen(p, 0, Event::Append(usize::MAX));
    }
    let mut follower = Follower::join(view(), &old.feeds);
    follower.follow(&old.feeds);
    follower.check(&old.streams);
    let view = follower.view.clone();
    drop(follower);
    let mut follower = Follower::join(view, &new.feeds);
    assert!(!follower.view.is_ready());
    follower.follow(&new.feeds);
    assert_eq!(follower.settled(), Some([2, 2]));
    follower.check(&new.streams);
}
