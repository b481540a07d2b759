#![doc = include_str!("../README.md")]

pub mod serve;
pub mod settings;
mod inspection;
mod content;
pub mod pull;
pub mod reference;
pub mod registry;
mod transport;
mod challenge;
mod auth;
mod manifest;
mod config;
pub mod unpack;
mod archive;
mod state;
mod notes;
mod failure;
mod inside;
pub mod os;
pub mod packages;
pub mod oscap;
