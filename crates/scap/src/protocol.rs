//! How the server talks to the inspector through the API server's pod proxy.
//!
//! Every request but `GET /healthz` carries the scan's token in the header [`TOKEN_HEADER`]; the pod knows its SHA-256 alone.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 `ok` once the server listens |
//! | `GET /status` | 200 [`Status`]; with `?past=PHASE&hold=SECS` the answer is held back until a later phase, for so long (10 s) at most |
//! | `GET /packages` | 200 zstd of the installed packages, an array of [`crate::report::Package`] as JSON; 409 before the phase `ready` |
//! | `PUT /content/{sha256}` | body: content file as zstd; `sha256` is of the *uncompressed* bytes. 204; 400 when it does not match; 413 over the limit |
//! | `POST /answers/{sha256}` | `sha256`: of OVAL definitions put before. 200 [`Answered`], what they say of the image; 404 no such content; 409 before the phase `ready`. The same again: the same answer |
//! | `POST /evaluate` | body: [`Evaluate`]; 202. 409 unless the phase is `ready`; the same request again while evaluating or after: 202 |
//! | `GET /report` | 200 zstd of [`crate::report::InspectionReport`] as JSON; 409 unless the phase is `done` |
//! | `GET /arf/{layer}` | 200 zstd of the layer's ARF (OVAL results in the vulnerability layer); 404 |
//! | `GET /html/{layer}` | 200 zstd of the HTML report; 404 |
//! | `POST /finish` | 204; the process then ends with 0 |

use crate::feed::Answers;
use crate::report::{Definitions, Layer, OperatingSystem, PackageDatabase, PackageKind};
use serde::{Deserialize, Serialize};

/// The port that the inspector listens on.
pub const PORT: u16 = 8765;
/// The header with the scan's token (`Authorization` is removed by the API server's proxy).
pub const TOKEN_HEADER: &str = "x-tidewaiter-token";

/// Names of the environment variables of the inspector's container.
pub mod env {
    /// The scan's number.
    pub const SCAN_ID: &str = "TIDEWAITER_SCAN_ID";
    /// Hex SHA-256 of the token.
    pub const TOKEN_SHA256: &str = "TIDEWAITER_TOKEN_SHA256";
    /// `registry/name@sha256:…`.
    pub const IMAGE: &str = "TIDEWAITER_IMAGE";
    /// Which variant of the image to read: `os/arch[/variant]` in Go's words, e.g. `linux/arm64`; without it, the node's own.
    pub const PLATFORM: &str = "TIDEWAITER_PLATFORM";
    /// Seconds after which the process ends by itself.
    pub const DEADLINE_SECS: &str = "TIDEWAITER_DEADLINE_SECS";
    /// Directory for everything written; default `/work`.
    pub const WORK: &str = "TIDEWAITER_WORK";
    /// Directory whose subfolders each hold one `.dockerconfigjson` or `config.json`; default `/auth`.
    pub const AUTH: &str = "TIDEWAITER_AUTH";
    /// Comma-separated `host:port` of registries spoken to without TLS.
    pub const PLAIN_HTTP: &str = "TIDEWAITER_PLAIN_HTTP_REGISTRIES";
    /// PEM file of additional roots for registries; optional.
    pub const REGISTRY_CA: &str = "TIDEWAITER_REGISTRY_CA";
    /// What the unpacked image and its layers may take on the disk, in bytes; default 10 GiB.
    pub const MAX_UNPACKED_BYTES: &str = "TIDEWAITER_MAX_UNPACKED_BYTES";
    /// The container's memory in bytes, of which OpenSCAP gets a part; without it, what it likes.
    pub const MEMORY_BYTES: &str = "TIDEWAITER_MEMORY_BYTES";
}

/// Where the inspector stands, in the order in which the phases come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Pulling,
    Unpacking,
    ReadingPackages,
    /// Waits for content and `POST /evaluate`.
    Ready,
    Evaluating,
    /// The report can be fetched.
    Done,
    /// It cannot go on; see `failure`.
    Failed,
}

/// Why an inspection could not be done; stable codes, shown with what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    ImageNotFound,
    AccessDenied,
    RegistryUnreachable,
    RegistryTls,
    RateLimited,
    /// Manifest or layer is damaged, of an unknown type, or does not match its digest.
    BadImage,
    /// No variant of the image is for Linux.
    NoPlatform,
    /// A limit on size, count or ratio was passed (an archive bomb).
    TooLarge,
    NoSpace,
    ContentError,
    Timeout,
    Internal,
}

/// A failure of the inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: FailureCode,
    /// One sentence for people.
    pub message: String,
}

/// `GET /status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub scan_id: String,
    pub phase: Phase,
    /// e.g. "layer 2 of 4", "benchmark: 30 of 70 rules".
    pub message: String,
    pub failure: Option<Failure>,
    /// Known from phase `ready` on.
    pub os: Option<OperatingSystem>,
    pub package_database: Option<PackageDatabase>,
    /// The node's architecture in Go's words, e.g. `amd64`.
    pub architecture: String,
}

/// One layer to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub layer: Layer,
    /// What to run; `None`: the layer is reported as not covered, with `reason`.
    pub source: Option<Source>,
    /// Why there is nothing to run, or nothing.
    #[serde(default)]
    pub reason: String,
    /// XCCDF profile id; empty: the benchmark's default.
    #[serde(default)]
    pub profile: String,
    /// Name of the content, for people.
    #[serde(default)]
    pub title: String,
    /// The content looks at packages of one of these kinds: without a readable database of one of them it must not run. Empty: it looks at none.
    pub needs_packages: Vec<PackageKind>,
    /// Wall-clock limit of oscap.
    pub limit_secs: u64,
    /// What was chosen of a feed's definitions; `None`: the content stands for itself.
    #[serde(default)]
    pub chosen: Option<Chosen>,
}

/// Which of a feed's definitions are evaluated, and what must be known of them besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Without `evaluated` ones there is no source: nothing that the feed names is installed, which is a result and not a gap.
    pub definitions: Definitions,
    /// Why some are undecided, for people.
    #[serde(default)]
    pub undecided_reason: String,
}

/// `POST /answers/{sha256}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub answers: Answers,
    /// Why there are none, for people; empty when there are.
    #[serde(default)]
    pub failure: String,
}

/// Where a layer's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Put before with `PUT /content/{sha256}`; evaluated by `oscap xccdf eval`.
    DataStream { sha256: String },
    /// Baked into the inspector image: file name under `/usr/share/tidewaiter/ssg`.
    Baked { file: String },
    /// Put before; evaluated by `oscap oval eval`.
    Oval { sha256: String },
}

/// `POST /evaluate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluate {
    pub layers: Vec<Request>,
}
