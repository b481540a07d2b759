//! The lines of a watch. The client's layer bounds each.

use crate::ask;
use crate::bounded::Count;
use http::Request;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;

/// A line without its end.
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    /// How many values it has at most, see [`crate::bounded`].
    pub(super) nodes: usize,
    /// The body ended before the line did.
    pub(super) is_cut: bool,
}

pub(super) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// Up to where `buffer` has no line's end.
    looked_at: usize,
    ended: bool,
}

impl Lines {
    pub(super) async fn open(client: &Client, request: Request<Vec<u8>>) -> Result<Self, kube::Error> {
        Ok(Self { body: ask::open(client, request).await?, buffer: Vec::new(), looked_at: 0, ended: false })
    }

    /// `None`: the watch ended. Nothing is lost when this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, kube::Error> {
        loop {
            if let Some(at) = self.buffer[self.looked_at..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.looked_at + at + 1);
                let mut bytes = std::mem::replace(&mut self.buffer, rest);
                self.looked_at = 0;
                bytes.pop();
                if bytes.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(line(bytes, false)));
            }
            self.looked_at = self.buffer.len();
            if self.ended {
                self.looked_at = 0;
                let rest = std::mem::take(&mut self.buffer);
                return Ok(if rest.iter().all(u8::is_ascii_whitespace) { None } else { Some(line(rest, true)) });
            }
            match self.body.frame().await {
                Some(frame) => self.buffer.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data)),
                None => self.ended = true,
            }
        }
    }
}

fn line(bytes: Vec<u8>, is_cut: bool) -> Line {
    // The layer has counted already; this is for the number alone.
    Line { nodes: Count::of(&bytes), bytes, is_cut }
}
