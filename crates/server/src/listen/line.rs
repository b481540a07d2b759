//! Connections that found no place at once: they wait a little, the last to come first, since those before it are more likely an attack's.

use super::seats::{Held, Seats};
use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use web::{Network, forwarded};

/// One more, and the one that waited longest is turned away.
pub const AT_MOST: usize = 256;
const WAIT: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Line(VecDeque<(TcpStream, SocketAddr, Instant)>);

impl Line {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn join(&mut self, stream: TcpStream, peer: SocketAddr) {
        if self.0.len() >= AT_MOST {
            self.0.pop_front();
        }
        self.0.push_back((stream, peer, Instant::now()));
    }

    /// Takes out those who get a place now, and turns away who waited too long.
    pub fn seat(&mut self, seats: &Seats, trusted: &[Network]) -> Vec<(TcpStream, SocketAddr, Held)> {
        let mut seated = Vec::new();
        let mut full: HashSet<IpAddr> = HashSet::new();
        let mut left = VecDeque::new();
        while let Some((stream, peer, since)) = self.0.pop_back() {
            let proxy = forwarded::is_in(trusted, peer.ip().to_canonical());
            let held = if full.contains(&peer.ip()) { None } else { seats.enter(peer.ip(), proxy) };
            match held {
                Some(held) => seated.push((stream, peer, held)),
                None => {
                    full.insert(peer.ip());
                    if since.elapsed() < WAIT {
                        left.push_front((stream, peer, since));
                    }
                }
            }
        }
        self.0 = left;
        seated
    }
}
