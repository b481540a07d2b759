#![doc = include_str!("../README.md")]

mod inside;
pub mod os;
pub mod oscap;
pub mod packages;
