//! Where definitions come from: a file or an address, read as a stream that ends at its limits, on a thread that may wait.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::redirect::{Attempt, Policy};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Semaphore, mpsc};

/// Of the file as it lies at its location.
const PACKED_BYTES: u64 = 256 << 20;
/// Twice as much as the index takes, so that its own limit speaks first.
const UNPACKED_BYTES: u64 = 1 << 30;
/// All of it: fetching, unpacking and indexing, which go on side by side.
const READ_WITHIN: Duration = Duration::from_secs(120);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is given up.
const SILENT_FOR: Duration = Duration::from_secs(30);
const REDIRECTS_AT_MOST: usize = 5;
/// Parts of a download that wait to be unpacked; each has some kilobytes.
const PARTS_AHEAD: usize = 16;
/// zstd's window, the memory that unpacking takes: 64 MiB.
const ZSTD_WINDOW_LOG: u32 = 26;
/// One feed is indexed at a time: each takes memory for what is not yet packed.
static BUILDING: Semaphore = Semaphore::const_new(1);

/// How to tell that a source has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stamp {
    File(SystemTime, u64),
    Tag(String),
    Unknown,
}

/// Where definitions are, and under which terms they are taken.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub location: String,
    /// Of the file as it lies there, hex; `None`: any is taken.
    pub sha256: Option<String>,
    /// Whether an address may do without TLS.
    pub allow_http: bool,
}

impl Source {
    pub(super) fn is_address(&self) -> bool {
        is_address(&self.location)
    }

    /// What `build` makes of the unpacked definitions, and the stamp of them. `None`: they are as `known` says.
    ///
    /// # Errors
    /// The source cannot be read, is too large, is not what its name or the settings say, or `build` refuses it.
    pub(super) async fn read<T: Send + 'static>(&self, known: Option<&Stamp>, build: Build<T>) -> anyhow::Result<Option<(T, Stamp)>> {
        if self.is_address() { self.download(known, build).await } else { self.open(known, build).await }
    }

    async fn open<T: Send + 'static>(&self, known: Option<&Stamp>, build: Build<T>) -> anyhow::Result<Option<(T, Stamp)>> {
        let path = self.location.clone();
        let about = tokio::fs::metadata(&path).await.with_context(|| format!("reading {path}"))?;
        let stamp = Stamp::File(about.modified()?, about.len());
        if known == Some(&stamp) {
            return Ok(None);
        }
        let source = self.clone();
        let turn = BUILDING.acquire().await?;
        let built = tokio::task::spawn_blocking(move || {
            // Whoever waits for the result may have gone; the memory is in use until here.
            let _turn = turn;
            let file = std::fs::File::open(&path).with_context(|| format!("reading {path}"))?;
            source.unpack(&path, file, build).with_context(|| format!("reading {path}"))
        });
        Ok(Some((built.await??, stamp)))
    }

    async fn download<T: Send + 'static>(&self, known: Option<&Stamp>, build: Build<T>) -> anyhow::Result<Option<(T, Stamp)>> {
        let place = shown(&self.location);
        let address = url::Url::parse(&self.location).with_context(|| format!("{place} is no address"))?;
        if let Some(refusal) = without_tls(&address, self.allow_http) {
            bail!("{place}: {refusal}");
        }
        let client = reqwest::Client::builder().timeout(READ_WITHIN).connect_timeout(CONNECT_WITHIN);
        // An address may hold secrets, which a Referer would tell the next server.
        let client = client.redirect(redirects(self.allow_http)).referer(false).build()?;
        let mut request = client.get(address.clone());
        if let Some(Stamp::Tag(tag)) = known {
            request = request.header(http::header::IF_NONE_MATCH, tag);
        }
        let answer = request.send().await.map_err(reqwest::Error::without_url).with_context(|| format!("fetching {place}"))?;
        if answer.status() == http::StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        // Not what the server writes besides: that may be anything, and becomes a line on a page.
        ensure!(answer.status().is_success(), "fetching {place}: the server says {}", answer.status());
        let tag = answer.headers().get(http::header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        let (source, path) = (self.clone(), address.path().to_owned());
        let turn = BUILDING.acquire().await?;
        let built = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            source.unpack(&path, Download { parts, part: Bytes::new(), ended: false }, build)
        });
        forward(answer.bytes_stream(), sender).await;
        let built = built.await?.with_context(|| format!("reading {place}"))?;
        Ok(Some((built, tag.map_or(Stamp::Unknown, Stamp::Tag))))
    }

    /// Never holds more than what `build` keeps. Blocking.
    fn unpack<T>(&self, name: &str, packed: impl Read, build: Build<T>) -> anyhow::Result<T> {
        let until = Instant::now() + READ_WITHIN;
        let mut hash = Hashing { inner: Limited { inner: packed, left: PACKED_BYTES, most: PACKED_BYTES, until }, hash: Sha256::new() };
        let unpacked = Limited { inner: decoder(name, BufReader::new(&mut hash))?, left: UNPACKED_BYTES, most: UNPACKED_BYTES, until };
        let built = build(&mut BufReader::with_capacity(64 << 10, unpacked))?;
        if let Some(wanted) = &self.sha256 {
            io::copy(&mut hash, &mut io::sink())?;
            let found = hex::encode(hash.hash.finalize());
            ensure!(found.eq_ignore_ascii_case(wanted.trim()), "its SHA-256 is {found} and not {wanted}, which the settings name");
        }
        Ok(built)
    }
}

/// What makes something of unpacked definitions.
pub(super) type Build<T> = fn(&mut dyn BufRead) -> anyhow::Result<T>;

fn is_address(location: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| location.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// A location as it may be logged and shown: addresses without user, password and query, where secrets are.
pub(crate) fn shown(location: &str) -> String {
    if !is_address(location) {
        return location.to_owned();
    }
    let Ok(mut address) = url::Url::parse(location) else { return "the address in the settings".to_owned() };
    // Both only fail for addresses without a host, which http has not.
    let _ = address.set_username("");
    let _ = address.set_password(None);
    address.set_query(None);
    address.set_fragment(None);
    address.into()
}

/// Why an address is not used, unless it is one.
fn without_tls(address: &url::Url, allow_http: bool) -> Option<&'static str> {
    (address.scheme() != "https" && !allow_http)
        .then_some("definitions are fetched over https alone, since whoever is between could make every check pass (content.allow_http_feeds allows http)")
}

fn redirects(allow_http: bool) -> Policy {
    Policy::custom(move |attempt: Attempt<'_>| {
        if attempt.previous().len() > REDIRECTS_AT_MOST {
            return attempt.error(format!("it redirects more than {REDIRECTS_AT_MOST} times"));
        }
        match without_tls(attempt.url(), allow_http) {
            Some(refusal) => attempt.error(format!("it redirects to an address without TLS; {refusal}")),
            None => attempt.follow(),
        }
    })
}

/// Passes on what comes, until it ends or nobody wants more. An empty part says that it ended well.
async fn forward(mut stream: impl Stream<Item = reqwest::Result<Bytes>> + Unpin, to: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let part = match tokio::time::timeout(SILENT_FOR, stream.next()).await {
            Ok(Some(Ok(part))) if part.is_empty() => continue,
            Ok(Some(Ok(part))) => Ok(part),
            Ok(Some(Err(error))) => Err(io::Error::other(error.without_url())),
            Ok(None) => Ok(Bytes::new()),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("the server said nothing for {} seconds", SILENT_FOR.as_secs()))),
        };
        let over = part.as_ref().map_or(true, Bytes::is_empty);
        if to.send(part).await.is_err() || over {
            return;
        }
    }
}

/// A download as a reader.
struct Download {
    parts: mpsc::Receiver<io::Result<Bytes>>,
    part: Bytes,
    ended: bool,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() && !self.ended {
            // Without a word about its end it was given up.
            self.part = self.parts.blocking_recv().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
            self.ended = self.part.is_empty();
        }
        let count = self.part.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.part.split_to(count));
        Ok(count)
    }
}

/// A reader that fails beyond its size and its time.
struct Limited<R> {
    inner: R,
    left: u64,
    most: u64,
    until: Instant,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() > self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("it was not read within {} seconds", READ_WITHIN.as_secs())));
        }
        let count = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(count as u64) else {
            return Err(io::Error::other(format!("it is larger than {} bytes", self.most)));
        };
        self.left = left;
        Ok(count)
    }
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

fn decoder<'a>(name: &str, packed: impl BufRead + 'a) -> anyhow::Result<Box<dyn Read + 'a>> {
    Ok(match name.rsplit('.').next() {
        Some("bz2") => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
        Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Some("zst") => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Some("xml") => Box::new(packed),
        _ => bail!("{name} ends neither in .xml nor in .xml.bz2, .xml.gz or .xml.zst"),
    })
}
