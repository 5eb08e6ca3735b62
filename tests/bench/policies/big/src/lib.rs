//! The policy of the figures `decide.big.*`: the check of `small` for a user who is in a table of 1 MB, which is data
//! of the component. A decision reads sixteen places of the table and writes to four of its pages; the stack and the
//! allocator write to others.

use std::sync::atomic::{AtomicU64, Ordering};

use verdict_sdk::{Decision, Reason, input};

verdict_sdk::policy! { "allow" => allow }

const ENTRIES: usize = 1 << 17;
const PAGES_WRITTEN: usize = 4;
const PLACES_READ: usize = 16;

/// What stands for what a large policy keeps, such as a filter of revoked names: 1 MB of numbers that are not zero.
static TABLE: [AtomicU64; ENTRIES] = table();

#[allow(
    clippy::indexing_slicing,
    long_running_const_eval,
    reason = "the compiler runs this, and there is nothing to index with but a number"
)]
const fn table() -> [AtomicU64; ENTRIES] {
    let mut table = [const { AtomicU64::new(0) }; ENTRIES];
    let mut index = 0;
    while index < ENTRIES {
        table[index] = AtomicU64::new(mixed(index as u64));
        index += 1;
    }
    table
}

/// A number that looks like any other.
const fn mixed(number: u64) -> u64 {
    let mixed = (number ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

fn allow() -> Decision {
    let fields = input::read_many(&["/user", "/role", "/owner", "/action"]);
    let [user, role, owner, action] = fields.as_slice() else { return denied() };
    let Some(name) = user.as_text() else { return denied() };
    let hash = name.bytes().fold(7, |hash, byte| mixed(hash ^ u64::from(byte)));
    if revoked(hash) {
        return Decision::deny().because(Reason::new("revoked", "the user is revoked").on("/user"));
    }
    count(hash);
    let role = role.as_text();
    if role == Some("admin") || owner.as_text() == Some(name) {
        return Decision::allow().because(Reason::new("owner", "the user owns it").on("/owner"));
    }
    if role == Some("editor") && matches!(action.as_text(), Some("read" | "write")) {
        return Decision::allow().because(Reason::new("editor", "editors may read and write").on("/role"));
    }
    denied()
}

fn denied() -> Decision {
    Decision::deny().because(Reason::new("no-rule", "no rule allows it"))
}

/// Whether all places of this hash are zero: never, but the compiler does not know.
fn revoked(hash: u64) -> bool {
    places(hash, PLACES_READ).fold(0, |bits, place| bits | place.load(Ordering::Relaxed)) == 0
}

/// Adds one to as many pages as this policy may write; the next decision must not see it.
fn count(hash: u64) {
    for place in places(hash, PAGES_WRITTEN) {
        place.store(place.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

/// Places that lie evenly over the table, where the hash says.
fn places(hash: u64, count: usize) -> impl Iterator<Item = &'static AtomicU64> {
    let stride = ENTRIES / count;
    TABLE.iter().skip(usize::try_from(hash % stride as u64).unwrap_or_default()).step_by(stride)
}
