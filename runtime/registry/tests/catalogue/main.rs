//! The catalogue on SQLite and on PostgreSQL: the same tests on both.
#![cfg(feature = "catalogue")]

#[macro_use]
mod places;

mod access;
mod crash;
mod documents;
mod events;
mod garbage;
mod opening;
mod policies;
mod repositories;
