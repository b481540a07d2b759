//! What a registry's answers mean when they are no content.

use super::Registry;
use crate::failure::{bad_image, failure};
use crate::reference::Reference;
use reqwest::{Response, StatusCode};
use scap::protocol::{Failure, FailureCode};
use url::Url;

impl Registry {
    /// The answer when it is content. `why`: what logins met on the way.
    pub(super) fn checked(&self, response: Response, path: &str, why: Option<String>) -> Result<Response, Failure> {
        let Reference { registry, repository, .. } = &self.image;
        let status = response.status();
        let elsewhere = !self.is_ours(&response);
        match status {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if elsewhere => Err(failure(
                FailureCode::RegistryUnreachable,
                format!("The storage that the registry {registry} redirects to refused with {status}: check the registry's access to it."),
            )),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(failure(FailureCode::AccessDenied, self.denied(why))),
            StatusCode::NOT_FOUND | StatusCode::GONE if path.starts_with("blobs/") => Err(bad_image(format!(
                "A part of the image ({}) is missing in the registry {registry}: push the image again.",
                path.trim_start_matches("blobs/")
            ))),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(failure(
                FailureCode::ImageNotFound,
                format!("The registry {registry} has no image {} (any more): it was deleted or moved after the container was started.", self.image),
            )),
            StatusCode::RANGE_NOT_SATISFIABLE => Err(bad_image(format!(
                "A part of the image ({}) is shorter in the registry {registry} than its manifest says: push the image again.",
                path.trim_start_matches("blobs/")
            ))),
            status => Err(failure(FailureCode::RegistryUnreachable, format!("The registry {registry} answered with {status} for {repository}/{path}."))),
        }
    }

    fn denied(&self, why: Option<String>) -> String {
        let Reference { registry, repository, .. } = &self.image;
        let why = why.map_or_else(String::new, |why| format!(" ({why})"));
        if self.logins.is_empty() {
            return format!(
                "The registry {registry} wants a login for {repository} and there is none{why}: add an image pull secret for it to the pods or to their service account."
            );
        }
        format!(
            "The registry {registry} refused the image pull secrets for {repository}{why}: check their user name and password, and that the user may pull it."
        )
    }
}

/// A layer is not at the address that the image names.
pub(super) fn elsewhere(url: &Url, status: StatusCode) -> Failure {
    bad_image(format!(
        "A layer of the image is not in its registry (a foreign layer), and {} answered with {status}: push the image with all of its layers.",
        url.host_str().unwrap_or_default()
    ))
}
