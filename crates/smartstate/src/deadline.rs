//! How long a scan may be in each of its states.

use crate::content::EVALUATING_SECS;
use crate::lease::State;
use chrono::{DateTime, Duration, Utc};

/// What a state has left at least when a server takes the scan over: time to look at the pod, however long the last server has been away.
const AFTER_TAKE_OVER_SECS: i64 = 60;

/// In seconds; 0 for the states in which nothing is done.
pub(crate) fn limit_secs(state: State) -> i64 {
    match state {
        State::CreatingPod => 150,
        State::StartingPod => 300,
        State::Pulling => 900,
        State::Evaluating => EVALUATING_SECS,
        State::Fetching => 300,
        State::Cleaning => 60,
        State::Waiting | State::Finished => 0,
    }
}

/// The end of a state that is entered at `now`.
pub(crate) fn of(state: State, now: DateTime<Utc>) -> DateTime<Utc> {
    now + Duration::seconds(limit_secs(state))
}

/// When `state`, which ends at `deadline` as it was saved, was entered; and the end that a server goes by which takes the scan over at `now`.
pub(crate) fn taken_over(state: State, deadline: Option<DateTime<Utc>>, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    let deadline = deadline.unwrap_or_else(|| of(state, now));
    let entered = deadline - Duration::seconds(limit_secs(state));
    (entered.min(now), deadline.max(now + Duration::seconds(AFTER_TAKE_OVER_SECS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn a_scan_whose_server_was_away_for_an_hour_has_a_minute_left_and_remembers_when_it_began() {
        let began = DateTime::UNIX_EPOCH;
        let saved = of(State::Pulling, began);
        let (soon, late) = (began + Duration::seconds(10), began + Duration::hours(1));
        assert_eq!(taken_over(State::Pulling, Some(saved), soon), (began, saved));
        assert_eq!(taken_over(State::Pulling, Some(saved), late), (began, late + Duration::seconds(60)));
        assert_eq!(taken_over(State::CreatingPod, None, late), (late, of(State::CreatingPod, late)));
    }

    /// Else the pod would end while its scan still has time, and the scan with it.
    #[test]
    fn a_pod_lives_longer_than_all_states_together_in_which_it_works() {
        let working = [State::StartingPod, State::Pulling, State::Evaluating, State::Fetching].map(limit_secs).iter().sum::<i64>();
        assert!(i64::try_from(Settings::default().pod_deadline_secs).unwrap() >= working, "{working}");
        let shipped = include_str!("../../../config/default.toml").parse::<toml::Table>().unwrap();
        assert_eq!(shipped["smartstate"]["pod_deadline_secs"].as_integer().unwrap().unsigned_abs(), Settings::default().pod_deadline_secs);
    }
}
