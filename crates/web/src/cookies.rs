//! Cookies over https: `Secure`, and named `__Host-…`, so that neither another host of the domain nor plain http can write them.
//! Handlers know only the plain names; this one layer stands between them and the browser.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

const PREFIX: &str = "__Host-";
/// A year. Subdomains are not ours to speak for.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// For servers that are reached by https alone.
pub async fn https_only(mut request: Request, next: Next) -> Response {
    let plain = without_prefix(request.headers());
    request.headers_mut().remove(header::COOKIE);
    if let Ok(plain) = HeaderValue::from_str(&plain)
        && !plain.is_empty()
    {
        request.headers_mut().insert(header::COOKIE, plain);
    }
    let mut response = next.run(request).await;
    add_prefix(response.headers_mut());
    response.headers_mut().insert(HeaderName::from_static("strict-transport-security"), STRICT_TRANSPORT);
    response
}

/// The cookies that have the prefix, without it. Others were not written over https by us.
fn without_prefix(headers: &HeaderMap) -> String {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let cookies: Vec<&str> = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().strip_prefix(PREFIX)).collect();
    cookies.join("; ")
}

fn add_prefix(headers: &mut HeaderMap) {
    let set: Vec<String> = headers.get_all(header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok()).map(prefixed).collect();
    headers.remove(header::SET_COOKIE);
    for cookie in set {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            headers.append(header::SET_COOKIE, value);
        }
    }
}

/// Browsers refuse the prefix without `Secure`, without the path `/`, and with a domain.
fn prefixed(cookie: &str) -> String {
    let mut parts = cookie.split(';').map(str::trim);
    let mut out = format!("{PREFIX}{}", parts.next().unwrap_or_default());
    for part in parts {
        let key = part.split('=').next().unwrap_or_default().to_ascii_lowercase();
        if !matches!(key.as_str(), "path" | "secure" | "domain") {
            out = format!("{out}; {part}");
        }
    }
    out + "; Path=/; Secure"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cookies_that_were_written_over_https_come_in() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=planted; __Host-a=1".parse().unwrap());
        headers.append(header::COOKIE, "__Host-b=2;c=3".parse().unwrap());
        assert_eq!(without_prefix(&headers), "a=1; b=2");
    }

    #[test]
    fn what_goes_out_is_secure_and_this_hosts_alone() {
        assert_eq!(prefixed("a=1; HttpOnly; SameSite=Lax; Path=/login"), "__Host-a=1; HttpOnly; SameSite=Lax; Path=/; Secure");
        assert_eq!(prefixed("a=; Path=/; Max-Age=0; Secure; Domain=x"), "__Host-a=; Max-Age=0; Path=/; Secure");
    }
}
