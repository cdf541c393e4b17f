//! The scheduling queue: which pod is tried next, and when a refused pod is tried again.
//!
//! A pod is in one of four places. *Active* pods wait for their turn, in the order of the queue-sort plugin. A pod whose attempt failed
//! is *unschedulable* until an event happens that one of the plugins which refused it says may help, or until it has waited
//! [`MAX_UNSCHEDULABLE`]; it then is *backing off*: 1 s after the first attempt, doubling to 10 s, counted from the failure. When nothing is
//! active, a pod that was refused (not one whose attempt broke) need not sit its back-off out. *Gated* pods
//! were refused before they entered, and wait to be changed. Events that happen while a pod is being tried are
//! remembered until its attempt ends: otherwise a pod could wait for an event that has just passed.
//!
//! Pure: time comes in with each call, and nothing here waits.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    framework::{ClusterEvent, PodChange, Profile, Profiles},
    metrics::{QueueMetrics, Waiting},
    pod_info::PodInfo,
};

/// How long pods back off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// After the first attempt.
    pub(crate) initial: SignedDuration,
    /// At most.
    pub(crate) max: SignedDuration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: SignedDuration::from_secs(1),
            max: SignedDuration::from_secs(10),
        }
    }
}

/// After this long an unschedulable pod is tried again without any event.
const MAX_UNSCHEDULABLE: SignedDuration = SignedDuration::from_mins(5);

/// A pod in the queue or under way.
#[derive(Clone, Debug)]
pub(crate) struct QueuedPod {
    pub(crate) info: Arc<PodInfo>,
    /// When it entered the queue for the first time.
    pub(crate) first_seen: Timestamp,
    /// How often it has been tried.
    pub(crate) attempts: u32,
    /// The plugins that refused it at its last attempt.
    refused_by: BTreeSet<&'static str>,
    /// When that attempt failed.
    failed_at: Timestamp,
}

impl QueuedPod {
    fn backoff_ends(&self, backoff: Backoff) -> Timestamp {
        let mut duration = backoff.initial;
        for _ in 1..self.attempts {
            if duration >= backoff.max {
                break;
            }
            duration *= 2;
        }
        self.failed_at + duration.min(backoff.max)
    }
}

#[derive(Debug)]
enum Place {
    Active,
    BackingOff,
    Unschedulable,
    Gated,
    /// Popped; events from this number on have not been seen by its attempt.
    InFlight {
        events_from: u64,
    },
}

#[derive(Debug)]
struct Entry {
    pod: QueuedPod,
    place: Place,
    /// Heap entries of an older epoch are stale.
    epoch: u64,
}

impl Place {
    fn waiting(&self) -> Option<Waiting> {
        match self {
            Self::Active => Some(Waiting::Active),
            Self::BackingOff => Some(Waiting::Backoff),
            Self::Unschedulable => Some(Waiting::Unschedulable),
            Self::Gated => Some(Waiting::Gated),
            Self::InFlight { .. } => None,
        }
    }
}

impl Entry {
    /// Whether a heap entry of that epoch is this one's, and up to date.
    fn is_candidate(&self, epoch: u64) -> bool {
        self.epoch == epoch && matches!(self.place, Place::Active)
    }
}

/// The queue of all profiles. Bounded by the number of pods without a node.
pub(crate) struct SchedulingQueue {
    profiles: Arc<Profiles>,
    backoff: Backoff,
    entries: HashMap<String, Entry>,
    active: BinaryHeap<Candidate>,
    backing_off: BinaryHeap<Deadline>,
    /// Uids of the unschedulable pods that a plugin has refused.
    refused: HashMap<&'static str, HashSet<String>>,
    unschedulable: BinaryHeap<Deadline>,
    /// Events since the oldest attempt under way began, each with its number; empty when none is.
    recent_events: VecDeque<(u64, ClusterEvent)>,
    next_event: u64,
    /// How many attempts under way have seen all events before a number.
    in_flight: BTreeMap<u64, usize>,
    next_epoch: u64,
    metrics: QueueMetrics,
}

/// A heap entry ordered by the queue-sort plugin; the greatest is tried first.
struct Candidate {
    profile: Arc<Profile>,
    info: Arc<PodInfo>,
    first_seen: Timestamp,
    epoch: u64,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.profile.compare(
            (&self.info, self.first_seen),
            (&other.info, other.first_seen),
        );
        order.reverse().then_with(|| other.epoch.cmp(&self.epoch))
    }
}
impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Candidate {}

/// A heap entry ordered by time; the greatest is due first.
#[derive(PartialEq, Eq)]
struct Deadline {
    at: Timestamp,
    uid: String,
    epoch: u64,
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .at
            .cmp(&self.at)
            .then_with(|| other.epoch.cmp(&self.epoch))
    }
}
impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl SchedulingQueue {
    pub(crate) fn new(profiles: Arc<Profiles>, backoff: Backoff, metrics: QueueMetrics) -> Self {
        Self {
            profiles,
            backoff,
            metrics,
            refused: HashMap::new(),
            entries: HashMap::new(),
            active: BinaryHeap::new(),
            backing_off: BinaryHeap::new(),
            unschedulable: BinaryHeap::new(),
            recent_events: VecDeque::new(),
            next_event: 0,
            in_flight: BTreeMap::new(),
            next_epoch: 0,
        }
    }

    /// A pod without a node came or changed. Answers what was known of it before.
    pub(crate) fn add_or_update(
        &mut self,
        info: Arc<PodInfo>,
        now: Timestamp,
    ) -> Option<Arc<PodInfo>> {
        let uid = info.uid.clone();
        let Some(entry) = self.entries.get_mut(&uid) else {
            let pod = QueuedPod {
                info,
                first_seen: now,
                attempts: 0,
                refused_by: BTreeSet::new(),
                failed_at: now,
            };
            self.enter(uid, pod, "UnschedulablePodAdd");
            return None;
        };
        let change = PodChange::between(&entry.pod.info, &info);
        let before = std::mem::replace(&mut entry.pod.info, info);
        match entry.place {
            Place::Active => self.activate(&uid, None),
            Place::Gated => {
                if let Some(entry) = self.entries.remove(&uid) {
                    self.metrics.moved(Some(Waiting::Gated), None);
                    self.enter(uid, entry.pod, "UnschedulablePodUpdate");
                }
            }
            Place::Unschedulable if !change.is_empty() => {
                let event = ClusterEvent::PodUpdated(change);
                if self.is_helped(&uid, &event) {
                    self.requeue(&uid, now, event.label());
                }
            }
            Place::Unschedulable | Place::BackingOff | Place::InFlight { .. } => {}
        }
        Some(before)
    }

    fn enter(&mut self, uid: String, mut pod: QueuedPod, event: &'static str) {
        let refusal = self.profiles.of(&pod.info).pre_enqueue(&pod.info);
        pod.refused_by = refusal.iter().map(|r| r.plugin).collect();
        let gated = refusal.is_some();
        self.entries.insert(
            uid.clone(),
            Entry {
                pod,
                place: Place::Gated,
                epoch: 0,
            },
        );
        self.metrics.moved(None, Some(Waiting::Gated));
        if gated {
            self.metrics.came(Waiting::Gated, event);
        } else {
            self.activate(&uid, Some(event));
        }
    }

    /// A pod went, or has got a node. Answers it if it was known.
    pub(crate) fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        self.leave_unschedulable(uid);
        let entry = self.entries.remove(uid)?;
        self.metrics.moved(entry.place.waiting(), None);
        if let Place::InFlight { events_from } = entry.place {
            self.end_flight(events_from);
        }
        Some(entry.pod.info)
    }

    /// Uids of all pods that it knows.
    pub(crate) fn uids(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    /// Whether [`SchedulingQueue::pop`] has something now.
    pub(crate) fn is_ready(&mut self, now: Timestamp) -> bool {
        self.advance(now);
        self.has_active() || (self.cut_backoff_short() && self.has_active())
    }

    fn has_active(&mut self) -> bool {
        while let Some(candidate) = self.active.peek() {
            let uid = &candidate.info.uid;
            if self
                .entries
                .get(uid)
                .is_some_and(|entry| entry.is_candidate(candidate.epoch))
            {
                return true;
            }
            self.active.pop();
        }
        false
    }

    /// When nothing is active, whoever was refused and waits for its back-off to end first need not wait for that.
    fn cut_backoff_short(&mut self) -> bool {
        while let Some(due) = self.backing_off.pop() {
            let current = self.entries.get(&due.uid);
            let Some(entry) = current.filter(|entry| entry.epoch == due.epoch) else {
                continue;
            };
            if entry.pod.refused_by.is_empty() {
                // Its attempt broke: whatever broke it needs the pause.
                self.backing_off.push(due);
                return false;
            }
            self.activate(&due.uid, Some("PopFromBackoffQ"));
            return true;
        }
        false
    }

    /// The next pod to try. It stays known as being under way until [`SchedulingQueue::fail`] or [`SchedulingQueue::remove`].
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<QueuedPod> {
        if !self.is_ready(now) {
            return None;
        }
        let candidate = self.active.pop()?;
        let entry = self.entries.get_mut(&candidate.info.uid)?;
        self.metrics.moved(entry.place.waiting(), None);
        entry.place = Place::InFlight {
            events_from: self.next_event,
        };
        entry.pod.attempts += 1;
        *self.in_flight.entry(self.next_event).or_default() += 1;
        Some(entry.pod.clone())
    }

    /// An attempt failed: refused by these plugins, or by none of them but for a passing reason, such as a write that
    /// did not go through.
    pub(crate) fn fail(&mut self, uid: &str, refused_by: BTreeSet<&'static str>, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(uid) else {
            return;
        };
        let Place::InFlight { events_from } = entry.place else {
            return;
        };
        let passing = refused_by.is_empty();
        entry.pod.refused_by = refused_by;
        entry.pod.failed_at = now;
        entry.place = Place::Unschedulable;
        self.metrics.moved(None, Some(Waiting::Unschedulable));
        let missed = self.recent_events.iter();
        let mut missed = missed.filter(|(number, _)| *number >= events_from);
        let helped = passing || missed.any(|(_, event)| self.is_helped(uid, event));
        self.end_flight(events_from);
        self.enter_unschedulable(uid);
        if helped {
            self.requeue(uid, now, "ScheduleAttemptFailure");
            return;
        }
        self.metrics
            .came(Waiting::Unschedulable, "ScheduleAttemptFailure");
        let epoch = self.next_epoch();
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.epoch = epoch;
        }
        self.unschedulable.push(Deadline {
            at: now + MAX_UNSCHEDULABLE,
            uid: uid.to_owned(),
            epoch,
        });
    }

    /// A pod is worth another try, whatever refused it.
    pub(crate) fn retry(&mut self, uid: &str, now: Timestamp) {
        let place = self.entries.get(uid).map(|entry| &entry.place);
        if matches!(place, Some(Place::Unschedulable)) {
            self.requeue(uid, now, "ForceActivate");
        }
    }

    /// Something happened in the cluster: pods that it may help are tried again.
    pub(crate) fn on_event(&mut self, event: &ClusterEvent, now: Timestamp) {
        if !self.in_flight.is_empty() {
            self.recent_events
                .push_back((self.next_event, event.clone()));
        }
        self.next_event += 1;
        let mut helped: BTreeSet<String> = BTreeSet::new();
        for (plugin, uids) in &self.refused {
            if !self.profiles.concerns(plugin, event) {
                continue;
            }
            for uid in uids {
                if !helped.contains(uid) && self.is_helped_by(plugin, uid, event) {
                    helped.insert(uid.clone());
                }
            }
        }
        for uid in helped {
            self.requeue(&uid, now, event.label());
        }
    }

    /// When [`SchedulingQueue::pop`] may have something that it has not now. `None`: not before something happens.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        [self.backing_off.peek(), self.unschedulable.peek()]
            .into_iter()
            .flatten()
            .map(|d| d.at)
            .min()
    }

    fn is_helped(&self, uid: &str, event: &ClusterEvent) -> bool {
        self.entries.get(uid).is_some_and(|entry| {
            let mut refused_by = entry.pod.refused_by.iter();
            refused_by.any(|plugin| self.is_helped_by(plugin, uid, event))
        })
    }

    fn is_helped_by(&self, plugin: &str, uid: &str, event: &ClusterEvent) -> bool {
        self.entries.get(uid).is_some_and(|entry| {
            let pod = &entry.pod.info;
            self.profiles.of(pod).may_help(plugin, event, pod)
        })
    }

    fn enter_unschedulable(&mut self, uid: &str) {
        if let Some(entry) = self.entries.get(uid) {
            let profile = self.profiles.of(&entry.pod.info);
            for plugin in &entry.pod.refused_by {
                let uids = self.refused.entry(plugin).or_default();
                if uids.insert(uid.to_owned()) {
                    self.metrics.refused(plugin, profile.name(), 1.0);
                }
            }
        }
    }

    fn leave_unschedulable(&mut self, uid: &str) {
        if let Some(entry) = self.entries.get(uid) {
            let profile = self.profiles.of(&entry.pod.info);
            for plugin in &entry.pod.refused_by {
                let uids = self.refused.get_mut(plugin);
                if uids.is_some_and(|uids| uids.remove(uid)) {
                    self.metrics.refused(plugin, profile.name(), -1.0);
                }
            }
        }
    }

    /// To the active pods, or to those backing off if it is too early, because of an event.
    fn requeue(&mut self, uid: &str, now: Timestamp, event: &'static str) {
        self.leave_unschedulable(uid);
        let Some(entry) = self.entries.get(uid) else {
            return;
        };
        let at = entry.pod.backoff_ends(self.backoff);
        if at <= now {
            self.activate(uid, Some(event));
            return;
        }
        let epoch = self.next_epoch();
        if let Some(entry) = self.entries.get_mut(uid) {
            self.metrics
                .moved(entry.place.waiting(), Some(Waiting::Backoff));
            self.metrics.came(Waiting::Backoff, event);
            entry.place = Place::BackingOff;
            entry.epoch = epoch;
            self.backing_off.push(Deadline {
                at,
                uid: uid.to_owned(),
                epoch,
            });
        }
    }

    /// To the active pods, because of an event unless it is there already.
    fn activate(&mut self, uid: &str, event: Option<&'static str>) {
        let epoch = self.next_epoch();
        let Some(entry) = self.entries.get_mut(uid) else {
            return;
        };
        self.metrics
            .moved(entry.place.waiting(), Some(Waiting::Active));
        if let Some(event) = event {
            self.metrics.came(Waiting::Active, event);
        }
        entry.place = Place::Active;
        entry.epoch = epoch;
        self.active.push(Candidate {
            profile: Arc::clone(self.profiles.first()),
            info: Arc::clone(&entry.pod.info),
            first_seen: entry.pod.first_seen,
            epoch,
        });
    }

    /// Moves pods whose time has come.
    fn advance(&mut self, now: Timestamp) {
        while self.backing_off.peek().is_some_and(|d| d.at <= now) {
            let Some(due) = self.backing_off.pop() else {
                break;
            };
            if self
                .entries
                .get(&due.uid)
                .is_some_and(|entry| entry.epoch == due.epoch)
            {
                self.activate(&due.uid, Some("BackoffComplete"));
            }
        }
        while self.unschedulable.peek().is_some_and(|d| d.at <= now) {
            let Some(due) = self.unschedulable.pop() else {
                break;
            };
            if self
                .entries
                .get(&due.uid)
                .is_some_and(|entry| entry.epoch == due.epoch)
            {
                self.requeue(&due.uid, now, "UnschedulableTimeout");
            }
        }
    }

    fn end_flight(&mut self, events_from: u64) {
        if let Some(count) = self.in_flight.get_mut(&events_from) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(&events_from);
            }
        }
        let oldest = self.in_flight.keys().next().copied();
        while let Some((number, _)) = self.recent_events.front()
            && oldest.is_none_or(|oldest| *number < oldest)
        {
            self.recent_events.pop_front();
        }
    }

    fn next_epoch(&mut self) -> u64 {
        self.next_epoch += 1;
        self.next_epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{framework::NodeChange, testing};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn queue() -> SchedulingQueue {
        let profiles = Profiles::new(testing::profile(), Vec::new());
        SchedulingQueue::new(
            Arc::new(profiles),
            Backoff::default(),
            QueueMetrics::default(),
        )
    }

    fn refused(plugin: &'static str) -> BTreeSet<&'static str> {
        BTreeSet::from([plugin])
    }

    #[test]
    fn higher_priority_goes_first_then_the_older() {
        let mut queue = queue();
        queue.add_or_update(testing::pod("a").info(), at(0));
        queue.add_or_update(testing::pod("b").info(), at(1));
        queue.add_or_update(testing::pod("c").priority(10).info(), at(2));
        let order: Vec<String> = std::iter::from_fn(|| queue.pop(at(3)))
            .map(|pod| pod.info.name.clone())
            .collect();
        assert_eq!(order, ["c", "a", "b"]);
    }

    #[test]
    fn a_gated_pod_waits_for_its_gates_to_go() {
        let mut queue = queue();
        queue.add_or_update(testing::pod("a").gate("example.com/wait").info(), at(0));
        assert!(queue.pop(at(1)).is_none());
        queue.add_or_update(testing::pod("a").info(), at(2));
        assert_eq!(queue.pop(at(2)).unwrap().info.name, "a");
    }

    #[test]
    fn an_unschedulable_pod_backs_off_only_after_an_event_that_may_help() {
        let mut queue = queue();
        queue.add_or_update(testing::pod("a").info(), at(0));
        let pod = queue.pop(at(0)).unwrap();
        queue.fail(&pod.info.uid, refused("NodeResourcesFit"), at(0));
        assert!(queue.pop(at(5)).is_none());
        let node = testing::node("n1").labels(&[("zone", "z")]).build();
        let change = NodeChange {
            labels: true,
            ..NodeChange::default()
        };
        queue.on_event(&ClusterEvent::NodeUpdated(node.clone(), change), at(5));
        assert!(queue.pop(at(6)).is_none(), "labels do not make room");
        queue.on_event(&ClusterEvent::NodeAdded(node), at(6));
        assert!(queue.pop(at(6)).is_some());
    }

    #[test]
    fn an_event_during_the_attempt_is_not_missed() {
        let mut queue = queue();
        queue.add_or_update(testing::pod("a").info(), at(0));
        let pod = queue.pop(at(0)).unwrap();
        queue.on_event(&ClusterEvent::NodeAdded(testing::node("n1").build()), at(0));
        queue.fail(&pod.info.uid, refused("NodeResourcesFit"), at(0));
        assert_eq!(queue.next_deadline(), Some(at(1)));
        queue.add_or_update(testing::pod("b").info(), at(0));
        let order: Vec<String> = std::iter::from_fn(|| queue.pop(at(0)))
            .map(|pod| pod.info.name.clone())
            .collect();
        assert_eq!(
            order,
            ["b", "a"],
            "it backs off while there is anything else to do"
        );
    }

    #[test]
    fn events_are_remembered_only_as_long_as_an_attempt_needs_them() {
        let mut queue = queue();
        queue.add_or_update(testing::pod("a").info(), at(0));
        queue.add_or_update(testing::pod("b").info(), at(1));
        let event = ClusterEvent::NodeRemoved;
        queue.on_event(&event, at(1));
        assert!(queue.recent_events.is_empty(), "nothing is under way");
        let a = queue.pop(at(1)).unwrap();
        queue.on_event(&event, at(1));
        let b = queue.pop(at(1)).unwrap();
        queue.on_event(&event, at(1));
        assert_eq!(queue.recent_events.len(), 2);
        queue.remove(&a.info.uid);
        assert_eq!(queue.recent_events.len(), 1);
        queue.remove(&b.info.uid);
        assert!(queue.recent_events.is_empty());
    }

    #[test]
    fn pods_are_counted_where_they_wait() {
        let registry = base::metrics::Registry::new();
        let profiles = Profiles::new(testing::profile(), Vec::new());
        let metrics = QueueMetrics::new(&registry);
        let mut queue = SchedulingQueue::new(Arc::new(profiles), Backoff::default(), metrics);
        let pending = |expected: [u32; 4]| {
            let shown = registry.encode();
            let names = ["active", "backoff", "unschedulable", "gated"];
            for (name, count) in names.into_iter().zip(expected) {
                let line = format!("scheduler_pending_pods{{queue=\"{name}\"}} {count}\n");
                assert!(shown.contains(&line), "{line}{shown}");
            }
        };
        queue.add_or_update(testing::pod("a").info(), at(0));
        queue.add_or_update(testing::pod("b").gate("example.com/wait").info(), at(0));
        pending([1, 0, 0, 1]);
        let a = queue.pop(at(0)).unwrap();
        pending([0, 0, 0, 1]);
        queue.fail(&a.info.uid, refused("NodeResourcesFit"), at(0));
        pending([0, 0, 1, 1]);
        queue.on_event(&ClusterEvent::NodeAdded(testing::node("n1").build()), at(0));
        pending([0, 1, 0, 1]);
        queue.add_or_update(testing::pod("b").info(), at(1));
        pending([1, 1, 0, 0]);
        queue.remove(&a.info.uid);
        pending([1, 0, 0, 0]);
        let shown = registry.encode();
        for line in [
            "scheduler_queue_incoming_pods_total{queue=\"backoff\",event=\"NodeAdd\"} 1\n",
            "scheduler_queue_incoming_pods_total{queue=\"gated\",event=\"UnschedulablePodAdd\"} 1\n",
            "scheduler_unschedulable_pods{plugin=\"NodeResourcesFit\",profile=\"default-scheduler\"} 0\n",
        ] {
            assert!(shown.contains(line), "{line}{shown}");
        }
    }

    #[test]
    fn back_off_doubles_to_ten_seconds() {
        let mut queue = queue();
        queue.add_or_update(testing::pod("a").info(), at(0));
        let mut now = 0;
        for expected in [1, 2, 4, 8, 10, 10] {
            let pod = queue.pop(at(now)).unwrap();
            queue.fail(&pod.info.uid, BTreeSet::new(), at(now));
            assert_eq!(queue.next_deadline(), Some(at(now + expected)));
            now += expected;
        }
    }

    #[test]
    fn after_five_minutes_a_pod_is_tried_without_any_event() {
        let mut queue = queue();
        queue.add_or_update(testing::pod("a").info(), at(0));
        let pod = queue.pop(at(0)).unwrap();
        queue.fail(&pod.info.uid, refused("NodeName"), at(0));
        assert!(queue.pop(at(299)).is_none());
        assert!(queue.pop(at(300)).is_some());
    }

    #[test]
    fn a_pod_deleted_while_under_way_does_not_come_back() {
        let mut queue = queue();
        queue.add_or_update(testing::pod("a").info(), at(0));
        let pod = queue.pop(at(0)).unwrap();
        queue.remove(&pod.info.uid);
        queue.fail(&pod.info.uid, BTreeSet::new(), at(0));
        assert!(queue.pop(at(100)).is_none());
        assert!(queue.next_deadline().is_none());
    }
}
