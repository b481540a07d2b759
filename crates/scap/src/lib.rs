#![doc = include_str!("../README.md")]

pub mod arf;
pub mod debian_version;
pub mod evaluation;
pub mod feed;
pub mod keyring;
pub mod oval;
pub mod protocol;
pub mod report;
pub mod secrets;
pub mod tally;
mod text;
mod xml;
