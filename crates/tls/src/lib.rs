#![doc = include_str!("../README.md")]

mod accepting_verifier;
mod client;
mod identity;
mod refusal;
mod text;

pub use accepting_verifier::AcceptingVerifier;
pub use client::{Trust, certificates, client_config};
pub use identity::{Identity, IdentityError};
pub use refusal::Refusal;
pub use text::{certificates_in, pem_of};
