//! Who may keep a connection: there is room for so many in all, and for so many of one address until it has shown who it is.
//! A new connection is worth more than one that waits: the one that has waited longest makes room for it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub all: usize,
    /// Of one address (of IPv6: one /64) on which nobody has logged in.
    pub per_address: usize,
    /// Who has waited no longer than this need not leave: what it sent may not have been read yet.
    pub grace: Duration,
}

/// All connections of this server. Clones share everything.
#[derive(Clone)]
pub struct Seats(Arc<Room>);

struct Room {
    limits: Limits,
    start: Instant,
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
    next: AtomicU64,
}

/// A connection's place; given back when it is dropped.
pub struct Held {
    number: u64,
    room: Arc<Room>,
    pub seat: Arc<Seat>,
}

/// What a peer lets us wait for. One does not end with the other.
#[derive(Debug, Clone, Copy)]
pub enum Stall {
    /// The rest of its body.
    Body,
    /// That it takes what we send.
    Taking,
}

/// What is known of a connection.
pub struct Seat {
    /// What counts as one address; `None`: a proxy that is trusted, behind which are many people.
    address: Option<IpAddr>,
    start: Instant,
    proven: AtomicBool,
    /// Requests that are being answered.
    requests: AtomicUsize,
    /// An answer that never ends by itself: its page asks again.
    stream: AtomicBool,
    /// For what the peer lets us wait, by [`Stall`].
    stalled: [AtomicBool; 2],
    /// When the wait began, in milliseconds since `start`.
    waiting_since: AtomicU64,
    leave: Notify,
}

impl Seats {
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Room { limits, start: Instant::now(), seats: Mutex::default(), next: AtomicU64::new(0) }))
    }

    /// A place for a connection from `peer`, which another may have to leave for it. `None`: all others are at work.
    pub fn enter(&self, peer: IpAddr, trusted_proxy: bool) -> Option<Held> {
        let address = (!trusted_proxy).then(|| network(peer));
        let mut seats = self.0.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = address
            && seats.values().filter(|seat| seat.counts_for(address)).count() >= self.0.limits.per_address
        {
            self.make_room(&mut seats, |seat| seat.counts_for(address) && seat.is_waiting())?;
        }
        if seats.len() >= self.0.limits.all {
            let crowded = most_crowded(&seats);
            let strangers_wait = seats.values().any(|seat| !seat.is_proven() && seat.is_waiting());
            // Whom nobody is known on goes first, those of the address with the most; then idle ones; then pages that would only hear of news, but never
            // for strangers who will have to leave in a moment themselves.
            self.make_room(&mut seats, |seat| crowded.is_some_and(|address| seat.counts_for(address)) && seat.is_waiting())
                .or_else(|| self.make_room(&mut seats, |seat| !seat.is_proven() && seat.is_waiting()))
                .or_else(|| self.make_room(&mut seats, |seat| seat.requests.load(Ordering::Relaxed) == 0))
                .or_else(|| self.make_room(&mut seats, |seat| !strangers_wait && seat.stream.load(Ordering::Relaxed)))?;
        }
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat::new(address, self.0.start));
        seats.insert(number, seat.clone());
        Some(Held { number, room: self.0.clone(), seat })
    }

    /// Lets the one leave of those `which` allows that has waited longest.
    fn make_room(&self, seats: &mut HashMap<u64, Arc<Seat>>, which: impl Fn(&Seat) -> bool) -> Option<()> {
        let longest = seats.iter().filter(|(_, seat)| which(seat)).min_by_key(|(number, seat)| (seat.waiting_since.load(Ordering::Relaxed), **number));
        let (number, waiting_since) = longest.map(|(number, seat)| (*number, seat.waiting_since.load(Ordering::Relaxed)))?;
        if u128::from(waiting_since) + self.0.limits.grace.as_millis() > self.0.start.elapsed().as_millis() {
            return None;
        }
        if let Some(seat) = seats.remove(&number) {
            seat.leave.notify_one();
        }
        Some(())
    }
}

/// The address with the most connections on which nobody is known.
fn most_crowded(seats: &HashMap<u64, Arc<Seat>>) -> Option<IpAddr> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for address in seats.values().filter(|seat| !seat.is_proven()).filter_map(|seat| seat.address) {
        *counts.entry(address).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(address, _)| address)
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.seats.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl Seat {
    fn new(address: Option<IpAddr>, start: Instant) -> Self {
        let seat = Self {
            address,
            start,
            proven: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            stream: AtomicBool::new(false),
            stalled: Default::default(),
            waiting_since: AtomicU64::new(0),
            leave: Notify::new(),
        };
        seat.waits_from_now();
        seat
    }

    fn waits_from_now(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.waiting_since.store(now, Ordering::Relaxed);
    }

    fn is_proven(&self) -> bool {
        self.address.is_none() || self.proven.load(Ordering::Relaxed)
    }

    fn counts_for(&self, address: IpAddr) -> bool {
        self.address == Some(address) && !self.is_proven()
    }

    /// For what the peer does, not for what we do.
    fn is_waiting(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0 || self.is_stalled()
    }

    /// Somebody known speaks on it.
    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Ends when the connection has to make room.
    pub async fn must_leave(&self) {
        self.leave.notified().await;
    }

    fn is_stalled(&self) -> bool {
        self.stalled.iter().any(|stalled| stalled.load(Ordering::Relaxed))
    }

    pub fn stall(&self, what: Stall, stalled: bool) {
        let waited = self.is_stalled();
        self.stalled[what as usize].store(stalled, Ordering::Relaxed);
        if stalled && !waited {
            self.waits_from_now();
        }
    }

    /// A request begins; it ends when the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> Request {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Request(self.clone())
    }
}

/// A request of a connection, until its answer is sent.
pub struct Request(Arc<Seat>);

impl Request {
    /// Its answer goes on until somebody ends it.
    pub fn is_stream(&self) {
        self.0.stream.store(true, Ordering::Relaxed);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.stream.store(false, Ordering::Relaxed);
        self.0.waits_from_now();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What counts as one address: of IPv6 the first 64 bits.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// Requests at a time of each address behind a trusted proxy, as long as nobody known made them.
#[derive(Clone)]
pub struct Crowd {
    at_most: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of an address's requests; given back when it is dropped.
pub struct Place {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Crowd {
    pub fn new(at_most: usize) -> Self {
        Self { at_most, counts: Arc::default() }
    }

    pub fn enter(&self, client: IpAddr) -> Option<Place> {
        let address = network(client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.at_most {
            return None;
        }
        *count += 1;
        Some(Place { counts: self.counts.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.get(&self.address).map_or(0, |count| count - 1);
        if left == 0 {
            counts.remove(&self.address)
        } else {
            counts.insert(self.address, left)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn limits(all: usize, per_address: usize) -> Limits {
        Limits { all, per_address, grace: Duration::ZERO }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn left(held: &Held) -> bool {
        held.seat.must_leave().now_or_never().is_some()
    }

    #[test]
    fn of_one_address_the_one_that_waits_longest_makes_room_and_nobody_elses() {
        let seats = Seats::new(limits(10, 2));
        let other = seats.enter(address("10.0.0.2"), false).unwrap();
        let first = seats.enter(address("10.0.0.1"), false).unwrap();
        let second = seats.enter(address("::ffff:10.0.0.1"), false).unwrap();
        let third = seats.enter(address("10.0.0.1"), false).unwrap();
        assert_eq!([left(&other), left(&first), left(&second), left(&third)], [false, true, false, false]);
    }

    #[test]
    fn who_is_at_work_or_known_need_not_leave_and_does_not_count() {
        let seats = Seats::new(limits(10, 2));
        let here = address("2001:db8::1");
        let (known, busy) = (seats.enter(here, false).unwrap(), seats.enter(here, false).unwrap());
        known.seat.prove();
        let request = busy.seat.begin();
        let other_busy = seats.enter(address("2001:db8::2"), false).unwrap();
        let other_request = other_busy.seat.begin();
        assert!(seats.enter(here, false).is_none(), "both at work");
        for what in [Stall::Body, Stall::Taking] {
            busy.seat.stall(what, true);
            busy.seat.stall(what, false);
        }
        assert!(seats.enter(here, false).is_none(), "at work again");
        busy.seat.stall(Stall::Body, true);
        assert!(seats.enter(here, false).is_some(), "one waits for the rest of its body");
        assert_eq!([left(&known), left(&busy), left(&other_busy)], [false, true, false]);
        drop((request, other_request));
    }

    #[test]
    fn when_all_places_are_taken_the_crowd_makes_room_then_the_idle_then_open_pages() {
        let seats = Seats::new(limits(4, 3));
        let idle = seats.enter(address("10.0.0.9"), false).unwrap();
        idle.seat.prove();
        let stream = seats.enter(address("10.0.0.9"), false).unwrap();
        stream.seat.prove();
        let page = stream.seat.begin();
        page.is_stream();
        let lone = seats.enter(address("10.0.0.1"), false).unwrap();
        let crowd = seats.enter(address("10.0.0.2"), true).unwrap();
        let proxied = crowd.seat.begin();
        let next = seats.enter(address("10.0.0.3"), false).unwrap();
        assert!(left(&lone));
        let work = next.seat.begin();
        let after = seats.enter(address("10.0.0.4"), false).unwrap();
        assert!(left(&idle) && !left(&stream) && !left(&crowd));
        let more = after.seat.begin();
        let last = seats.enter(address("10.0.0.5"), false).unwrap();
        assert!(left(&stream) && !left(&crowd));
        let last_work = last.seat.begin();
        assert!(seats.enter(address("10.0.0.6"), false).is_none(), "everybody is at work");
        drop((page, proxied, work, more, last_work));
    }

    #[test]
    fn who_has_just_come_need_not_leave() {
        let seats = Seats::new(Limits { grace: Duration::from_secs(3600), ..limits(10, 1) });
        let first = seats.enter(address("10.0.0.1"), false).unwrap();
        assert!(seats.enter(address("10.0.0.1"), false).is_none() && !left(&first));
    }

    #[test]
    fn places_are_given_back() {
        let seats = Seats::new(limits(1, 1));
        for _ in 0..3 {
            assert!(!left(&seats.enter(address("10.0.0.1"), false).unwrap()));
        }
        let crowd = Crowd::new(1);
        let place = crowd.enter(address("10.0.0.1")).unwrap();
        assert!(crowd.enter(address("10.0.0.1")).is_none() && crowd.enter(address("10.0.0.2")).is_some());
        drop(place);
        assert!(crowd.enter(address("10.0.0.1")).is_some());
    }
}
