//! What is logged of people's doings: one function per event, so that each can become a row. Texts that people typed are fields and never part of the message.

use crate::login::Door;

/// Who acts, and from where (`cli:alice` acts on the server's machine and has no address).
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    pub userid: &'a str,
    pub address: &'a str,
}

/// A command on the server's machine.
pub const NO_ADDRESS: &str = "";

pub fn logged_in(by: By<'_>, door: Door, known_device: bool) {
    tracing::info!(userid = by.userid, address = by.address, door = door.as_str(), known_device, outcome = "ok", "login");
}

pub fn login_failed(by: By<'_>, door: Door) {
    tracing::warn!(userid = by.userid, address = by.address, door = door.as_str(), outcome = "wrong", "login");
}

/// Further attempts have to wait, which is said once as it begins. `limit`: which one was reached.
pub fn logins_slowed(by: By<'_>, door: Door, limit: &'static str) {
    tracing::warn!(userid = by.userid, address = by.address, door = door.as_str(), limit, outcome = "slowed", "too many failed logins");
}

pub fn logged_out(by: By<'_>) {
    tracing::info!(userid = by.userid, address = by.address, outcome = "ok", "logout");
}

/// A person ended sessions of its own in other browsers.
pub fn sessions_ended(by: By<'_>, count: u64) {
    tracing::info!(userid = by.userid, address = by.address, count, outcome = "ok", "sessions ended");
}

pub fn password_changed(by: By<'_>, user: &str) {
    tracing::info!(userid = by.userid, address = by.address, user, outcome = "ok", "password changed");
}

pub fn password_change_refused(by: By<'_>, user: &str) {
    tracing::warn!(userid = by.userid, address = by.address, user, outcome = "refused", "password changed");
}

pub fn user_added(by: By<'_>, user: &str, role: &str) {
    tracing::info!(userid = by.userid, address = by.address, user, role, outcome = "ok", "user added");
}

pub fn user_removed(by: By<'_>, user: &str) {
    tracing::info!(userid = by.userid, address = by.address, user, outcome = "ok", "user removed");
}

pub fn user_role_changed(by: By<'_>, user: &str, role: &str) {
    tracing::info!(userid = by.userid, address = by.address, user, role, outcome = "ok", "user's role changed");
}

pub fn provider_added(by: By<'_>, provider: &str) {
    tracing::info!(userid = by.userid, address = by.address, provider, outcome = "ok", "provider added");
}

pub fn provider_changed(by: By<'_>, provider: &str) {
    tracing::info!(userid = by.userid, address = by.address, provider, outcome = "ok", "provider changed");
}

pub fn provider_paused(by: By<'_>, provider: &str, paused: bool) {
    tracing::info!(userid = by.userid, address = by.address, provider, paused, outcome = "ok", "provider paused or resumed");
}

pub fn provider_removed(by: By<'_>, provider: &str) {
    tracing::info!(userid = by.userid, address = by.address, provider, outcome = "ok", "provider removed");
}

pub fn server_role_switched(by: By<'_>, server: &str, role: &str, on: bool) {
    tracing::info!(userid = by.userid, address = by.address, server, role, on, outcome = "ok", "server role switched");
}
