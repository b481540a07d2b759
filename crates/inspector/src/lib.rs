#![doc = include_str!("../README.md")]

mod archive;
mod auth;
mod challenge;
mod config;
mod content;
pub mod facts;
mod failure;
#[cfg(fuzzing)]
pub mod fuzzing;
mod go;
pub mod handover;
mod inside;
mod inspection;
mod manifest;
mod notes;
pub mod os;
pub mod oscap;
pub mod packages;
pub mod platform;
pub mod pull;
mod reach;
pub mod reference;
pub mod registry;
pub mod serve;
pub mod settings;
mod state;
mod transport;
pub mod unpack;
