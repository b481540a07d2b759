//! The server's door: accepts connections, bounds how many there are and how long they may let us wait, and speaks TLS when there is a certificate.
//! HTTP/1.1 alone (docs/adr/0004).

mod bounds;
mod line;
mod seats;
mod tls;

pub use seats::Limits;
pub use tls::Certificate;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use bounds::{Answer, Received, Taken};
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use line::Line;
use rustls::ServerConfig;
use seats::{Crowd, Held, Seats};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use web::{Network, Standing, forwarded};

/// See [`Limits::grace`].
pub const GRACE: Duration = Duration::from_secs(1);
/// A request's header has to be here by then, from the moment on that we wait for one: idle connections end then, too.
const HEADER_WITHIN: Duration = Duration::from_secs(20);
/// For trusted proxies, which keep connections open and must be the first to close them.
const PROXY_HEADER_WITHIN: Duration = Duration::from_secs(90);
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Holds the longest header that is taken.
const BUFFER_BYTES: usize = 64 * 1024;
/// How often those who wait for a place are looked at.
const LINE_MOVES: Duration = Duration::from_millis(25);
/// After a failure to accept, such as no file descriptor being left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How to answer.
pub struct Door {
    pub router: Router,
    pub limits: Limits,
    pub trusted_proxies: Vec<Network>,
    pub tls: Option<Arc<ServerConfig>>,
}

/// What every connection needs.
#[derive(Clone)]
struct Inside {
    router: Router,
    trusted: Arc<[Network]>,
    crowd: Crowd,
    tls: Option<TlsAcceptor>,
}

/// Answers until `stop`; then connections end with what they are answering.
pub async fn answer(listener: TcpListener, door: Door, stop: watch::Receiver<bool>) {
    let seats = Seats::new(door.limits);
    let inside =
        Inside { router: door.router, trusted: door.trusted_proxies.into(), crowd: Crowd::new(door.limits.per_address), tls: door.tls.map(TlsAcceptor::from) };
    let mut connections = JoinSet::new();
    let mut line = Line::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => line.join(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_) = connections.join_next() => continue,
            () = tokio::time::sleep(LINE_MOVES), if !line.is_empty() => {}
            () = crate::jobs::stopped(stop.clone()) => break,
        }
        for (stream, peer, held) in line.seat(&seats, &inside.trusted) {
            connections.spawn(connection(inside.clone(), stream, peer, held, stop.clone()));
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(inside: Inside, stream: TcpStream, peer: SocketAddr, held: Held, stop: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone at once");
        return;
    }
    let seat = held.seat.clone();
    tokio::select! {
        () = speak(inside, stream, peer, &held, stop) => {}
        () = seat.must_leave() => tracing::debug!(address = %peer.ip(), "a connection made room for another"),
    }
}

async fn speak(inside: Inside, mut stream: TcpStream, peer: SocketAddr, held: &Held, stop: watch::Receiver<bool>) {
    let Some(acceptor) = inside.tls.clone() else { return serve(inside, stream, peer, held, stop).await };
    let shaken = tokio::time::timeout(HANDSHAKE_WITHIN, async {
        let mut first = [0];
        // A handshake record begins with 22: RFC 8446, section 5.1.
        match stream.peek(&mut first).await {
            Ok(1) if first[0] != 22 => {
                tell_https(&mut stream).await;
                None
            }
            Ok(_) => acceptor.accept(stream).await.inspect_err(|error| tracing::debug!(%error, "a TLS handshake failed")).ok(),
            Err(_) => None,
        }
    });
    if let Ok(Some(stream)) = shaken.await {
        serve(inside, stream, peer, held, stop).await;
    }
}

/// To who speaks http where https is spoken.
async fn tell_https(stream: &mut TcpStream) {
    const TEXT: &str = "This address speaks https: begin it with https://\n";
    let answer = format!("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{TEXT}", TEXT.len());
    let told = async {
        // What was sent is read, so that closing does not throw the answer away.
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, "who spoke http is gone");
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(inside: Inside, stream: S, peer: SocketAddr, held: &Held, stop: watch::Receiver<bool>) {
    let trusted_proxy = forwarded::is_in(&inside.trusted, peer.ip().to_canonical());
    let stream = TokioIo::new(Taken::new(stream, held.seat.clone()));
    let service = service_fn(|request| handle(inside.clone(), request, peer, trusted_proxy, held));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(if trusted_proxy { PROXY_HEADER_WITHIN } else { HEADER_WITHIN })
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(stream, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = crate::jobs::stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, address = %peer.ip(), "a connection ended early");
    }
}

async fn handle(inside: Inside, request: Request<Incoming>, peer: SocketAddr, trusted_proxy: bool, held: &Held) -> Result<Response, Infallible> {
    let begun = held.seat.begin();
    let client = forwarded::client(request.headers(), peer.ip().to_canonical(), &inside.trusted);
    // Behind a proxy it is the people who are counted, not the proxy's connections.
    let place = if trusted_proxy && client != peer.ip().to_canonical() { Some(inside.crowd.enter(client)) } else { None };
    if matches!(place, Some(None)) {
        return Ok(too_many(client));
    }
    let place = Arc::new(Mutex::new(place.flatten()));
    let seat = held.seat.clone();
    let (parts, body) = request.into_parts();
    let mut request = Request::from_parts(parts, Body::new(Received::new(body, seat.clone())));
    request.extensions_mut().insert(ConnectInfo(peer));
    if inside.tls.is_some() {
        request.extensions_mut().insert(forwarded::OverTls);
    }
    let proven = place.clone();
    request.extensions_mut().insert(Standing::new(move || {
        seat.prove();
        proven.lock().unwrap_or_else(PoisonError::into_inner).take();
    }));
    let response = inside.router.oneshot(request).await.into_response();
    if response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        begun.is_stream();
    }
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, Body::new(Answer::new(body, begun, place))))
}

fn too_many(client: IpAddr) -> Response {
    tracing::debug!(address = %client, "a request was refused: its address makes too many at once");
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], "Too many requests at once from your address. Try again in a second.\n").into_response()
}
