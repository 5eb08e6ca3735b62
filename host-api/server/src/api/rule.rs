//! What a route asks of the access policy.

/// Which action a route is, and whose things it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// As the access policy is told.
    pub(super) action: &'static str,
    pub(super) whose: Whose,
    /// Whether it was there before problems had their form, and keeps its own.
    pub(super) is_older: bool,
}

/// Whose things a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The tenant's in the path.
    Path,
    /// Every tenant's.
    Every,
    /// The caller's own, or every tenant's where the caller is for all.
    Own,
    /// The tenant's in the query, else the caller's own.
    Query,
    /// The tenant's in the body, else every tenant's.
    Body,
    /// Those of whom the API key in the path is.
    Key,
}
