//! File descriptors: as many as the system allows, and no more connections than they suffice for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Beside connections of browsers: those that wait for a place, the database, providers, files.
const OTHERS: u64 = 512;

/// Raises the limit of this process to its hard limit; gives the limit.
pub fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, hard, "the limit of open files could not be raised");
        return soft;
    }
    hard
}

/// `wanted` connections, or as many as `limit` files leave room for.
pub fn connections(wanted: usize, limit: u64) -> usize {
    let room = usize::try_from(limit.saturating_sub(OTHERS).max(limit / 4)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(wanted, room, limit, "fewer connections are taken than server.max_connections says: this process may open too few files (ulimit -n)");
    }
    wanted.min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_rest() {
        assert_eq!([connections(512, 1_048_576), connections(512, 600), connections(512, 256)], [512, 150, 64]);
    }
}
