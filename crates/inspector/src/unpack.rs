//! Unpacking an image's layers into a folder, as an ordinary user and without trusting a byte of them.
//!
//! Nothing outside the root is ever touched, nothing is created that could make a reader wait (pipes, devices, sockets), and no link leads out.
//!
//! Source: OCI image specification 1.1, layer.md.

mod decoder;
mod layer;
mod limits;
mod links;
mod synthetic;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use layer::apply;
pub use limits::Limits;
pub(crate) use limits::Refusal;
pub(crate) use synthetic::complete;
pub(crate) use tree::Tree;
