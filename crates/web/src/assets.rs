//! Style, script, icons and fonts from `static/`, at addresses that hold a hash of them all, so that browsers may keep them for ever.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tower_http::services::ServeDir;

/// Longest address of a file.
const PATH_BYTES_MAX: usize = 200;

struct Assets {
    dir: PathBuf,
    version: String,
}

fn assets() -> &'static Assets {
    static ASSETS: OnceLock<Assets> = OnceLock::new();
    ASSETS.get_or_init(|| {
        let dir = directory();
        let mut hasher = DefaultHasher::new();
        hash(&dir, &mut hasher);
        Assets { version: format!("{:016x}", hasher.finish()), dir }
    })
}

/// `TIDEWAITER_STATIC`, else `static` beside the working directory, else the source tree's.
fn directory() -> PathBuf {
    if let Some(dir) = std::env::var_os("TIDEWAITER_STATIC") {
        return dir.into();
    }
    let beside = PathBuf::from("static");
    if beside.is_dir() { beside } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../../static") }
}

/// Names and contents in a fixed order; what cannot be read is left out.
fn hash(dir: &Path, hasher: &mut DefaultHasher) {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            hash(&path, hasher);
        } else if let Ok(content) = fs::read(&path) {
            hasher.write(path.as_os_str().as_encoded_bytes());
            hasher.write(&content);
        }
    }
}

/// The address of `path` (relative to `static/`), with the hash.
pub fn url(path: &str) -> String {
    format!("/static/{}/{path}", assets().version)
}

/// Serves the files, those that `scripts/web-assets` compressed in that form.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let files = ServeDir::new(&assets().dir).precompressed_br().precompressed_gzip();
    Router::new().nest_service(&format!("/static/{}", assets().version), files).layer(from_fn(named))
}

/// A name that is too long for the file system is none of ours.
async fn named(request: Request, next: Next) -> Response {
    if request.uri().path().len() > PATH_BYTES_MAX { StatusCode::NOT_FOUND.into_response() } else { next.run(request).await }
}
