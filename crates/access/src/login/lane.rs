//! How many attempts are worked on at a time, so that a flood of them leaves database and processor to the others.

use super::LoginError;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Attempts that wait or are worked on; browsers that logged in before have places of their own.
const UNKNOWN_AT_MOST: usize = 50;
const KNOWN_AT_MOST: usize = 16;
/// Of the places for unknown ones, as many can be one address's.
const PER_ADDRESS: usize = 8;

/// Attempts under way, by address.
type Counts = Arc<Mutex<HashMap<String, usize>>>;

pub(super) struct Lanes {
    unknown: Arc<Semaphore>,
    known: Arc<Semaphore>,
    by_address: Counts,
}

/// A place among the attempts that are worked on; given back when it is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    address: Option<(Counts, String)>,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { unknown: Arc::new(Semaphore::new(UNKNOWN_AT_MOST)), known: Arc::new(Semaphore::new(KNOWN_AT_MOST)), by_address: Arc::default() }
    }

    /// `network`: what counts as one address; `known`: the browser shows that it logged in before.
    pub(super) fn enter(&self, network: &str, known: bool) -> Result<Place, LoginError> {
        if known && let Ok(permit) = self.known.clone().try_acquire_owned() {
            return Ok(Place { _permit: permit, address: None });
        }
        let permit = self.unknown.clone().try_acquire_owned().map_err(|_| LoginError::Busy)?;
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(network.to_owned()).or_default();
        if *count >= PER_ADDRESS {
            return Err(LoginError::Busy);
        }
        *count += 1;
        Ok(Place { _permit: permit, address: Some((self.by_address.clone(), network.to_owned())) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((counts, address)) = self.address.take() else { return };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_eight_places_all_take_fifty_and_known_browsers_still_get_in() {
        let lanes = Lanes::new();
        let mut places: Vec<Place> = (0..PER_ADDRESS).map(|_| lanes.enter("a", false).unwrap()).collect();
        assert!(matches!(lanes.enter("a", false), Err(LoginError::Busy)));
        places.extend((0..UNKNOWN_AT_MOST - PER_ADDRESS).map(|n| lanes.enter(&format!("b{n}"), false).unwrap()));
        assert!(matches!(lanes.enter("c", false), Err(LoginError::Busy)));
        assert!(lanes.enter("a", true).is_ok());
        drop(places);
        assert!(lanes.enter("a", false).is_ok() && lanes.by_address.lock().unwrap().is_empty());
    }
}
