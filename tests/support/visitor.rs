//! A person at the login page of the real server, with a browser's cookies and an address of its own.

use reqwest::{Client, Method, Response, StatusCode, header, redirect};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Keeps cookies; follows no redirect.
pub struct Visitor {
    url: String,
    client: Client,
    pub cookies: BTreeMap<String, String>,
}

/// What was answered.
pub struct Answer {
    pub status: StatusCode,
    pub headers: header::HeaderMap,
    pub body: String,
}

impl Visitor {
    /// Somebody at `address`, one of the loopback network.
    pub fn from(url: &str, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let client = Client::builder().local_address(address).redirect(redirect::Policy::none()).timeout(Duration::from_secs(60)).pool_max_idle_per_host(0);
        Self::with(url, client.build().unwrap())
    }

    pub fn with(url: &str, client: Client) -> Self {
        Self { url: url.to_owned(), client, cookies: BTreeMap::new() }
    }

    /// Another browser at the same address.
    pub fn another(&self) -> Self {
        Self::with(&self.url, self.client.clone())
    }

    pub fn cookie_header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Tries to log in; the session of before is forgotten, what else the browser has is not.
    pub async fn log_in(&mut self, password: &str) -> Answer {
        self.try_log_in(password).await.unwrap_or_else(|error| panic!("logging in: {error:?}"))
    }

    /// As [`Visitor::log_in`], of somebody whose connections the server may end.
    pub async fn try_log_in(&mut self, password: &str) -> reqwest::Result<Answer> {
        self.cookies.retain(|name, _| !name.ends_with("_session"));
        let page = self.send(Method::GET, "/login", String::new()).await?;
        if page.status != StatusCode::OK {
            return Ok(page);
        }
        let token = between(&page.body, "name=\"csrf_token\" value=\"", "\"").to_owned();
        self.post("/login", &[("csrf_token", &token), ("userid", "admin"), ("password", password), ("next", "/tasks")]).await
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, String::new()).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    /// Sends a form of the page `from`.
    pub async fn submit(&mut self, from: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(from).await;
        let token = between(&page.body, "name=\"csrf-token\" content=\"", "\"").to_owned();
        self.post(path, &[fields, &[("csrf_token", &token)]].concat()).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> reqwest::Result<Answer> {
        let body = reqwest::Url::parse_with_params("http://form/", fields).unwrap().query().unwrap_or_default().to_owned();
        self.send(Method::POST, path, body).await
    }

    async fn send(&mut self, method: Method, path: &str, body: String) -> reqwest::Result<Answer> {
        let request = self.client.request(method, format!("{}{path}", self.url)).header(header::COOKIE, self.cookie_header());
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await?;
        self.keep_cookies(&answer);
        Ok(Answer { status: answer.status(), headers: answer.headers().clone(), body: answer.text().await? })
    }

    fn keep_cookies(&mut self, answer: &Response) {
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => self.cookies.remove(name),
                _ => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }
}

impl Answer {
    /// The seconds of `Retry-After`.
    pub fn retry_after(&self) -> u64 {
        self.headers.get(header::RETRY_AFTER).map_or(0, |value| value.to_str().unwrap().parse().unwrap())
    }
}

/// What stands in `text` after `start` and before `end`.
pub fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap_or_else(|| panic!("no {start:?} in:\n{text}")) + start.len();
    &text[from..][..text[from..].find(end).unwrap()]
}
