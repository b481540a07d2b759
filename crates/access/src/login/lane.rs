//! How many attempts are worked on at a time, so that a flood of them leaves database and processor to the others.

use super::LoginError;
use super::device::Device;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Attempts that wait or are worked on; browsers that logged in before have places of their own.
const UNKNOWN_AT_MOST: usize = 50;
const KNOWN_AT_MOST: usize = 16;
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
    unknown: Arc<Semaphore>,
    known: Arc<Semaphore>,
    counts: Counts,
}

/// A place among the attempts that are worked on; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    counts: Counts,
    parties: Vec<Party>,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { unknown: Arc::new(Semaphore::new(UNKNOWN_AT_MOST)), known: Arc::new(Semaphore::new(KNOWN_AT_MOST)), counts: Arc::default() }
    }

    /// `network`: what counts as one address; `known`: what the browser shows of an earlier login, sealed by this server.
    ///
    /// # Errors
    /// `Busy`: no place is free, neither among those of known browsers nor, for anybody, among the others.
    pub(super) fn enter(&self, network: &str, known: Option<&Device>) -> Result<Place, LoginError> {
        let known = known.and_then(|device| {
            let parties = [(Party::Device(device.id.clone()), PER_DEVICE), (Party::Person(device.user), PER_PERSON)];
            self.take(&self.known, &parties)
        });
        known.or_else(|| self.take(&self.unknown, &[(Party::Address(network.to_owned()), PER_ADDRESS)])).ok_or(LoginError::Busy)
    }

    /// A place of `lane`, of which each of `parties` has fewer than its limit.
    fn take(&self, lane: &Arc<Semaphore>, parties: &[(Party, usize)]) -> Option<Place> {
        let permit = lane.clone().try_acquire_owned().ok()?;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if parties.iter().any(|(party, at_most)| counts.get(party).is_some_and(|count| count >= at_most)) {
            return None;
        }
        let parties: Vec<Party> = parties.iter().map(|(party, _)| party.clone()).collect();
        for party in &parties {
            *counts.entry(party.clone()).or_default() += 1;
        }
        Some(Place { _permit: permit, counts: self.counts.clone(), parties })
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
        let mut places: Vec<Place> = (0..PER_ADDRESS).map(|_| lanes.enter("a", None).unwrap()).collect();
        assert!(matches!(lanes.enter("a", None), Err(LoginError::Busy)));
        assert!(lanes.enter("a", Some(&device("d", 1))).is_ok(), "from the same address too");
        places.extend((0..UNKNOWN_AT_MOST - PER_ADDRESS).map(|n| lanes.enter(&format!("b{n}"), None).unwrap()));
        assert!(matches!(lanes.enter("c", None), Err(LoginError::Busy)));
        assert!(lanes.enter("a", Some(&device("d", 1))).is_ok());
        drop(places);
        assert!(lanes.enter("a", None).is_ok() && lanes.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn neither_one_browser_nor_one_person_takes_the_places_of_the_other_known_ones() {
        let lanes = Lanes::new();
        // All places for unknown ones of this address are taken: what gets in has a place of a known one.
        let strangers: Vec<Place> = (0..PER_ADDRESS).map(|_| lanes.enter("a", None).unwrap()).collect();
        let of_person = |person, devices: usize| (0..devices * PER_DEVICE).map(move |n| device(&format!("{person} {}", n / PER_DEVICE), person));
        let one_browser: Vec<Place> = of_person(1, 1).map(|device| lanes.enter("a", Some(&device)).unwrap()).collect();
        assert!(matches!(lanes.enter("a", Some(&device("1 0", 1))), Err(LoginError::Busy)), "a browser has two");
        let other_browser: Vec<Place> = (0..PER_DEVICE).map(|_| lanes.enter("a", Some(&device("1 1", 1))).unwrap()).collect();
        assert!(matches!(lanes.enter("a", Some(&device("1 2", 1))), Err(LoginError::Busy)), "a person has four");
        let others: Vec<Place> = (2..5).flat_map(|person| of_person(person, 2)).map(|device| lanes.enter("a", Some(&device)).unwrap()).collect();
        assert!(matches!(lanes.enter("a", Some(&device("9 0", 9))), Err(LoginError::Busy)), "all have sixteen");
        assert!(lanes.enter("b", Some(&device("9 0", 9))).is_ok(), "and then those of unknown ones");
        drop((strangers, one_browser, other_browser, others));
        assert!(lanes.counts.lock().unwrap().is_empty());
    }
}
