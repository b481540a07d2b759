#![doc = include_str!("../README.md")]

pub mod login;
pub mod password;
pub mod session;
pub mod user;

pub use login::{Login, LoginError, login, verify_basic};
pub use session::{Limits, Session};
pub use user::{Permission, User, UserRole, create_admin_if_none, set_password};
