//! How large a feed may be: it is a stranger's file, and what is kept of it stays in the server's memory.

/// Most definitions of a feed; the largest real ones have about 50,000.
pub(super) const MAX_DEFINITIONS: usize = 200_000;
/// Most tests, objects, states and variables together.
pub(super) const MAX_ITEMS: usize = 2_000_000;
/// Most criteria and criterions together.
pub(super) const MAX_NODES: usize = 4_000_000;
/// Most references of tests, objects, states and variables to others.
pub(super) const MAX_REFERENCES: usize = 6_000_000;
/// Longest id.
pub(super) const MAX_ID_BYTES: usize = 512;
/// Longest package name or pattern.
pub(super) const MAX_NAME_BYTES: usize = 4096;
/// Most bytes that ids add up to, and so do names.
pub(super) const MAX_WORD_BYTES: usize = 64 << 20;
/// Most values of constant variables.
pub(super) const MAX_VALUES: usize = 6_000_000;
/// Largest definition, test, object, state or variable.
pub(super) const MAX_FRAGMENT_BYTES: usize = 4 << 20;
/// What a feed may take when it is compressed.
pub(super) const MAX_PACKED_BYTES: usize = 192 << 20;
/// How deep definitions may extend each other, objects refer to others, and so on.
pub(super) const MAX_REFERENCE_DEPTH: usize = 16;
/// Most atoms (see `necessary`) of all definitions together.
pub(super) const MAX_ATOMS: usize = 8_000_000;
/// Largest document for one image.
pub(super) const MAX_DOCUMENT_BYTES: usize = 24 << 20;
/// Patterns that are tried on an image's packages; definitions with others are kept.
pub(super) const MAX_PATTERNS: usize = 2_000;
/// Most questions of a feed.
pub(super) const MAX_QUESTIONS: usize = 32;
