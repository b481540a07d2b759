#![doc = include_str!("../README.md")]

pub mod clock;
pub mod database;
pub mod ids;
pub mod seal;

pub use clock::Clock;
pub use database::MIGRATOR;
pub use seal::Sealer;
