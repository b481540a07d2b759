//! Vulnerability definitions from files and addresses: loaded, checked for size, kept compressed.

use crate::settings::{ContentSettings, Feed};
use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use scap::report::OperatingSystem;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Mutex;

const PACKED_BYTES: usize = 256 << 20;
const UNPACKED_BYTES: u64 = 1 << 30;
const FRESH_FOR: Duration = Duration::from_secs(600);
const DOWNLOAD_WITHIN: Duration = Duration::from_secs(60);
/// A source that failed is left alone for so long: the scans that wait for it need not all find out by themselves.
const FAILED_FOR: Duration = Duration::from_secs(60);

/// Content ready to be put into a pod.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// Of the content itself, hex.
    pub sha256: String,
    /// The content as zstd.
    pub body: Bytes,
}

/// How to tell that a source has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stamp {
    File(SystemTime, u64),
    Tag(String),
    Unknown,
}

struct Kept {
    stamp: Stamp,
    checked_at: Instant,
    loaded_at: DateTime<Utc>,
    packed: Packed,
}

/// What is known of one location.
#[derive(Default)]
struct Slot {
    kept: Option<Kept>,
    /// When it could not be loaded the last time, and why; `None`: it could.
    failed: Option<(Instant, String)>,
}

/// The configured feeds and what of them is loaded.
pub(crate) struct Feeds {
    feeds: Vec<Feed>,
    /// One slot per location: two scans that need the same feed load it once.
    kept: std::sync::Mutex<HashMap<String, Arc<Mutex<Slot>>>>,
}

impl Feeds {
    pub(crate) fn new(content: ContentSettings) -> Self {
        Self { feeds: content.vulnerability_feeds, kept: std::sync::Mutex::default() }
    }

    /// The feed of exactly that distribution: a rebuild's packages are not its parent's.
    pub(crate) fn find(&self, os: &OperatingSystem) -> Option<&Feed> {
        self.feeds.iter().find(|feed| feed.id.eq_ignore_ascii_case(&os.id) && covers(&feed.version, &os.version_id))
    }

    /// The feed's definitions; from memory while the source has not changed.
    ///
    /// # Errors
    /// The source cannot be read, is too large, or is not what its name says. One that was loaded before and cannot be reached now is used as it was.
    pub(crate) async fn load(&self, feed: &Feed) -> anyhow::Result<Packed> {
        let slot = self.slot(feed);
        let mut slot = slot.lock().await;
        let asked_just_now = |old: &&Kept| is_address(&feed.location) && slot.failed.is_none() && old.checked_at.elapsed() < FRESH_FOR;
        if let Some(old) = slot.kept.as_ref().filter(asked_just_now) {
            return Ok(old.packed.clone());
        }
        let loaded = match &slot.failed {
            Some((at, why)) if is_address(&feed.location) && at.elapsed() < FAILED_FOR => Err(anyhow!("{why}")),
            _ if is_address(&feed.location) => download(&feed.location, slot.kept.as_ref()).await,
            _ => open(&feed.location, slot.kept.as_ref()).await,
        };
        if let Err(error) = &loaded
            && slot.failed.as_ref().is_none_or(|(at, _)| at.elapsed() >= FAILED_FOR)
        {
            tracing::warn!("vulnerability definitions {}: {error:#}", shown(&feed.location));
            slot.failed = Some((Instant::now(), format!("{error:#}")));
        }
        match (loaded, slot.kept.as_mut()) {
            (Ok(Some(new)), _) => {
                slot.failed = None;
                Ok(slot.kept.insert(new).packed.clone())
            }
            (Ok(None), Some(old)) => {
                (old.checked_at, old.loaded_at) = (Instant::now(), Utc::now());
                let packed = old.packed.clone();
                slot.failed = None;
                Ok(packed)
            }
            (Err(_), Some(old)) => Ok(old.packed.clone()),
            (Err(error), None) => Err(error),
            (Ok(None), None) => bail!("{} has not changed, but was never loaded", shown(&feed.location)),
        }
    }

    /// What a scan of this system must say about the definitions that [`Feeds::load`] gave for it: that they are old, since their source fails.
    pub(crate) async fn stale(&self, os: &OperatingSystem) -> Option<String> {
        let feed = self.find(os)?;
        let slot = self.slot(feed);
        let slot = slot.lock().await;
        let ((_, why), kept) = (slot.failed.as_ref()?, slot.kept.as_ref()?);
        let since = kept.loaded_at.format("%Y-%m-%d %H:%M UTC");
        Some(format!("The vulnerability definitions of {} {} are those of {since}: newer ones could not be loaded ({why}).", feed.id, feed.version))
    }

    fn slot(&self, feed: &Feed) -> Arc<Mutex<Slot>> {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.entry(feed.location.clone()).or_default().clone()
    }
}

fn is_address(location: &str) -> bool {
    location.starts_with("https://") || location.starts_with("http://")
}

/// A location as it may be logged and shown: addresses without user, password and query, where secrets are.
fn shown(location: &str) -> String {
    let Ok(mut address) = url::Url::parse(location) else { return location.to_owned() };
    if !is_address(location) {
        return location.to_owned();
    }
    // Both only fail for addresses without a host, which http has not.
    let _ = address.set_username("");
    let _ = address.set_password(None);
    address.set_query(None);
    address.set_fragment(None);
    address.into()
}

/// `9` covers `9` and `9.4`, not `95`.
pub(crate) fn covers(version: &str, version_id: &str) -> bool {
    version_id == version || version_id.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'))
}

/// `None`: as before.
async fn open(path: &str, old: Option<&Kept>) -> anyhow::Result<Option<Kept>> {
    let about = tokio::fs::metadata(path).await.with_context(|| format!("reading {path}"))?;
    let stamp = Stamp::File(about.modified()?, about.len());
    if old.is_some_and(|old| old.stamp == stamp) {
        return Ok(None);
    }
    let name = path.to_owned();
    let packed = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(&name).with_context(|| format!("reading {name}"))?;
        pack(unpacked(&name, std::io::BufReader::new(file))?).with_context(|| format!("reading {name}"))
    })
    .await??;
    Ok(Some(kept(stamp, packed)))
}

fn kept(stamp: Stamp, packed: Packed) -> Kept {
    Kept { stamp, checked_at: Instant::now(), loaded_at: Utc::now(), packed }
}

/// `None`: as before.
async fn download(address: &str, old: Option<&Kept>) -> anyhow::Result<Option<Kept>> {
    let place = shown(address);
    let client = reqwest::Client::builder().timeout(DOWNLOAD_WITHIN).connect_timeout(Duration::from_secs(10)).build()?;
    let mut request = client.get(address);
    if let Some(Kept { stamp: Stamp::Tag(tag), .. }) = old {
        request = request.header(http::header::IF_NONE_MATCH, tag);
    }
    let answer = request.send().await.map_err(reqwest::Error::without_url).with_context(|| format!("fetching {place}"))?;
    if answer.status() == http::StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    ensure!(answer.status().is_success(), "fetching {place}: the server says {}", answer.status());
    let tag = answer.headers().get(http::header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(part) = stream.next().await {
        body.extend_from_slice(&part.map_err(reqwest::Error::without_url).with_context(|| format!("fetching {place}"))?);
        ensure!(body.len() <= PACKED_BYTES, "{place} is larger than {PACKED_BYTES} bytes");
    }
    let path = url::Url::parse(address)?.path().to_owned();
    let packed = tokio::task::spawn_blocking(move || pack(unpacked(&path, std::io::Cursor::new(body))?)).await?;
    let packed = packed.with_context(|| format!("reading {place}"))?;
    Ok(Some(kept(tag.map_or(Stamp::Unknown, Stamp::Tag), packed)))
}

fn unpacked<'a>(name: &str, packed: impl std::io::BufRead + 'a) -> anyhow::Result<Box<dyn Read + 'a>> {
    Ok(match name.rsplit('.').next() {
        Some("bz2") => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
        Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
        Some("xml") => Box::new(packed),
        _ => bail!("{name} ends neither in .xml nor in .xml.bz2, .xml.gz or .xml.zst"),
    })
}

/// Reads all of it, never holding more than the compressed form.
///
/// # Errors
/// More than 1 GiB, or damaged.
pub(crate) fn pack(mut content: impl Read) -> anyhow::Result<Packed> {
    let mut hash = Sha256::new();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        length += count as u64;
        ensure!(length <= UNPACKED_BYTES, "it is larger than {UNPACKED_BYTES} bytes");
        hash.update(&buffer[..count]);
        encoder.write_all(&buffer[..count])?;
    }
    ensure!(length > 0, "it is empty");
    Ok(Packed { sha256: hex::encode(hash.finalize()), body: encoder.finish()?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feeds(location: &str) -> Feeds {
        let feed = Feed { id: "debian".into(), version: "12".into(), location: location.into() };
        Feeds::new(ContentSettings { vulnerability_feeds: vec![feed] })
    }

    fn system(id: &str, version: &str) -> OperatingSystem {
        OperatingSystem { id: id.into(), version_id: version.into(), ..OperatingSystem::default() }
    }

    #[test]
    fn a_feed_serves_its_own_release_alone() {
        let feeds = feeds("x.xml");
        assert!(feeds.find(&system("debian", "12")).is_some());
        assert!(feeds.find(&system("debian", "12.5")).is_some());
        assert!(feeds.find(&system("debian", "120")).is_none());
        assert!(feeds.find(&system("ubuntu", "12")).is_none());
    }

    #[tokio::test]
    async fn an_address_is_asked_again_after_a_while_however_often_it_is_needed() {
        let feeds = feeds("http://127.0.0.1:1/oval.xml");
        let feed = feeds.feeds[0].clone();
        let slot = feeds.slot(&feed);
        slot.lock().await.kept = Some(kept(Stamp::Unknown, Packed { sha256: String::new(), body: Bytes::new() }));
        feeds.load(&feed).await.unwrap();
        assert!(slot.lock().await.failed.is_none(), "it was asked a moment ago");
        slot.lock().await.kept.as_mut().unwrap().checked_at -= FRESH_FOR;
        feeds.load(&feed).await.unwrap();
        assert!(slot.lock().await.failed.is_some(), "it is asked, and nobody is there");
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_vanished_one_is_used_as_it_was() {
        let folder = std::env::temp_dir().join(format!("tidewaiter-feed-{:08x}", rand::random::<u32>()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("oval.xml.bz2");
        let write = |text: &str| {
            let mut encoder = bzip2::write::BzEncoder::new(std::fs::File::create(&path).unwrap(), bzip2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap();
        };
        let feeds = feeds(path.to_str().unwrap());
        let feed = feeds.feeds[0].clone();
        assert!(feeds.load(&feed).await.unwrap_err().to_string().contains("oval.xml.bz2"));
        write("<oval/>");
        let first = feeds.load(&feed).await.unwrap();
        assert_eq!(zstd::decode_all(&first.body[..]).unwrap(), b"<oval/>");
        assert_eq!(first.sha256, hex::encode(Sha256::digest(b"<oval/>")));
        write("<oval>more than before</oval>");
        let second = feeds.load(&feed).await.unwrap();
        assert_ne!(first.sha256, second.sha256);
        assert_eq!(feeds.stale(&system("debian", "12")).await, None);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(feeds.load(&feed).await.unwrap().sha256, second.sha256);
        let warning = feeds.stale(&system("debian", "12")).await.unwrap();
        assert!(warning.contains("could not be loaded (reading") && warning.contains("debian 12 are those of 20"), "{warning}");
    }

    #[tokio::test]
    async fn a_source_that_fails_is_not_asked_by_every_scan_and_its_password_is_not_shown() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://user:hunter2@{}/oval.xml?sig=hunter3", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::io::AsyncReadExt::read(&mut socket, &mut [0; 4096]).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut socket, b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
            // Nobody listens from here on: another question would end in another way.
            drop(listener);
        });
        let feeds = feeds(&address);
        let feed = feeds.feeds[0].clone();
        let first = format!("{:#}", feeds.load(&feed).await.unwrap_err());
        asked.await.unwrap();
        assert!(first.contains("/oval.xml: the server says 500") && !first.contains("hunter"), "{first}");
        assert_eq!(format!("{:#}", feeds.load(&feed).await.unwrap_err()), first);
        assert_eq!(feeds.stale(&system("debian", "12")).await, None, "there are no older ones");
        let refused = self::feeds("http://user:hunter2@127.0.0.1:1/oval.xml?sig=hunter3");
        let error = format!("{:#}", refused.load(&refused.feeds[0].clone()).await.unwrap_err());
        assert!(error.contains("127.0.0.1:1/oval.xml") && !error.contains("hunter"), "{error}");
    }
}
