//! An API server that attacks. What it sends is bounded by how long it is read, and by the test's end.

use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PIECE: usize = 1 << 20;
const HEAD: &str = "Content-Type: application/json\r\nConnection: close\r\n";

/// One answer to be sent.
pub type Answer = Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>;

pub struct Hostile {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    requests: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    pub async fn start(answer: impl Fn(Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (requests, sent, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(answer));
        let (counted, bytes) = (requests.clone(), sent.clone());
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (answer, counted, bytes) = (answer.clone(), counted.clone(), bytes.clone());
                open.spawn(async move {
                    if let Some(request) = Request::read(socket, &counted, bytes).await {
                        let _ = answer(request).await;
                    }
                });
            }
        });
        Self { url, requests, sent, task }
    }

    /// How many requests came so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How much was sent so far.
    pub fn sent_mib(&self) -> u64 {
        self.sent.load(Ordering::SeqCst) >> 20
    }
}

pub struct Request {
    pub path: String,
    pub query: String,
    /// Counted from 0.
    pub number: usize,
    socket: TcpStream,
    sent: Arc<AtomicU64>,
}

impl Request {
    async fn read(mut socket: TcpStream, counted: &AtomicUsize, sent: Arc<AtomicU64>) -> Option<Self> {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < 64 << 10 {
            if socket.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let text = String::from_utf8_lossy(&head);
        let (path, query) = text.split(' ').nth(1)?.split_once('?').unwrap_or((text.split(' ').nth(1)?, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        Some(Self { path, query, number: counted.fetch_add(1, Ordering::SeqCst), socket, sent })
    }

    pub fn json(self, body: &Value) -> Answer {
        self.whole("200 OK", body.to_string())
    }

    pub fn text(self, body: String) -> Answer {
        self.whole("200 OK", body)
    }

    pub fn version(self) -> Answer {
        self.json(&json!({ "gitVersion": "v1.36.2" }))
    }

    pub fn status(self, code: u16, text: &str) -> Answer {
        self.whole(&format!("{code} Whatever"), text.to_owned())
    }

    fn whole(mut self, status: &str, body: String) -> Answer {
        let text = format!("HTTP/1.1 {status}\r\n{HEAD}Content-Length: {}\r\n\r\n{body}", body.len());
        Box::pin(async move { self.socket.write_all(text.as_bytes()).await })
    }

    /// `piece` again and again, `bytes` in all.
    pub fn endless(mut self, piece: &'static [u8], bytes: u64) -> Answer {
        Box::pin(async move {
            self.socket.write_all(format!("HTTP/1.1 200 OK\r\n{HEAD}\r\n").as_bytes()).await?;
            let block = piece.repeat(PIECE / piece.len());
            let mut sent = 0;
            while sent < bytes {
                self.socket.write_all(&block).await?;
                sent += block.len() as u64;
            }
            Ok(())
        })
    }

    /// One after the other, then nothing more.
    pub fn lines(mut self, lines: impl Iterator<Item = String> + Send + 'static) -> Answer {
        Box::pin(async move {
            self.socket.write_all(format!("HTTP/1.1 200 OK\r\n{HEAD}\r\n").as_bytes()).await?;
            for line in lines {
                self.socket.write_all(line.as_bytes()).await?;
                self.sent.fetch_add(line.len() as u64, Ordering::SeqCst);
            }
            std::future::pending().await
        })
    }

    /// A head, and nothing more.
    pub fn hang(mut self) -> Answer {
        Box::pin(async move {
            self.socket.write_all(format!("HTTP/1.1 200 OK\r\n{HEAD}\r\n").as_bytes()).await?;
            std::future::pending().await
        })
    }

    /// A byte now and then.
    pub fn drip(mut self) -> Answer {
        Box::pin(async move {
            self.socket.write_all(format!("HTTP/1.1 200 OK\r\n{HEAD}\r\n").as_bytes()).await?;
            loop {
                self.socket.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    }
}

/// A namespace of that name.
pub fn uid(name: &str) -> Value {
    json!({ "metadata": { "name": name, "uid": format!("uid-{name}"), "resourceVersion": "5" }, "status": { "phase": "Active" } })
}

pub fn page(items: &[Value], next: &str, remaining: Option<i64>) -> Value {
    json!({ "metadata": { "resourceVersion": "5", "continue": next, "remainingItemCount": remaining }, "items": items })
}
