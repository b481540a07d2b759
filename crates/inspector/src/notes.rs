//! What was odd about an image, in sentences.

use std::fmt;

/// How often something was met, and where first.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    count: u64,
    first: String,
}

impl Tally {
    /// `path` may be anything that an archive holds.
    pub(crate) fn add(&mut self, path: &[u8]) {
        const MAX_CHARS: usize = 120;
        if self.count == 0 {
            self.first = String::from_utf8_lossy(path).chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect();
        }
        self.count += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str(&self.first),
            count => write!(f, "{count}, the first is {}", self.first),
        }
    }
}

/// What unpacking met.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Devices, pipes and sockets.
    pub(crate) special: Tally,
    /// Entries whose path tried to leave the root.
    pub(crate) escaping: Tally,
    /// Links whose target tried to leave the root.
    pub(crate) bent_links: Tally,
    /// Hard links to nothing.
    pub(crate) dangling: Tally,
    pub(crate) unwritable: Tally,
    pub(crate) capabilities: Tally,
    /// Account files of which a part was left out, since a check would choke on it.
    pub(crate) cut_files: Vec<String>,
}

impl Notes {
    /// One sentence for each that occurred.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let tallies = [
            (&self.special, "Devices, pipes and sockets are not unpacked"),
            (&self.escaping, "Entries with a path out of the image were put inside"),
            (&self.bent_links, "Links with a target out of the image were bent back"),
            (&self.dangling, "Hard links without a target were left out"),
            (&self.unwritable, "Entries that no file system takes were left out"),
            (&self.capabilities, "File capabilities are not looked at"),
        ];
        let met = tallies.into_iter().filter(|(tally, _)| tally.count > 0).map(|(tally, what)| format!("{what} ({tally})."));
        let cut = self.cut_files.iter().map(|path| format!("{path} is larger than any real one: a part of it was left out and is not checked."));
        met.chain(cut).collect()
    }
}
