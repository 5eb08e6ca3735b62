//! Pages of lists, row versions, and the limits of what is stored.

use std::fmt;
use std::str::FromStr;

use super::error::CatalogueError;

/// The most rows of one page.
const ROWS_MAX: u32 = 1_000;
/// The longest text that a person writes, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4_096;
/// The longest name, media type or the like, in bytes.
pub(super) const WORD_BYTES_MAX: usize = 255;
/// The largest JSON that is kept beside a row, in bytes.
pub(super) const JSON_BYTES_MAX: usize = 64 << 10;

/// How many rows a page has at most: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u32);

impl Limit {
    /// This many rows; less than 1 becomes 1, and more than 1,000 becomes 1,000.
    pub fn new(rows: u32) -> Self {
        Self(rows.clamp(1, ROWS_MAX))
    }

    /// The number of rows.
    pub fn rows(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// This limit, or a lower one.
    pub(super) fn at_most(self, rows: u32) -> Self {
        Self(self.0.min(rows))
    }

    /// One more than the page has, by which it is known whether there is another page.
    pub(super) fn and_one(self) -> u64 {
        u64::from(self.0) + 1
    }
}

impl Default for Limit {
    /// 100 rows.
    fn default() -> Self {
        Self(100)
    }
}

/// A part of a list, in the list's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Whether there are more after the last of them. The next page is asked for by the key of the last.
    pub more: bool,
}

impl<T> Page<T> {
    /// The page from a list that was asked for one row too many.
    pub(super) fn cut(mut items: Vec<T>, limit: Limit) -> Self {
        let more = items.len() > limit.rows();
        items.truncate(limit.rows());
        Self { items, more }
    }
}

/// The version of a row: a number that grows whenever the row is written. As an HTTP entity tag it is written `"7"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Etag(u64);

impl Etag {
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Whether the caller has seen this version, when it says which one it has seen (`If-Match`).
    pub(super) fn expect(
        self,
        seen: Option<Self>,
        what: &'static str,
        name: &str,
    ) -> Result<(), CatalogueError> {
        match seen {
            Some(expected) if expected != self => {
                Err(CatalogueError::Stale { what, name: name.into(), expected, found: self })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl FromStr for Etag {
    type Err = CatalogueError;

    /// Reads a strong entity tag (RFC 9110, 8.8.3) that [`Etag`]'s `Display` has written.
    fn from_str(text: &str) -> Result<Self, CatalogueError> {
        let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let digits = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.map(Self).ok_or_else(|| CatalogueError::invalid("entity tag", "expected a number in quotes"))
    }
}

/// Refuses a text that is too long, or that PostgreSQL would refuse and SQLite would not.
pub(super) fn check_text(what: &'static str, text: &str, bytes_max: usize) -> Result<(), CatalogueError> {
    if text.len() > bytes_max {
        return Err(CatalogueError::invalid(
            what,
            format!("it has {} bytes; at most {bytes_max}", text.len()),
        ));
    }
    if text.contains('\0') {
        return Err(CatalogueError::invalid(what, "it contains a zero byte; leave it out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_entity_tags_that_it_writes_and_no_others() {
        assert_eq!(Etag(7).to_string().parse::<Etag>().unwrap(), Etag(7));
        for text in ["", "7", "\"\"", "\"+7\"", "W/\"7\"", "\"7", "\"99999999999999999999\"", "*"] {
            assert!(text.parse::<Etag>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_knows_whether_there_is_another() {
        let limit = Limit::new(2);
        assert_eq!(Page::cut(vec![1, 2], limit), Page { items: vec![1, 2], more: false });
        assert_eq!(Page::cut(vec![1, 2, 3], limit), Page { items: vec![1, 2], more: true });
        assert_eq!((Limit::new(0).rows(), Limit::new(u32::MAX).rows()), (1, 1_000));
    }
}
