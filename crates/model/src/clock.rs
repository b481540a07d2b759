//! The only source of timestamps, so that tests can set the time.

use chrono::{DateTime, Duration, Utc};
use std::sync::{Arc, Mutex};

/// Tells the time. `Clock::default()` is the machine's; `Clock::at` stands still until it is moved.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<DateTime<Utc>>>>);

impl Clock {
    /// A clock that stands at `time`; its clones move together.
    pub fn at(time: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(Mutex::new(time))))
    }

    /// Now, in microseconds as Postgres keeps them.
    pub fn now(&self) -> DateTime<Utc> {
        let now = match &self.0 {
            Some(time) => *time.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
            None => Utc::now(),
        };
        chrono::SubsecRound::trunc_subsecs(now, 6)
    }

    /// Moves a set clock forward; the machine's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(time) = &self.0 {
            *time.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_set_clock_move_together() {
        let clock = Clock::at(DateTime::UNIX_EPOCH);
        let clone = clock.clone();
        clock.advance(Duration::seconds(5));
        assert_eq!(clone.now().timestamp(), 5);
    }
}
