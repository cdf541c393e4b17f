//! Tables and seeded simulations of the fair queues.

use super::*;
use crate::flow_control::shuffle_sharding::flow_hash;

const MS: u64 = 1_000_000;

fn queued(queues: usize, hand_size: usize, queue_length: usize) -> Discipline {
    Discipline::Queue {
        queues,
        hand_size,
        queue_length,
    }
}

fn arrive(set: &mut QueueSet<()>, flow: u64, seats: u32, now: u64) -> Arrival {
    let mut others = Vec::new();
    let arrival = set.arrive(flow, seats, (), now, &mut others);
    assert!(others.is_empty(), "nobody else was in front");
    arrival
}

#[test]
fn a_level_that_rejects_refuses_what_finds_no_seat() {
    let mut set = QueueSet::new(Discipline::Reject, 2, 0);
    let Arrival::Executing(first) = arrive(&mut set, 1, 1, 0) else {
        panic!("there are seats")
    };
    assert!(matches!(arrive(&mut set, 1, 1, 0), Arrival::Executing(_)));
    let refused = Arrival::Refused(Reason::ConcurrencyLimit);
    assert_eq!(arrive(&mut set, 1, 1, 0), refused);
    assert!(set.finish(first, MS).is_empty());
    assert!(matches!(arrive(&mut set, 1, 1, MS), Arrival::Executing(_)));
}

#[test]
fn an_exempt_level_has_no_limit() {
    let mut set = QueueSet::new(Discipline::Exempt, 0, 0);
    for _ in 0..1000 {
        assert!(matches!(arrive(&mut set, 1, 10, 0), Arrival::Executing(_)));
    }
    assert_eq!(set.demand(), 10_000);
}

#[test]
fn queues_fill_and_then_refuse() {
    let mut set = QueueSet::new(queued(1, 1, 2), 1, 0);
    let Arrival::Executing(first) = arrive(&mut set, 1, 1, 0) else {
        panic!("there is a seat")
    };
    let Arrival::Waiting(second) = arrive(&mut set, 1, 1, 0) else {
        panic!("it waits")
    };
    assert!(matches!(arrive(&mut set, 1, 1, 0), Arrival::Waiting(_)));
    let refused = Arrival::Refused(Reason::QueueFull);
    assert_eq!(arrive(&mut set, 1, 1, 0), refused);
    assert_eq!(set.finish(first, MS), [second]);
    assert!(matches!(arrive(&mut set, 1, 1, MS), Arrival::Waiting(_)));
}

#[test]
fn who_gives_up_lets_others_pass() {
    let mut set = QueueSet::new(queued(1, 1, 9), 2, 0);
    let Arrival::Executing(first) = arrive(&mut set, 1, 1, 0) else {
        panic!("there are seats")
    };
    // Wider than what is left: it waits, and who comes after it waits behind it.
    let Arrival::Waiting(wide) = arrive(&mut set, 1, 2, 0) else {
        panic!("it does not fit")
    };
    let Arrival::Waiting(behind) = arrive(&mut set, 1, 1, 0) else {
        panic!("it is not its turn")
    };
    assert_eq!(set.cancel(wide, MS), Some(vec![behind]));
    assert_eq!(set.cancel(behind, MS), None, "it executes");
    assert_eq!(set.cancel(wide, MS), None, "it is forgotten");
    assert!(set.finish(first, MS).is_empty());
    assert!(set.finish(behind, MS).is_empty());
    assert_eq!((set.demand(), set.executing(), set.waiting()), (0, 0, 0));
}

#[test]
fn what_is_wider_than_the_level_executes_alone() {
    let mut set = QueueSet::new(queued(1, 1, 9), 2, 0);
    let Arrival::Executing(wide) = arrive(&mut set, 1, 5, 0) else {
        panic!("nothing else executes")
    };
    let Arrival::Waiting(next) = arrive(&mut set, 1, 1, 0) else {
        panic!("all seats are taken")
    };
    assert_eq!(set.finish(wide, MS), [next]);
}

#[test]
fn a_raised_limit_dispatches_and_fewer_queues_keep_who_waits() {
    let mut set = QueueSet::new(queued(8, 1, 9), 1, 0);
    let mut waiting = Vec::new();
    for flow in 0..8 {
        match arrive(&mut set, flow, 1, 0) {
            Arrival::Waiting(ticket) => waiting.push(ticket),
            Arrival::Executing(_) => {}
            Arrival::Refused(reason) => panic!("{reason:?}"),
        }
    }
    assert_eq!(waiting.len(), 7);
    let mut dispatched = set.configure(queued(2, 1, 9), 4, MS);
    assert_eq!(dispatched.len(), 3);
    dispatched.extend(set.configure(Discipline::Reject, 100, MS));
    dispatched.sort_unstable();
    assert_eq!(dispatched, waiting);
}

/// A small generator (xorshift64*), so that a failure replays from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

/// Two flows that always want more than there is, one with ten times as many requests: each gets half of the seat-seconds.
#[test]
fn greedy_flows_share_equally() {
    for seed in 1..10 {
        let mut random = Random(seed);
        let mut set: QueueSet<usize> = QueueSet::new(queued(64, 6, 1000), 10, 0);
        let flows = [flow_hash("s", "elephant"), flow_hash("s", "mouse")];
        let mut served = [0.0f64; 2];
        let mut executing: Vec<(u64, Ticket, usize, u64)> = Vec::new();
        let mut now = 0;
        let mut outstanding = [0usize; 2];
        let seats_of = [3u32, 1];
        // The elephant asks for three seats and keeps 200 requests, the mouse keeps 20.
        let wanted = [200, 20];
        for _ in 0..5_000 {
            for flow in 0..2 {
                while outstanding[flow] < wanted[flow] {
                    outstanding[flow] += 1;
                    let mut others = Vec::new();
                    match set.arrive(flows[flow], seats_of[flow], flow, now, &mut others) {
                        Arrival::Executing(ticket) => others.push(ticket),
                        Arrival::Waiting(_) => {}
                        Arrival::Refused(reason) => panic!("seed {seed}: {reason:?}"),
                    }
                    for ticket in others {
                        let flow = set.requests[&ticket].tag;
                        executing.push((now + MS + random.below(9 * MS), ticket, flow, now));
                    }
                }
            }
            executing.sort_unstable();
            let (end, ticket, flow, start) = executing.remove(0);
            now = end;
            served[flow] += (end - start) as f64 * f64::from(seats_of[flow]);
            outstanding[flow] -= 1;
            for ticket in set.finish(ticket, now) {
                let flow = set.requests[&ticket].tag;
                executing.push((now + MS + random.below(9 * MS), ticket, flow, now));
            }
        }
        // The elephant's hand is six queues, the mouse's too: both may use all of them, and share by queue.
        let share = served[1] / (served[0] + served[1]);
        assert!(share > 0.3, "seed {seed}: the mouse got {share}");
    }
}

/// Whatever comes, goes and gives up: books balance, the bounds hold, nobody is forgotten, and when all end the set is empty.
#[test]
fn random_traffic_keeps_the_invariants() {
    for seed in 1..200 {
        let mut random = Random(seed * 7919);
        let mut limit = 1 + random.below(8) as u32;
        let discipline = queued(1 + random.below(16) as usize, 3, 4);
        let mut set: QueueSet<()> = QueueSet::new(discipline, limit, 0);
        let (mut waiting, mut executing) = (Vec::<Ticket>::new(), Vec::<Ticket>::new());
        let mut now = 0;
        let mut lowered = false;
        for _ in 0..2000 {
            now += random.below(5 * MS);
            let dispatched = match random.below(10) {
                0..5 => {
                    let mut others = Vec::new();
                    let seats = 1 + random.below(3) as u32;
                    match set.arrive(random.below(50), seats, (), now, &mut others) {
                        Arrival::Executing(ticket) => executing.push(ticket),
                        Arrival::Waiting(ticket) => waiting.push(ticket),
                        Arrival::Refused(_) => {}
                    }
                    others
                }
                5..8 if !executing.is_empty() => {
                    let at = random.below(executing.len() as u64) as usize;
                    set.finish(executing.swap_remove(at), now)
                }
                8 if !waiting.is_empty() => {
                    let at = random.below(waiting.len() as u64) as usize;
                    let ticket = waiting.swap_remove(at);
                    set.cancel(ticket, now).expect("it waits")
                }
                9 if random.below(20) == 0 => {
                    let before = limit;
                    limit = 1 + random.below(8) as u32;
                    lowered |= limit < before;
                    set.configure(discipline, limit, now)
                }
                _ => Vec::new(),
            };
            for ticket in dispatched {
                let at = waiting.iter().position(|waiting| *waiting == ticket);
                executing.push(waiting.swap_remove(at.expect("dispatched once, while it waits")));
            }
            assert_eq!(set.waiting(), waiting.len(), "seed {seed}");
            assert_eq!(set.executing(), executing.len(), "seed {seed}");
            assert!(
                waiting.is_empty() || set.executing() > 0,
                "seed {seed}: seats are free"
            );
            if !lowered {
                assert!(
                    set.seats_in_use <= set.limit() || set.executing() == 1,
                    "seed {seed}"
                );
            }
            let active = set
                .queues()
                .iter()
                .filter(|queue| queue.is_active())
                .count();
            assert_eq!(set.active_queues, active, "seed {seed}");
        }
        while let Some(ticket) = executing.pop() {
            now += MS;
            executing.extend(set.finish(ticket, now));
            waiting.retain(|ticket| !executing.contains(ticket));
        }
        assert!(waiting.is_empty(), "seed {seed}: {waiting:?} starve");
        assert_eq!((set.demand(), set.active_queues), (0, 0), "seed {seed}");
        assert!(set.requests().is_empty(), "seed {seed}");
    }
}

/// Many elephants cannot starve a mouse: whoever waits is served within a bounded number of others.
#[test]
fn a_light_flow_waits_briefly_among_heavy_ones() {
    let mut set: QueueSet<u64> = QueueSet::new(queued(128, 6, 50), 4, 0);
    let mut now = 0;
    let mut executing = VecDeque::new();
    for flow in 0..4 {
        for _ in 0..200 {
            let mut others = Vec::new();
            let hash = flow_hash("s", &format!("heavy-{flow}"));
            if let Arrival::Executing(ticket) = set.arrive(hash, 1, flow, now, &mut others) {
                executing.push_back(ticket);
            }
        }
    }
    for _ in 0..100 {
        now += MS;
        let ended = executing.pop_front().unwrap();
        executing.extend(set.finish(ended, now));
    }
    let mut others = Vec::new();
    let arrival = set.arrive(flow_hash("s", "light"), 1, 99, now, &mut others);
    let Arrival::Waiting(light) = arrival else {
        panic!("all seats are taken: {arrival:?}")
    };
    let mut before_it = 0;
    loop {
        now += MS;
        let ended = executing.pop_front().unwrap();
        let next = set.finish(ended, now);
        if next.contains(&light) {
            break;
        }
        executing.extend(next);
        before_it += 1;
        // One round over the heavy flows' queues at most.
        assert!(before_it <= 24, "still waiting");
    }
}
