//! Fetching one layer to a file: again when the transfer breaks, from where it broke, and elsewhere when the image says so.

use crate::failure::{bad_image, storage};
use crate::manifest::Descriptor;
use crate::registry::{ATTEMPTS, Registry};
use crate::transport;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use scap::protocol::{Failure, FailureCode};
use sha2::{Digest as _, Sha256};
use std::io::{self, SeekFrom};
use std::path::Path;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _, BufWriter};
use url::Url;

/// A transfer is taken up this often in all, however far it gets.
const MAX_ATTEMPTS: u32 = 50;
const BUFFER_BYTES: usize = 1 << 20;

/// Fetches a blob to `file` and verifies its size and digest.
pub(super) async fn download(registry: &Registry, layer: &Descriptor, file: &Path) -> Result<(), Failure> {
    let mut transfer = Transfer::begin(layer, file).await.map_err(|e| disk(&e))?;
    let (mut idle, mut all) = (1, 1);
    loop {
        let before = transfer.size;
        match transfer.go_on(registry).await {
            Ok(()) => return Ok(()),
            Err(Interrupted::Broken(failure)) => {
                idle = if transfer.size > before { 1 } else { idle + 1 };
                all += 1;
                if idle > ATTEMPTS || all > MAX_ATTEMPTS {
                    return Err(failure);
                }
                tracing::info!("{} Fetching {} again.", failure.message, layer.digest);
                tokio::time::sleep(Duration::from_millis(500) * idle).await;
            }
            Err(Interrupted::Failed(failure)) => return Err(failure),
        }
    }
}

enum Interrupted {
    /// Worth another try.
    Broken(Failure),
    Failed(Failure),
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is fetched of a layer so far.
struct Transfer<'a> {
    layer: &'a Descriptor,
    out: BufWriter<File>,
    hash: Sha256,
    size: u64,
    /// The registry has not got it; this is the next of the image's own addresses.
    elsewhere: Option<usize>,
}

impl<'a> Transfer<'a> {
    async fn begin(layer: &'a Descriptor, file: &Path) -> io::Result<Self> {
        let out = BufWriter::with_capacity(BUFFER_BYTES, File::create(file).await?);
        Ok(Self { layer, out, hash: Sha256::new(), size: 0, elsewhere: None })
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.out.flush().await?;
        self.out.get_mut().set_len(0).await?;
        self.out.seek(SeekFrom::Start(0)).await?;
        (self.hash, self.size) = (Sha256::new(), 0);
        Ok(())
    }

    async fn go_on(&mut self, registry: &Registry) -> Result<(), Interrupted> {
        let mut response = self.ask(registry).await?;
        if self.size > 0 && !continues(&response, self.size) {
            // It does not do parts, and sends all from the beginning.
            self.restart().await.map_err(|e| disk(&e))?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                return Err(Interrupted::Broken(transport::odd(response.url(), "sent another part of a layer than it was asked for")));
            }
        }
        let url = response.url().clone();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => self.take(&chunk).await?,
                // Whatever the answer's header promised: all is there.
                Err(_) if self.size == self.layer.size => break,
                Err(e) => return Err(Interrupted::Broken(transport::unreachable(&url, &e))),
                Ok(None) => break,
            }
        }
        self.finish().await
    }

    /// The answer of the registry, or of the image's own addresses for what it has not got.
    async fn ask(&mut self, registry: &Registry) -> Result<Response, Failure> {
        let missing = match self.elsewhere {
            Some(_) => None,
            None => match registry.blob(&self.layer.digest, self.size).await {
                Err(failure) if failure.code == FailureCode::BadImage && !self.layer.urls().is_empty() => Some(failure),
                answer => return answer,
            },
        };
        let mut last = missing;
        while let Some(url) = self.layer.urls().get(self.elsewhere.unwrap_or_default()) {
            match Url::parse(url) {
                Ok(url) if url.scheme() == "https" => match registry.elsewhere(&url, self.size).await {
                    Ok(response) => {
                        self.elsewhere.get_or_insert(0);
                        return Ok(response);
                    }
                    Err(failure) => last = Some(failure),
                },
                _ => last = Some(foreign()),
            }
            self.elsewhere = Some(self.elsewhere.unwrap_or_default() + 1);
        }
        Err(last.unwrap_or_else(foreign))
    }

    async fn take(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.size += chunk.len() as u64;
        if self.size > self.layer.size {
            return Err(bad_image(format!("A layer of the image is larger than its manifest says ({}).", self.layer.digest)));
        }
        self.hash.update(chunk);
        self.out.write_all(chunk).await.map_err(|e| disk(&e))
    }

    async fn finish(&mut self) -> Result<(), Interrupted> {
        self.out.flush().await.map_err(|e| disk(&e))?;
        if self.size < self.layer.size {
            let message = format!("A layer of the image ended after {} of its {} bytes ({}).", self.size, self.layer.size, self.layer.digest);
            return Err(Interrupted::Broken(bad_image(message)));
        }
        if format!("sha256:{}", hex::encode(self.hash.clone().finalize())) == self.layer.digest {
            return Ok(());
        }
        let message = format!(
            "A layer of the image is not what its digest {} promises: the registry's storage is damaged, or something in between changed it.",
            self.layer.digest
        );
        self.restart().await.map_err(|e| disk(&e))?;
        Err(Interrupted::Broken(bad_image(message)))
    }
}

/// The answer is the part that begins at `from`.
fn continues(response: &Response, from: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let begin = range.and_then(|range| range.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse::<u64>().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && begin == Some(from)
}

fn foreign() -> Failure {
    bad_image("The image has a foreign layer, whose content is not in the registry (Windows base images are like this): push the image with all of its layers.")
}

fn disk(error: &io::Error) -> Failure {
    storage("fetching a layer", error)
}
