//! How many attempts are worked on at a time, so that a flood of them leaves database and processor to the others; and who comes before whom.

use super::LoginError;
use super::device::Device;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Attempts that wait or are worked on; browsers that logged in before have places of their own, and so has who comes from where nobody guesses.
const UNKNOWN_AT_MOST: usize = 50;
const FRESH_AT_MOST: usize = 16;
const KNOWN_AT_MOST: usize = 16;
/// From a neighbourhood with so many attempts in this time somebody may be guessing.
const FRESH_ATTEMPTS: u32 = 10;
const FRESH_WINDOW: Duration = Duration::from_secs(300);
/// Neighbourhoods that are remembered; while there are more, a new one is like those where somebody guesses.
const NEIGHBOURHOODS_MAX: usize = 10_000;
/// Of the places for unknown ones, as many can be one address's.
const PER_ADDRESS: usize = 8;
/// Of the places for known browsers, as many can be one browser's and one person's: whoever took a cookie, or has one, leaves the others theirs.
const PER_DEVICE: usize = 2;
const PER_PERSON: usize = 4;

/// What attempts under way are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Party {
    Address(String),
    Device(String),
    Person(i64),
}

/// Attempts under way.
type Counts = Arc<Mutex<HashMap<Party, usize>>>;

pub(super) struct Lanes {
    unknown: Lane,
    fresh: Lane,
    known: Lane,
    counts: Counts,
    recent: Mutex<HashMap<String, (Instant, u32)>>,
}

#[derive(Debug, Clone)]
struct Lane {
    places: Arc<Semaphore>,
    /// Of the lane's attempts one at a time waits for its turn, so that the turns go round between the lanes; `None`: all may.
    gate: Option<Arc<Semaphore>>,
}

impl Lane {
    fn new(places: usize, gate: Option<usize>) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), gate: gate.map(|at_once| Arc::new(Semaphore::new(at_once))) }
    }
}

/// A place among the attempts that are worked on; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    gate: Option<Arc<Semaphore>>,
    counts: Counts,
    parties: Vec<Party>,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            unknown: Lane::new(UNKNOWN_AT_MOST, Some(1)),
            fresh: Lane::new(FRESH_AT_MOST, Some(1)),
            known: Lane::new(KNOWN_AT_MOST, None),
            counts: Arc::default(),
            recent: Mutex::default(),
        }
    }

    /// Counts an attempt from `neighbourhood`.
    pub(super) fn note(&self, neighbourhood: &str) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= NEIGHBOURHOODS_MAX {
            recent.retain(|_, (since, _)| since.elapsed() < FRESH_WINDOW);
        }
        if recent.len() < NEIGHBOURHOODS_MAX || recent.contains_key(neighbourhood) {
            let (since, count) = recent.entry(neighbourhood.to_owned()).or_insert_with(|| (Instant::now(), 0));
            if since.elapsed() >= FRESH_WINDOW {
                (*since, *count) = (Instant::now(), 0);
            }
            *count = count.saturating_add(1);
        }
    }

    /// One attempt from `neighbourhood` was right.
    pub(super) fn forget(&self, neighbourhood: &str) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = recent.get_mut(neighbourhood) {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether nobody seems to be guessing there.
    pub(super) fn is_fresh(&self, neighbourhood: &str) -> bool {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match recent.get(neighbourhood) {
            Some((since, count)) => *count <= FRESH_ATTEMPTS || since.elapsed() >= FRESH_WINDOW,
            None => recent.len() < NEIGHBOURHOODS_MAX,
        }
    }

    /// `network`: what counts as one address; `fresh`: nobody guesses there; `known`: what the browser shows of an earlier login, sealed by this server.
    ///
    /// # Errors
    /// `Busy`: no place is free, neither among those of known browsers or fresh addresses nor, for anybody, among the others.
    pub(super) fn enter(&self, network: &str, fresh: bool, known: Option<&Device>) -> Result<Place, LoginError> {
        let known = known.and_then(|device| {
            let parties = [(Party::Device(device.id.clone()), PER_DEVICE), (Party::Person(device.user), PER_PERSON)];
            self.take(&self.known, &parties)
        });
        let parties = [(Party::Address(network.to_owned()), PER_ADDRESS)];
        let place = known.or_else(|| if fresh { self.take(&self.fresh, &parties) } else { None });
        place.or_else(|| self.take(&self.unknown, &parties)).ok_or(LoginError::Busy)
    }

    /// A place of `lane`, of which each of `parties` has fewer than its limit.
    fn take(&self, lane: &Lane, parties: &[(Party, usize)]) -> Option<Place> {
        let permit = lane.places.clone().try_acquire_owned().ok()?;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if parties.iter().any(|(party, at_most)| counts.get(party).is_some_and(|count| count >= at_most)) {
            return None;
        }
        let parties: Vec<Party> = parties.iter().map(|(party, _)| party.clone()).collect();
        for party in &parties {
            *counts.entry(party.clone()).or_default() += 1;
        }
        Some(Place { _permit: permit, gate: lane.gate.clone(), counts: self.counts.clone(), parties })
    }
}

impl Place {
    /// One of `turns`, when it is this attempt's.
    ///
    /// # Errors
    /// The semaphore was closed.
    pub(super) async fn turn<'a>(&self, turns: &'a Semaphore) -> Result<SemaphorePermit<'a>, AcquireError> {
        let _gate = match &self.gate {
            Some(gate) => Some(gate.acquire().await?),
            None => None,
        };
        turns.acquire().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for party in self.parties.drain(..) {
            if let Entry::Occupied(mut count) = counts.entry(party) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, user: i64) -> Device {
        Device { id: id.into(), user, password_changed_micros: 0 }
    }

    #[test]
    fn one_address_takes_eight_places_all_take_fifty_and_known_browsers_still_get_in() {
        let lanes = Lanes::new();
        let mut places: Vec<Place> = (0..PER_ADDRESS).map(|_| lanes.enter("a", false, None).unwrap()).collect();
        assert!(matches!(lanes.enter("a", false, None), Err(LoginError::Busy)));
        assert!(lanes.enter("a", false, Some(&device("d", 1))).is_ok(), "from the same address too");
        places.extend((0..UNKNOWN_AT_MOST - PER_ADDRESS).map(|n| lanes.enter(&format!("b{n}"), false, None).unwrap()));
        assert!(matches!(lanes.enter("c", false, None), Err(LoginError::Busy)));
        assert!(lanes.enter("a", false, Some(&device("d", 1))).is_ok());
        drop(places);
        assert!(lanes.enter("a", false, None).is_ok() && lanes.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn neither_one_browser_nor_one_person_takes_the_places_of_the_other_known_ones() {
        let lanes = Lanes::new();
        // All places for unknown ones of this address are taken: what gets in has a place of a known one.
        let strangers: Vec<Place> = (0..PER_ADDRESS).map(|_| lanes.enter("a", false, None).unwrap()).collect();
        let of_person = |person, devices: usize| (0..devices * PER_DEVICE).map(move |n| device(&format!("{person} {}", n / PER_DEVICE), person));
        let one_browser: Vec<Place> = of_person(1, 1).map(|device| lanes.enter("a", false, Some(&device)).unwrap()).collect();
        assert!(matches!(lanes.enter("a", false, Some(&device("1 0", 1))), Err(LoginError::Busy)), "a browser has two");
        let other_browser: Vec<Place> = (0..PER_DEVICE).map(|_| lanes.enter("a", false, Some(&device("1 1", 1))).unwrap()).collect();
        assert!(matches!(lanes.enter("a", false, Some(&device("1 2", 1))), Err(LoginError::Busy)), "a person has four");
        let others: Vec<Place> = (2..5).flat_map(|person| of_person(person, 2)).map(|device| lanes.enter("a", false, Some(&device)).unwrap()).collect();
        assert!(matches!(lanes.enter("a", false, Some(&device("9 0", 9))), Err(LoginError::Busy)), "all have sixteen");
        assert!(lanes.enter("b", false, Some(&device("9 0", 9))).is_ok(), "and then those of unknown ones");
        drop((strangers, one_browser, other_browser, others));
        assert!(lanes.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn who_comes_from_where_nobody_guesses_has_places_of_its_own() {
        let lanes = Lanes::new();
        let flood: Vec<Place> = (0..UNKNOWN_AT_MOST).map(|n| lanes.enter(&format!("f{n}"), false, None).unwrap()).collect();
        let place = lanes.enter("a", true, None).unwrap();
        assert!(matches!(lanes.enter("a", false, None), Err(LoginError::Busy)));
        drop((flood, place));
        for _ in 0..FRESH_ATTEMPTS {
            lanes.note("10.0.0");
            assert!(lanes.is_fresh("10.0.0"));
        }
        lanes.note("10.0.0");
        assert!(!lanes.is_fresh("10.0.0") && lanes.is_fresh("10.0.1"));
        lanes.forget("10.0.0");
        assert!(lanes.is_fresh("10.0.0"), "one was right");
        (0..2 * NEIGHBOURHOODS_MAX).for_each(|n| lanes.note(&format!("n{n}")));
        assert_eq!(lanes.recent.lock().unwrap().len(), NEIGHBOURHOODS_MAX);
        assert!(!lanes.is_fresh("a new one"));
    }

    #[tokio::test]
    async fn turns_go_round_between_the_lanes() {
        let (lanes, turns) = (Arc::new(Lanes::new()), Arc::new(Semaphore::new(1)));
        let all = turns.acquire().await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        let mut join = |name: &'static str, place: Place| {
            let (turns, order) = (turns.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                let _turn = place.turn(&turns).await.unwrap();
                order.lock().unwrap().push(name);
            }));
        };
        (0..UNKNOWN_AT_MOST).for_each(|n| join("flood", lanes.enter(&format!("f{n}"), false, None).unwrap()));
        tokio::task::yield_now().await;
        join("fresh", lanes.enter("a", true, None).unwrap());
        join("known", lanes.enter("a", true, Some(&device("d", 1))).unwrap());
        tokio::task::yield_now().await;
        drop(all);
        for each in waiting {
            each.await.unwrap();
        }
        let order = order.lock().unwrap();
        let place = |name: &str| order.iter().position(|each| *each == name).unwrap();
        assert!(place("fresh") <= 3 && place("known") <= 3, "{order:?}");
    }
}
