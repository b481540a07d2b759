//! What was chosen for one image.

/// The definitions that can concern an image, and counts of the others.
///
/// `definitions + not_applicable + undecided` is [`super::Index::definitions`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Valid OVAL for `oscap oval eval`; it may hold no definition at all (`definitions` is 0 then, and OpenSCAP need not run).
    pub document: Vec<u8>,
    /// Definitions in `document` that judge something (those that others only refer to are not counted).
    pub definitions: usize,
    /// Left out, since they are false for this image: it has none of the packages that they look for. They count as not vulnerable.
    pub not_applicable: usize,
    /// Left out, since nobody can say whether they hold: their results are *unknown*, never "not vulnerable".
    pub undecided: usize,
    /// Why, a sentence for people; empty when `undecided` is 0.
    pub undecided_reason: String,
    /// How many of the image's package names (sources included) the feed looks for; 0 with packages installed: the feed does not fit the image.
    pub matched_names: usize,
    /// Definitions in `document` that mean source packages and were turned to [`super::source_entries`].
    pub source_definitions: usize,
}
