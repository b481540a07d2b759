//! What a scan pod that was taken over sends as its report.

use super::feed;
use std::io::Write;

/// Bytes of JSON that a list without end has here: more than any memory that the server may take, a few kilobytes as zstd.
const ENDLESS_BYTES: usize = 300 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    Warnings,
    CutFiles,
    Packages,
    Layers,
    Rules,
    Identifiers,
    Environment,
    Labels,
    Unknown,
    Depth,
    Text,
    Window,
    /// Six results of oscap without end, then no report.
    Artifacts,
    Status,
    /// The report never comes.
    Silence,
    /// Every package that the feed names is said to be installed: more definitions than a document may hold.
    EverythingInstalled,
    /// As many as go into a document.
    ManyInstalled,
    /// The same at the same time.
    ManyAgain,
    /// The list of packages does not end.
    PackagesWithoutEnd,
}

impl Attack {
    pub const REPORTS: [Self; 13] = [
        Self::Warnings,
        Self::CutFiles,
        Self::Packages,
        Self::Layers,
        Self::Rules,
        Self::Identifiers,
        Self::Environment,
        Self::Labels,
        Self::Unknown,
        Self::Depth,
        Self::Text,
        Self::Window,
        Self::Artifacts,
    ];

    pub const CHOICES: [Self; 4] = [Self::EverythingInstalled, Self::ManyInstalled, Self::ManyAgain, Self::PackagesWithoutEnd];

    /// The repository of the image that asks for it.
    pub fn repository(self) -> String {
        format!("attack-{}", format!("{self:?}").to_lowercase())
    }

    /// By the image's name.
    pub fn of(image: &str) -> Self {
        let all = Self::REPORTS.into_iter().chain([Self::Status, Self::Silence]).chain(Self::CHOICES);
        all.into_iter().find(|attack| image.contains(&format!("/{}@", attack.repository()))).unwrap()
    }
}

/// zstd of a report that begins well and does not end.
pub fn report(attack: Attack, scan: &str, digest: &str) -> Vec<u8> {
    let head = format!(
        r#"{{"version":1,"scan_id":"{scan}","digest":"{digest}","manifest_digest":"","media_type":"","compressed_size_bytes":0,"unpacked_size_bytes":0,"os":null,"timings":{{"pull_ms":0,"unpack_ms":0,"packages_ms":0}},"#
    );
    let rule = r#"{"rule_id":"","outcome":"pass","severity":"low","title":"""#;
    let (lead, item) = match attack {
        Attack::Warnings => (r#""warnings":["#.to_owned(), r#""","#.to_owned()),
        Attack::CutFiles => (r#""cut_files":["#.into(), r#""","#.into()),
        Attack::Packages => (r#""packages":["#.into(), r#"{"kind":"deb","name":"","version":"","architecture":""},"#.into()),
        Attack::Layers => (r#""layers":["#.into(), r#"{"layer":"guide","state":"failed","duration_ms":0},"#.into()),
        Attack::Rules => (r#""layers":[{"layer":"guide","rules":["#.into(), format!("{rule}}},")),
        Attack::Identifiers => (format!(r#""layers":[{{"layer":"guide","rules":[{rule},"identifiers":["#), r#"{"system":"","text":""},"#.into()),
        Attack::Environment => (r#""config":{"env":["#.into(), r#""","#.into()),
        Attack::Labels => (r#""config":{"labels":{"#.into(), r#""":"","#.into()),
        Attack::Unknown => (r#""package_database":{"nonsense":["#.into(), r#""","#.into()),
        Attack::Depth => (r#""nonsense":"#.into(), "[".into()),
        Attack::Text => (r#""nonsense":""#.into(), "x".into()),
        Attack::Window => (r#""media_type":""#.into(), "x".into()),
        _ => return vec![],
    };
    let mut encoder = zstd::Encoder::new(vec![], 3).unwrap();
    if attack == Attack::Window {
        encoder.window_log(27).unwrap();
    }
    encoder.write_all(head.as_bytes()).unwrap();
    encoder.write_all(lead.as_bytes()).unwrap();
    let block = item.repeat((1 << 20) / item.len());
    for _ in 0..ENDLESS_BYTES / block.len() {
        encoder.write_all(block.as_bytes()).unwrap();
    }
    encoder.finish().unwrap()
}

/// zstd of the list of packages.
pub fn packages(attack: Attack) -> Vec<u8> {
    let package = |number: usize| format!(r#"{{"kind":"deb","name":"{}","version":"1.0-1","architecture":"amd64"}}"#, feed::package(number));
    let many = match attack {
        Attack::EverythingInstalled => feed::PACKAGES,
        Attack::ManyInstalled | Attack::ManyAgain => feed::PACKAGES / 4,
        _ => 3_000_000,
    };
    let mut encoder = zstd::Encoder::new(b"".to_vec(), 1).unwrap();
    encoder.write_all(b"[").unwrap();
    for number in 0..many {
        write!(encoder, "{}{}", if number == 0 { "" } else { "," }, package(number)).unwrap();
    }
    encoder.write_all(b"]").unwrap();
    encoder.finish().unwrap()
}
