//! What one inspection found: the vocabulary that the scan pod and the server share.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How bad a failed rule is. Ordered: `Unknown` is the least, `Critical` the worst.
///
/// XCCDF knows unknown, info, low, medium and high; `info` is read as `Low`. `Critical` comes from advisories in OVAL metadata.
///
/// Source: NIST IR 7275r4 §6.6.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Unknown,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Unknown];

    /// The word on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads the words of XCCDF, OVAL advisories and our own wire form, in any case; everything else is `Unknown`.
    pub fn parse(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" | "important" => Self::High,
            "medium" | "moderate" => Self::Medium,
            "low" | "info" | "negligible" => Self::Low,
            _ => Self::Unknown,
        }
    }
}

/// What became of one rule. `notselected` is never kept.
///
/// Source: NIST IR 7275r4 §6.6.4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Pass,
    Fail,
    Error,
    Unknown,
    NotApplicable,
    NotChecked,
    Informational,
    Fixed,
}

impl Outcome {
    /// The word on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Unknown => "unknown",
            Self::NotApplicable => "not_applicable",
            Self::NotChecked => "not_checked",
            Self::Informational => "informational",
            Self::Fixed => "fixed",
        }
    }

    /// Reads XCCDF's spelling (`notchecked`) and ours (`not_checked`); `None` for `notselected` and unknown words.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "pass" => Self::Pass,
            "fail" => Self::Fail,
            "error" => Self::Error,
            "unknown" => Self::Unknown,
            "notapplicable" | "not_applicable" => Self::NotApplicable,
            "notchecked" | "not_checked" => Self::NotChecked,
            "informational" => Self::Informational,
            "fixed" => Self::Fixed,
            _ => return None,
        })
    }
}

/// The three layers of content that an image is checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// (a) Tidewaiter's own image benchmark.
    Benchmark,
    /// (b) The SCAP Security Guide's stream for the distribution.
    Guide,
    /// (c) OVAL vulnerability definitions for the distribution's release.
    Vulnerabilities,
}

impl Layer {
    pub const ALL: [Self; 3] = [Self::Benchmark, Self::Guide, Self::Vulnerabilities];

    /// The word on the wire, in the database and in addresses of the pod.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Benchmark => "benchmark",
            Self::Guide => "guide",
            Self::Vulnerabilities => "vulnerabilities",
        }
    }

    /// The inverse of [`Layer::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.as_str() == word)
    }
}

/// The operating system inside an image, from os-release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatingSystem {
    /// `ID`, e.g. `debian`.
    pub id: String,
    /// `VERSION_ID`, e.g. `12`; empty for rolling releases.
    pub version_id: String,
    /// `PRETTY_NAME`, e.g. `Debian GNU/Linux 12 (bookworm)`.
    pub pretty_name: String,
    /// `ID_LIKE`, split at spaces.
    #[serde(default)]
    pub id_like: Vec<String>,
}

/// Which package database a package was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageKind {
    Deb,
    Rpm,
    Apk,
}

impl PackageKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Apk => "apk",
        }
    }
}

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub kind: PackageKind,
    pub name: String,
    /// As the distribution's tools print it, epoch included where there is one: `1:2.38-1`, `4.18.0-1.el9`, `1.36.1-r2`.
    pub version: String,
    pub architecture: String,
    /// The source package's name; empty when it is not told.
    #[serde(default)]
    pub source: String,
    /// The source package's version where it is told; it may differ from the package's own. Empty when it is not told.
    #[serde(default)]
    pub source_version: String,
    #[serde(default)]
    pub vendor: String,
    /// The first line of the description.
    #[serde(default)]
    pub summary: String,
}

/// The state of the image's package database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PackageDatabase {
    /// Read whole, from `paths` (relative to the image's root).
    Read { paths: Vec<String> },
    /// No known database is there (scratch images, static binaries).
    Absent,
    /// It is there but could not be read; package checks must not count as passed.
    Unreadable { path: String, reason: String },
}

/// A CVE, CCE or other public name of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifier {
    /// The system's address, e.g. `http://cve.mitre.org`; empty when it is not told.
    pub system: String,
    /// e.g. `CVE-2024-1234`.
    pub text: String,
    /// Where to read about it; empty when it is not known.
    #[serde(default)]
    pub href: String,
}

/// One rule (or OVAL definition) with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleResult {
    /// XCCDF rule id, or OVAL definition id in the vulnerability layer.
    pub rule_id: String,
    pub outcome: Outcome,
    pub severity: Severity,
    pub title: String,
    /// Plain text; paragraphs are separated by an empty line.
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub rationale: String,
    /// How to mend it: fixtext, and scripts of `urn:xccdf:fix:script:sh`.
    #[serde(default)]
    pub fix: String,
    #[serde(default)]
    pub identifiers: Vec<Identifier>,
    /// oscap's own message on this rule, e.g. why it was not checked.
    #[serde(default)]
    pub message: String,
}

/// How one layer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerState {
    /// oscap ran and its results are here; at least one rule was judged.
    Evaluated,
    /// There is no content for this distribution, or none of its rules applies to the image.
    NotCovered,
    /// Not run, since what it needs could not be read (no operating system, unreadable package database), or run without judging a single rule.
    NotPossible,
    /// oscap failed, crashed or ran out of time or memory.
    Failed,
}

impl LayerState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluated => "evaluated",
            Self::NotCovered => "not_covered",
            Self::NotPossible => "not_possible",
            Self::Failed => "failed",
        }
    }
}

/// How the reason of a layer begins that failed since memory ran out.
pub const OUT_OF_MEMORY: &str = "OpenSCAP ran out of memory";

/// One layer of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerReport {
    pub layer: Layer,
    pub state: LayerState,
    /// A sentence for people: why it was not evaluated, or what to mind (oscap's warnings).
    #[serde(default)]
    pub reason: String,
    /// XCCDF profile id; empty for OVAL.
    #[serde(default)]
    pub profile: String,
    /// Title of the benchmark or feed, for people.
    #[serde(default)]
    pub content: String,
    #[serde(default)]
    pub rules: Vec<RuleResult>,
    /// The raw result can be fetched at `/arf/{layer}`.
    #[serde(default)]
    pub has_arf: bool,
    /// The HTML report can be fetched at `/html/{layer}`.
    #[serde(default)]
    pub has_html: bool,
    /// Why there is no HTML although there is a result; empty otherwise.
    #[serde(default)]
    pub html_reason: String,
    pub duration_ms: u64,
    /// How many of a feed's definitions were evaluated; `None`: the content was no feed, or evaluated whole.
    #[serde(default)]
    pub definitions: Option<Definitions>,
}

/// The definitions of a feed, counted: those that passed or do not apply are no rules of the layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definitions {
    /// All that the feed has.
    pub in_feed: u32,
    /// Those that can concern what is installed, and were given to OpenSCAP.
    pub evaluated: u32,
    /// Not given to OpenSCAP, since nobody can say whether they hold.
    pub undecided: u32,
    /// Of the evaluated, those that hold for nothing in the image.
    #[serde(default)]
    pub passed: u32,
    /// Of the evaluated, those that are not made for such a system.
    #[serde(default)]
    pub not_applicable: u32,
}

impl Definitions {
    /// Those that concern packages which are not installed: the image is not vulnerable to them, and OpenSCAP need not be asked.
    pub const fn left_out(&self) -> u32 {
        self.in_feed.saturating_sub(self.evaluated).saturating_sub(self.undecided)
    }
}

/// The image's configuration, from its config blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    pub architecture: String,
    pub os: String,
    #[serde(default)]
    pub author: String,
    pub created_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub working_dir: String,
    /// `NAME=VALUE`, in the image's order.
    #[serde(default)]
    pub env: Vec<String>,
    #[serde(default)]
    pub entrypoint: Vec<String>,
    #[serde(default)]
    pub cmd: Vec<String>,
    /// e.g. `80/tcp`.
    #[serde(default)]
    pub exposed_ports: Vec<String>,
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Where the pod's time went, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    pub pull_ms: u64,
    pub unpack_ms: u64,
    pub packages_ms: u64,
}

/// Everything that one inspection found; `GET /report` of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectionReport {
    /// Version of this form; a server refuses a newer one.
    pub version: u32,
    pub scan_id: String,
    /// The digest that the scan was asked for and that was verified: `sha256:…` (manifest, index or manifest list).
    pub digest: String,
    /// The platform's own manifest (equal to `digest` unless that named a list).
    pub manifest_digest: String,
    /// Manifest's media type.
    pub media_type: String,
    /// Sum of the layers as stored in the registry.
    pub compressed_size_bytes: u64,
    /// Sum of the regular files after unpacking.
    pub unpacked_size_bytes: u64,
    pub config: ImageConfig,
    /// `None`: no operating system found.
    pub os: Option<OperatingSystem>,
    pub package_database: PackageDatabase,
    pub packages: Vec<Package>,
    pub layers: Vec<LayerReport>,
    pub timings: Timings,
    /// Things a person should know that are no failure: skipped devices, escaping links, ….
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Account files of which a part was left out before the evaluation, since a check would choke on it: what was in that part is not checked.
    #[serde(default)]
    pub cut_files: Vec<String>,
}

/// The version that this code writes.
pub const REPORT_VERSION: u32 = 1;
