//! What a peer may let us wait for: the rest of a body, and that it takes what we send.

use super::seats::{Request, Seat, Stall};
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A whole body has to be here by then.
pub const BODY_WITHIN: Duration = Duration::from_secs(30);
/// The peer has to take something of an answer within this time.
pub const TAKE_WITHIN: Duration = Duration::from_secs(30);
/// No request is longer, whatever it is for; forms have limits of their own below this.
const BODY_BYTES: u64 = 4 * 1024 * 1024;

/// A request's body that ends with an error when it takes too long or is too long.
pub struct Received<B = Incoming> {
    body: B,
    left: u64,
    until: Pin<Box<Sleep>>,
    seat: Arc<Seat>,
}

impl<B> Received<B> {
    pub fn new(body: B, seat: Arc<Seat>) -> Self {
        Self { body, left: BODY_BYTES, until: Box::pin(sleep_until(Instant::now() + BODY_WITHIN)), seat }
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, axum::BoxError> {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.left = self.left.checked_sub(length).ok_or("the body is too long")?;
        Ok(frame)
    }
}

/// Nobody waits for the rest of a body that is dropped: what follows is our work.
impl<B> Drop for Received<B> {
    fn drop(&mut self) {
        self.seat.stall(Stall::Body, false);
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Unpin> HttpBody for Received<B> {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if self.until.as_mut().poll(cx).is_ready() {
            self.seat.stall(Stall::Body, false);
            return Poll::Ready(Some(Err("the body did not arrive in time".into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.seat.stall(Stall::Body, polled.is_pending());
        let frame = ready!(polled);
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into).and_then(|frame| self.count(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, with what lives as long as it is sent.
pub struct Answer<T> {
    body: Body,
    _alive: (Request, T),
}

impl<T> Answer<T> {
    pub fn new(body: Body, request: Request, more: T) -> Self {
        Self { body, _alive: (request, more) }
    }
}

impl<T: Unpin> HttpBody for Answer<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose writes fail when the peer takes nothing for too long.
pub struct Taken<S> {
    stream: S,
    until: Option<Pin<Box<Sleep>>>,
    seat: Arc<Seat>,
}

impl<S> Taken<S> {
    pub fn new(stream: S, seat: Arc<Seat>) -> Self {
        Self { stream, until: None, seat }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            if self.until.take().is_some() {
                self.seat.stall(Stall::Taking, false);
            }
            return polled;
        }
        self.seat.stall(Stall::Taking, true);
        let until = self.until.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + TAKE_WITHIN)));
        match until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::super::seats::{Limits, Seats};
    use super::*;
    use futures::FutureExt;

    /// Says nothing, and does not end.
    struct Silent;

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            Poll::Pending
        }
    }

    fn waits(body: &mut Received<Silent>) -> bool {
        std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).now_or_never().is_none()
    }

    #[tokio::test]
    async fn a_connection_whose_body_is_given_up_is_at_work_again() {
        let seats = Seats::new(Limits { all: 1, per_address: 1, grace: Duration::ZERO });
        let peer = "10.0.0.1".parse().unwrap();
        let held = seats.enter(peer, false).unwrap();
        let request = held.seat.begin();
        let leaves = || seats.enter(peer, false).is_some();
        let mut given_up = Received::new(Silent, held.seat.clone());
        assert!(waits(&mut given_up));
        drop(given_up);
        assert!(!leaves(), "what follows is our work");
        let mut late = Received::new(Silent, held.seat.clone());
        assert!(waits(&mut late));
        late.until = Box::pin(sleep_until(Instant::now()));
        let end = std::future::poll_fn(|cx| Pin::new(&mut late).poll_frame(cx)).await;
        assert!(end.unwrap().is_err(), "it took too long");
        assert!(!leaves());
        let mut waited_for = Received::new(Silent, held.seat.clone());
        assert!(waits(&mut waited_for));
        assert!(leaves(), "its peer lets us wait");
        drop(request);
    }
}
