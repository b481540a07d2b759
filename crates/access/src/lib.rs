#![doc = include_str!("../README.md")]

pub mod audit;
pub mod login;
pub mod password;
pub mod session;
pub mod user;

pub use audit::By;
pub use login::{Attempt, Door, Login, LoginError, Logins, NewPassword, PasswordError};
pub use session::{Limits, Session};
pub use user::{Permission, User, UserRole, create_admin_if_none, set_password};
