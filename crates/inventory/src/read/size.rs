//! How large the pages of a list are asked for.

/// A page that is too large is asked for again with so many times fewer objects.
const SHRINK: u32 = 5;

/// How a list is asked for.
pub(super) struct PageSize {
    /// Objects of a page.
    pub(super) limit: u32,
    pub(super) kind: PageKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    /// So far none was larger than [`crate::bounded::Limits::SMALL_PAGE`].
    Small,
    /// Each takes of the shared room.
    Large,
    /// A large one did not come in time: no other may take of the shared room.
    SmallForGood,
}

impl PageSize {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), kind: PageKind::Small }
    }

    /// After a page that was too large; gives whether there is a smaller one to ask for.
    pub(super) fn shrink(&mut self, late: bool) -> bool {
        match self.kind {
            PageKind::Small => self.kind = PageKind::Large,
            _ if self.limit == 1 => return false,
            kind => {
                self.limit = (self.limit / SHRINK).max(1);
                self.kind = if late { PageKind::SmallForGood } else { kind };
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_with_a_large_page_gets_small_ones_and_all_end_at_one_object() {
        let mut size = PageSize::new(100);
        let mut asked = Vec::new();
        for late in [false, false, true, false] {
            assert!(size.shrink(late));
            asked.push((size.limit, size.kind));
        }
        use PageKind::{Large, SmallForGood};
        assert_eq!(asked, [(100, Large), (20, Large), (4, SmallForGood), (1, SmallForGood)]);
        assert!(!size.shrink(false));
        assert_eq!(PageSize::new(0).limit, 1);
    }
}
