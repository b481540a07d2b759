#![doc = include_str!("../README.md")]

mod event;
mod request;

pub use event::handle;
pub use request::{Denied, request_scan, request_scans};
