//! What every page has: title, place in the menu, breadcrumbs, theme, the one-time message after an action.

use crate::error::Result;
use crate::freshness::Freshness;
use crate::session::Visit;
use crate::show;
use access::{Permission, User};
use askama::Template;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};

const FLASH: &str = "tidewaiter_flash";
/// The cookie with the chosen theme: `light` or `dark`.
pub const THEME: &str = "tidewaiter_theme";

/// The fields of `layout.html`.
#[derive(Debug, Clone)]
pub struct Page {
    pub title: String,
    /// The key of the entry in the side menu (`layout.html`).
    pub here: &'static str,
    /// Names of the tables, separated by blanks, whose change makes the page ask for its content again.
    pub live: &'static str,
    pub crumbs: Vec<Link>,
    pub flash: Option<Flash>,
    pub csrf: String,
    pub user_name: String,
    pub theme: Theme,
    pub now: DateTime<Utc>,
    /// Only the content was asked for (by htmx or a live page), not the frame.
    pub fragment: bool,
    /// Path and query of this page.
    pub address: String,
    /// How old what it shows of the clusters may be; of pages about the inventory.
    pub freshness: Option<Freshness>,
    pub user: User,
}

impl Page {
    /// Says which tables keep the page live.
    pub fn live(mut self, tables: &'static str) -> Self {
        self.live = tables;
        self
    }

    /// Adds a breadcrumb; the page itself comes last without being added.
    pub fn crumb(mut self, word: impl Into<String>, href: impl Into<String>) -> Self {
        self.crumbs.push(Link { word: word.into(), href: href.into() });
        self
    }

    /// Says how old what it shows of the clusters may be.
    pub fn fresh(mut self, freshness: Freshness) -> Self {
        self.freshness = Some(freshness);
        self
    }

    /// Why the user may not do what needs `permission`; `None` when the role allows it.
    pub fn denied(&self, permission: Permission) -> Option<String> {
        (!self.user.may(permission)).then(|| format!("Your role does not allow you to {}", permission.label()))
    }

    /// `at` as "5 min ago" with the exact time on hover.
    pub fn ago(&self, at: &DateTime<Utc>) -> show::Ago {
        show::Ago { at: Some(*at), now: self.now }
    }

    /// As [`Page::ago`]; "never" without a time.
    pub fn ago_opt(&self, at: &Option<DateTime<Utc>>) -> show::Ago {
        show::Ago { at: *at, now: self.now }
    }
}

/// A word that leads somewhere in Tidewaiter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub word: String,
    pub href: String,
}

/// A message shown once, on the page after an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// success, info, warning or danger.
    pub kind: String,
    pub text: String,
    pub link: Option<Link>,
}

impl Flash {
    pub fn success(text: impl Into<String>) -> Self {
        Self { kind: "success".to_owned(), text: text.into(), link: None }
    }

    pub fn warning(text: impl Into<String>) -> Self {
        Self { kind: "warning".to_owned(), text: text.into(), link: None }
    }

    pub fn danger(text: impl Into<String>) -> Self {
        Self { kind: "danger".to_owned(), text: text.into(), link: None }
    }

    /// With a link below the text.
    pub fn link(mut self, word: impl Into<String>, href: impl Into<String>) -> Self {
        self.link = Some(Link { word: word.into(), href: href.into() });
        self
    }

    /// The message that `jar` carries. Links that lead away are dropped: cookies can be written by others on the same host.
    pub fn of(jar: &CookieJar) -> Option<Self> {
        let text = URL_SAFE_NO_PAD.decode(jar.get(FLASH)?.value()).ok()?;
        let mut flash: Self = serde_json::from_slice(&text).ok()?;
        flash.link = flash.link.filter(|link| local(&link.href) == link.href);
        matches!(flash.kind.as_str(), "success" | "info" | "warning" | "danger").then_some(flash)
    }
}

/// 303 to `to`, where `flash` is shown once.
pub fn redirect(to: &str, flash: Flash) -> Response {
    let value = serde_json::to_vec(&flash).map(|text| URL_SAFE_NO_PAD.encode(text)).unwrap_or_default();
    let cookie = Cookie::build((FLASH, value)).path("/").http_only(true).same_site(SameSite::Lax);
    (CookieJar::new().add(cookie), Redirect::to(to)).into_response()
}

/// `address` when it is a path of ours that a header can hold, else `/`.
pub fn local(address: &str) -> &str {
    let path = address.starts_with('/') && !address.starts_with("//") && !address.contains('\\') && !address.contains(char::is_control);
    if path { address } else { "/" }
}

/// Light or dark: chosen by the user, else as the system prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
    System { dark: bool },
}

impl Default for Theme {
    fn default() -> Self {
        Self::System { dark: false }
    }
}

impl Theme {
    /// By the cookie, else by the hint that browsers give in `Sec-CH-Prefers-Color-Scheme`.
    pub fn of(headers: &HeaderMap) -> Self {
        match CookieJar::from_headers(headers).get(THEME).map(Cookie::value) {
            Some("dark") => Self::Dark,
            Some("light") => Self::Light,
            _ => Self::System {
                dark: headers.get("sec-ch-prefers-color-scheme").is_some_and(|value| value.as_bytes().ends_with(b"dark") || value == "\"dark\""),
            },
        }
    }

    /// The classes of `<html>`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Dark => "pf-v6-theme-dark tw-chosen",
            Self::Light => "tw-chosen",
            Self::System { dark: true } => "pf-v6-theme-dark",
            Self::System { dark: false } => "",
        }
    }

    /// What the switch changes to.
    pub fn other(&self) -> &'static str {
        match self {
            Self::Dark | Self::System { dark: true } => "light",
            _ => "dark",
        }
    }
}

/// The page as a response: never cached, its message shown only this once.
///
/// # Errors
/// The template failed.
pub fn respond(visit: &Visit, template: &impl Template) -> Result<Response> {
    let mut response = Html(template.render()?).into_response();
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("HX-Request, Cookie"));
    if visit.flash.is_some() && !visit.fragment {
        let gone = Cookie::build((FLASH, "")).path("/").max_age(Default::default());
        if let Ok(value) = HeaderValue::from_str(&gone.to_string()) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_ours_are_followed() {
        assert_eq!(local("/images?q=a"), "/images?q=a");
        for away in ["https://example.com", "//example.com", "/\\example.com", "javascript:alert(1)", "", "/a\r\nb", "/\0", "/\t/example.com", "/\u{7f}"] {
            assert_eq!(local(away), "/", "{away:?}");
        }
    }
}
