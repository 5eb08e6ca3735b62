//! Workloads: callers that prove with a client certificate which SPIFFE identity they have.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>. The certificate says who somebody is; whose
//! policies that one may ask, and in which roles, a file of the operator's says.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use verdict::core::name::Tenant;

use super::principal::{Principal, Role};

/// The longest identity that may be in the file, in bytes, so that events can name it whole.
const ID_BYTES_MAX: usize = 240;
/// The longest name of a trust domain, in bytes.
const DOMAIN_BYTES_MAX: usize = 255;
/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// What stands for all tenants.
const ALL_TENANTS: &str = "*";

/// A SPIFFE identity of a workload: `spiffe://TRUST-DOMAIN/PATH`, with a path that is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SpiffeId(String);

impl SpiffeId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn domain(&self) -> &str {
        let rest = self.0.strip_prefix("spiffe://").unwrap_or_default();
        rest.split_once('/').map_or(rest, |(domain, _)| domain)
    }
}

/// The text is no SPIFFE identity of a workload.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a workload's SPIFFE identity; expected `spiffe://TRUST-DOMAIN/PATH`")]
pub(crate) struct SpiffeIdError(String);

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        let error = || SpiffeIdError(text.chars().take(80).collect());
        let rest = text.strip_prefix("spiffe://").ok_or_else(error)?;
        let (domain, path) = rest.split_once('/').ok_or_else(error)?;
        let may_be_in_domain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        let may_be_in_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_segment = |text: &str| !matches!(text, "" | "." | "..") && text.bytes().all(may_be_in_path);
        let is_domain =
            (1..=DOMAIN_BYTES_MAX).contains(&domain.len()) && domain.bytes().all(may_be_in_domain);
        if is_domain && path.split('/').all(is_segment) && text.len() <= 2_048 {
            Ok(Self(text.into()))
        } else {
            Err(error())
        }
    }
}

/// The file of workloads cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// It cannot be read.
    #[error("the file of workloads `{0}` cannot be read: {1}")]
    File(PathBuf, std::io::Error),
    /// A line is something else.
    #[error(
        "line {0} of the file of workloads: {1}; expected `SPIFFE-ID TENANT [ROLE…]`, with `*` for all tenants"
    )]
    Malformed(usize, String),
    /// An identity is there twice.
    #[error("line {0} of the file of workloads has an identity that is there already")]
    Twice(usize),
    /// Whoever signs for one trust domain could be any workload of another.
    #[error(
        "line {0} of the file of workloads has another trust domain; all must be of one, for which the client CA signs"
    )]
    Domain(usize),
    /// Nobody could ask.
    #[error("the file of workloads names nobody; write one `SPIFFE-ID TENANT` a line")]
    Empty,
}

/// A workload that is known, as a connection keeps it. It is looked up with each request, so that one that is taken out
/// of the file may do nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Workload(usize);

/// Who may ask by client certificate.
pub struct Workloads {
    path: PathBuf,
    table: RwLock<Arc<Table>>,
}

/// Places are for good: what is taken out leaves an empty one.
#[derive(Default)]
struct Table {
    places: HashMap<String, usize>,
    principals: Vec<Option<Arc<Principal>>>,
}

impl fmt::Debug for Workloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workloads").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Workloads {
    /// Reads a file of workloads: one `SPIFFE-ID TENANT [ROLE…]` a line, where `*` stands for all tenants, and the role
    /// is `agent` where none is named; empty lines and lines that start with `#` do not count.
    ///
    /// # Errors
    /// When it cannot be read, or a line is something else.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, WorkloadError> {
        let path = path.into();
        let table = Table::default().with(parse(&read(&path)?)?);
        Ok(Self { path, table: RwLock::new(Arc::new(table)) })
    }

    /// Reads the file again. Where it cannot be used, what was read before goes on.
    pub(super) fn reload(&self) {
        let read = read(&self.path).and_then(|text| parse(&text));
        match read {
            Ok(lines) => {
                let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
                *table = Arc::new(table.with(lines));
            }
            Err(error) => {
                tracing::error!(%error, "the workloads were not read again; those read before go on")
            }
        }
    }

    /// The workload with this identity, if it is known.
    pub(super) fn find(&self, id: &SpiffeId) -> Option<Workload> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let place = *table.places.get(id.as_str())?;
        table.principals.get(place)?.as_ref().map(|_| Workload(place))
    }

    /// Who a workload is; none where it was taken out.
    pub(super) fn principal(&self, workload: Workload) -> Option<Arc<Principal>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.principals.get(workload.0)?.clone()
    }
}

impl Table {
    fn with(&self, lines: Vec<Line>) -> Self {
        let mut places = self.places.clone();
        let mut principals = vec![None; self.principals.len()];
        for line in lines {
            let principal = Arc::new(Principal::workload(line.id.as_str(), line.tenant, line.roles));
            let place = *places.entry(line.id.0).or_insert(principals.len());
            match principals.get_mut(place) {
                Some(known) => *known = Some(principal),
                None => principals.push(Some(principal)),
            }
        }
        Self { places, principals }
    }
}

struct Line {
    id: SpiffeId,
    tenant: Option<Tenant>,
    roles: BTreeSet<Role>,
}

fn read(path: &Path) -> Result<String, WorkloadError> {
    use std::io::Read as _;
    let failed = |error| WorkloadError::File(path.into(), error);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Vec<Line>, WorkloadError> {
    let mut lines: Vec<Line> = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let line = line(text).map_err(|problem| WorkloadError::Malformed(number, problem))?;
        if lines.first().is_some_and(|first| first.id.domain() != line.id.domain()) {
            return Err(WorkloadError::Domain(number));
        }
        if !seen.insert(line.id.as_str().to_owned()) {
            return Err(WorkloadError::Twice(number));
        }
        lines.push(line);
    }
    if lines.is_empty() { Err(WorkloadError::Empty) } else { Ok(lines) }
}

fn line(text: &str) -> Result<Line, String> {
    let mut words = text.split_whitespace();
    let id: SpiffeId =
        words.next().unwrap_or_default().parse().map_err(|error: SpiffeIdError| error.to_string())?;
    if id.as_str().len() > ID_BYTES_MAX {
        return Err(format!("an identity may have {ID_BYTES_MAX} bytes here"));
    }
    let tenant = match words.next() {
        None => return Err("it names no tenant".into()),
        Some(ALL_TENANTS) => None,
        Some(name) => Some(name.parse().map_err(|_| format!("`{name}` is not a tenant's name"))?),
    };
    let mut roles = BTreeSet::new();
    for word in words {
        roles.insert(word.parse().map_err(|error: super::principal::RoleError| error.to_string())?);
    }
    if roles.is_empty() {
        roles.insert(Role::Agent);
    }
    Ok(Line { id, tenant, roles })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_a_trust_domain_and_a_path_of_plain_segments() {
        for right in ["spiffe://bank.example/ns/prod/sa/loans", "spiffe://a/b", "spiffe://a-b_c.9/A.B-C_d"] {
            assert_eq!(right.parse::<SpiffeId>().map(|id| id.0), Ok(right.into()));
        }
        let long = format!("spiffe://{}/a", "d".repeat(256));
        for wrong in [
            "",
            "spiffe://",
            "spiffe://bank",
            "spiffe://bank/",
            "spiffe:///a",
            "spiffe://bank/a/",
            "spiffe://bank//a",
            "spiffe://Bank/a",
            "SPIFFE://bank/a",
            "spiffe://bank/a/../b",
            "spiffe://bank/./a",
            "spiffe://bank:1/a",
            "spiffe://user@bank/a",
            "spiffe://bank/a?b",
            "spiffe://bank/a#b",
            "spiffe://bank/%61",
            "spiffe://bank/ä",
            "https://bank/a",
            &long,
        ] {
            assert!(wrong.parse::<SpiffeId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_that_could_let_in_somebody_else_are_refused() {
        let bad = [
            "",
            "# none",
            "spiffe://a/b",
            "spiffe://a/b Bank",
            "spiffe://a/b bank king",
            "spiffe://a bank",
            "spiffe://a/b bank\nspiffe://a/b shop",
            "spiffe://a/b bank\nspiffe://c/b bank",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_that_is_taken_out_is_nobody_and_others_stay_who_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("workloads");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("# who\nspiffe://a/one bank\nspiffe://a/two * auditor operator\n");
        let workloads = Workloads::open(&path).unwrap();
        let find = |text: &str| workloads.find(&text.parse().unwrap());
        let (one, two) = (find("spiffe://a/one").unwrap(), find("spiffe://a/two").unwrap());
        assert_eq!(find("spiffe://a/three"), None);
        let principal = workloads.principal(two).unwrap();
        assert_eq!((principal.id(), principal.tenant()), ("spiffe://a/two", None));
        assert_eq!(*principal.roles(), [Role::Auditor, Role::Operator].into());
        assert!(workloads.principal(one).unwrap().tenant().is_some());

        write("spiffe://a/three bank\nspiffe://a/two bank\n");
        workloads.reload();
        assert_eq!((workloads.principal(one), find("spiffe://a/one")), (None, None));
        let changed = workloads.principal(two).unwrap();
        assert_eq!((changed.id(), changed.roles().clone()), ("spiffe://a/two", [Role::Agent].into()));
        assert_ne!(find("spiffe://a/three"), Some(one));

        write("nonsense");
        workloads.reload();
        assert_eq!(workloads.principal(two), Some(changed));
    }
}
