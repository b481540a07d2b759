//! Where a request comes from when proxies stand in between: their headers count only when they come from a proxy that is trusted.

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// An address, or a network of them: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    /// How many leading bits are the network's.
    prefix: u32,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither an address nor a network such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let address = if prefix.is_none() { address.to_canonical() } else { address };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        match prefix.unwrap_or(bits) {
            prefix if prefix <= bits => Ok(Self { address, prefix }),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        // The bits that differ, at the top; a shift by the whole width leaves none.
        let differing = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).checked_shr(32 - self.prefix).map(u128::from),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).checked_shr(128 - self.prefix),
            _ => return false,
        };
        differing.unwrap_or(0) == 0
    }
}

/// In the extensions of requests that came over the server's own TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

/// Where a request comes from, as far as trusted proxies tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// Notes the [`Client`] of a request, and takes the headers away that a peer which is no trusted proxy sent.
pub async fn settle(State(trusted): State<Arc<[Network]>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    if !peer.is_some_and(|peer| is_in(&trusted, peer)) {
        request.headers_mut().remove(FOR);
        request.headers_mut().remove(PROTO);
    }
    if request.extensions().get::<OverTls>().is_some() {
        request.headers_mut().insert(PROTO, HeaderValue::from_static("https"));
    }
    if let Some(peer) = peer {
        let client = Client(client(request.headers(), peer, &trusted));
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}

/// Whether one of `networks` has `address`.
pub fn is_in(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.has(address))
}

/// The last address that no trusted proxy has: each proxy adds the one that it was called from at the end, and whatever stands before may be made up.
pub fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let lines = headers.get_all(FOR).iter().map(|line| line.to_str().unwrap_or_default());
    let entries: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let mut client = peer;
    for entry in entries.into_iter().rev() {
        let Some(address) = parse(entry) else { break };
        client = address;
        if !is_in(trusted, address) {
            break;
        }
    }
    client
}

/// `10.0.0.1`, `10.0.0.1:1234`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:1234`.
fn parse(entry: &str) -> Option<IpAddr> {
    let plain = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = plain.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The client's address and the scheme that is believed, as a handler sees them.
    async fn seen(peer: &str, trusted: &[&str], forwarded_for: &[&str]) -> String {
        let handler = async |request: Request| {
            let (parts, _) = request.into_parts();
            let scheme = parts.headers.get(PROTO).map_or("http", |scheme| scheme.to_str().unwrap());
            format!("{scheme} {}", crate::session::client_address(&parts))
        };
        let trusted: Arc<[Network]> = networks(trusted).into();
        let router: Router = Router::new().route("/", get(handler)).layer(from_fn_with_state(trusted, settle));
        let mut request = Request::get("/").header(PROTO, "https").body(Body::empty()).unwrap();
        for line in forwarded_for {
            request.headers_mut().append(FOR, line.parse().unwrap());
        }
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1234)));
        let body = router.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn who_is_no_trusted_proxy_cannot_say_where_a_request_comes_from() {
        assert_eq!(seen("203.0.113.9", &[], &["10.0.0.1"]).await, "http 203.0.113.9");
        assert_eq!(seen("203.0.113.9", &["10.0.0.0/8"], &["10.0.0.1"]).await, "http 203.0.113.9");
    }

    #[tokio::test]
    async fn behind_trusted_proxies_the_last_address_of_another_counts() {
        let trusted = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(seen("10.0.0.1", &trusted, &["203.0.113.5"]).await, "https 203.0.113.5");
        assert_eq!(seen("10.0.0.1", &trusted, &["1.1.1.1, 203.0.113.5", "10.9.9.9:80"]).await, "https 203.0.113.5", "what comes before may be made up");
        assert_eq!(seen("::ffff:10.0.0.1", &trusted, &["[2001:db8::5]:443, fd00::1"]).await, "https 2001:db8::5");
        assert_eq!(seen("10.0.0.1", &trusted, &["10.2.0.1, 10.3.0.1"]).await, "https 10.2.0.1", "a client inside the network");
        assert_eq!(seen("10.0.0.1", &trusted, &["203.0.113.5, unknown"]).await, "https 10.0.0.1", "nobody knows who that was");
        assert_eq!(seen("10.0.0.1", &trusted, &[]).await, "https 10.0.0.1");
    }

    #[test]
    fn a_network_has_the_addresses_of_its_prefix() {
        let has = |network: &str, address: &str| network.parse::<Network>().unwrap().has(address.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.6"));
        assert!(has("0.0.0.0/0", "255.1.2.3") && !has("0.0.0.0/0", "::1") && has("::/0", "::1"));
        assert!(has("2001:db8::/33", "2001:db8:7fff::1") && !has("2001:db8::/33", "2001:db8:8000::1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.1/x", "proxy"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains(&format!("{wrong:?}")));
        }
    }
}
