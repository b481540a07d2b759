//! Requests whose answers this crate reads itself: without the copies that kube makes of them, and without writing them to the log when they do not fit.

use crate::bounded::{Count, Limits};
use http::Request;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde::de::DeserializeOwned;

/// A bigger answer is parsed where it does not keep other requests waiting.
const PARSED_HERE_MAX: usize = 256 << 10;

/// The object at `path`.
pub(crate) async fn get<T: DeserializeOwned + Send + 'static>(client: &Client, path: &str, limits: Limits) -> Result<T, kube::Error> {
    let request = Request::get(path).extension(limits).body(Vec::new()).map_err(kube::Error::HttpError)?;
    json(client, request).await
}

/// A page of a list, and how many bytes and JSON values it came in.
pub(crate) async fn page<T: DeserializeOwned + Send + 'static>(client: &Client, path: &str, limits: Limits) -> Result<(T, usize, usize), kube::Error> {
    let request = Request::get(path).extension(limits).body(Vec::new()).map_err(kube::Error::HttpError)?;
    let body = bytes(client, request).await?;
    let parsed = tokio::task::spawn_blocking(move || {
        let page = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
        Ok((page, body.len(), Count::of(&body)))
    });
    parsed.await.map_err(|error| kube::Error::Service(error.into()))?
}

/// The answer as what it is expected to be.
pub(crate) async fn json<T: DeserializeOwned + Send + 'static>(client: &Client, request: Request<Vec<u8>>) -> Result<T, kube::Error> {
    let body = bytes(client, request).await?;
    if body.len() <= PARSED_HERE_MAX {
        return serde_json::from_slice(&body).map_err(kube::Error::SerdeError);
    }
    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&body)).await;
    parsed.map_err(|error| kube::Error::Service(error.into()))?.map_err(kube::Error::SerdeError)
}

async fn bytes(client: &Client, request: Request<Vec<u8>>) -> Result<Vec<u8>, kube::Error> {
    let mut body = open(client, request).await?;
    let mut whole: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            // By a quarter, where a vector of its own would double.
            if whole.capacity() - whole.len() < data.len() {
                whole.reserve_exact(data.len().max(whole.len() / 4));
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole)
}

/// The body of a good answer.
pub(crate) async fn open(client: &Client, request: Request<Vec<u8>>) -> Result<Body, kube::Error> {
    let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
    if head.status.is_success() {
        return Ok(body);
    }
    let whole = body.collect_bytes().await?;
    let status: kube::core::Status = serde_json::from_slice(&whole).map_err(kube::Error::SerdeError)?;
    Err(kube::Error::Api(status.boxed()))
}
