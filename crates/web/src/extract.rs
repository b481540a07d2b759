//! What pages take from a request, refused with a page of ours instead of a line of text.

use crate::error::{Error, Result};
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The parts of the address. What cannot be one of them (letters for a number) is an address where nothing is.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path)).map_err(|_| Error::NotFound("This page"))
    }
}

/// A form; a field may occur many times.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let form = axum_extra::extract::Form::from_request(request, state).await;
        form.map(|axum_extra::extract::Form(form)| Self(form))
            .map_err(|_| Error::BadRequest("A field of the form is missing or holds what it cannot.".to_owned()))
    }
}

/// The form of a list's actions: the rows that were ticked, or all that match.
#[derive(Debug, Deserialize)]
pub struct Selected {
    /// The ticked rows.
    #[serde(default)]
    pub id: Vec<i64>,
    /// Given: all rows that match `query`, ticked or not.
    pub all: Option<String>,
    /// The list's search, filters and order.
    #[serde(default)]
    pub query: String,
    /// The list's address.
    #[serde(default)]
    pub back: String,
}

/// A form with files.
pub struct Upload(axum::extract::Multipart);

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        axum::extract::Multipart::from_request(request, state).await.map(Self).map_err(|_| broken())
    }
}

impl Upload {
    /// The next field's name and text; `None` after the last one.
    ///
    /// # Errors
    /// `BadRequest`: the form was cut off, or the field is not text.
    pub async fn next(&mut self) -> Result<Option<(String, String)>> {
        let Some(field) = self.0.next_field().await.map_err(|_| broken())? else { return Ok(None) };
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(|_| broken())?;
        let text = text(&bytes).ok_or_else(|| Error::BadRequest("A field holds what is not text.".to_owned()))?;
        Ok(Some((name, text)))
    }
}

/// UTF-8, or UTF-16 with its mark, as PowerShell writes files.
fn text(bytes: &[u8]) -> Option<String> {
    let (rest, little) = match bytes {
        [0xff, 0xfe, rest @ ..] => (rest, true),
        [0xfe, 0xff, rest @ ..] => (rest, false),
        _ => return String::from_utf8(bytes.to_vec()).ok(),
    };
    let (pairs, []) = rest.as_chunks::<2>() else { return None };
    let units: Vec<u16> = pairs.iter().map(|pair| if little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) }).collect();
    String::from_utf16(&units).ok()
}

fn broken() -> Error {
    Error::BadRequest("The form came damaged or is larger than 2 MiB.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uploaded_text_may_be_utf_16() {
        let units: Vec<u16> = "kind: Config é".encode_utf16().collect();
        let little: Vec<u8> = [0xff, 0xfe].into_iter().chain(units.iter().flat_map(|unit| unit.to_le_bytes())).collect();
        let big: Vec<u8> = [0xfe, 0xff].into_iter().chain(units.iter().flat_map(|unit| unit.to_be_bytes())).collect();
        for bytes in [&little[..], &big, "kind: Config é".as_bytes()] {
            assert_eq!(text(bytes).as_deref(), Some("kind: Config é"));
        }
        for bytes in [&[0xff, 0xfe, 0x41][..], &[0xff], &[0xff, 0xfe, 0x00, 0xd8]] {
            assert_eq!(text(bytes), None);
        }
    }
}
