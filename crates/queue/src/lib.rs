#![doc = include_str!("../README.md")]

pub mod job;
pub mod role;
pub mod server;
pub mod task;
pub mod worker;

pub use job::{Event, Job, JobError, Queue, RaisedEvent, enqueue, enqueue_many, setup};
pub use worker::{Handler, work};
