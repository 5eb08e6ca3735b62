//! The only module with `unsafe`: machine code becomes a component that can run, and the pages of an instance are
//! watched and put back.
#![allow(unsafe_code)]

mod code;
mod fault_handler;
mod pages;

pub(crate) use code::TrustedCode;
pub(crate) use fault_handler::install as install_fault_handler;
#[cfg(test)]
pub(crate) use pages::failing;
pub(crate) use pages::{
    Watch, Watched, drop_grown, hot_pages_everywhere, hot_pages_everywhere_max, page_bytes, page_faults,
};
