//! Keeps the bytes that an XML reader takes, so that elements can be written again as they stood.

use super::limits::MAX_FRAGMENT_BYTES;
use std::cell::RefCell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

/// What stands before an element and behind it, and what a buffer holds beyond it.
const SLACK_BYTES: usize = 1 << 20;

/// What was read since the last [`Tape::clear`].
#[derive(Clone, Default)]
pub(super) struct Tape(Rc<RefCell<Vec<u8>>>);

impl Tape {
    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Calls `take` with what is on the tape, and clears it.
    pub(super) fn take<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T {
        let mut bytes = self.0.borrow_mut();
        let taken = take(&bytes);
        bytes.clear();
        taken
    }
}

/// An input whose bytes go to a tape as they are used.
pub(super) struct Recorder<R> {
    inner: R,
    tape: Tape,
}

impl<R: BufRead> Recorder<R> {
    pub(super) fn new(inner: R) -> (Self, Tape) {
        let tape = Tape::default();
        (Self { inner, tape: tape.clone() }, tape)
    }
}

impl<R: BufRead> Read for Recorder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(out.len());
        out[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Recorder<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.tape.0.borrow().len() > MAX_FRAGMENT_BYTES + SLACK_BYTES {
            return Err(io::Error::other("one element is too large: more than 4 MiB"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        // What is in the buffer is given again without reading, so that this cannot fail.
        if let Ok(bytes) = self.inner.fill_buf() {
            self.tape.0.borrow_mut().extend_from_slice(&bytes[..n]);
        }
        self.inner.consume(n);
    }
}
