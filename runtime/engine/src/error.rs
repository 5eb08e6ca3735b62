//! Why an engine cannot be made. Why a component is refused is [`verdict_core::refusal`]; why a question gets no
//! answer is [`verdict_core::outcome::Fault`].

use verdict_core::limits::LimitError;

/// An engine cannot be made as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The ceiling has a limit that cannot be enforced.
    #[error("the ceiling of limits cannot be used: {0}")]
    Ceiling(#[from] LimitError),
    /// The stack limit leaves too little of a thread's stack.
    #[error(
        "limit `stack_bytes` is {0}; it must be between {STACK_BYTES_MIN} and {STACK_BYTES_MAX}, so that it fits into a thread of 2 MiB"
    )]
    Stack(u64),
    /// No evaluations at once.
    #[error("`concurrency` is {0}; it must be between 1 and {CONCURRENCY_MAX}")]
    Concurrency(u32),
    /// The sandbox does not work here.
    #[error("the sandbox cannot be started: {0}")]
    Sandbox(String),
    /// The folder of compiled components cannot be used.
    #[error("the compile cache `{path}` cannot be used: {error}; check the folder and its permissions")]
    Cache {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("the thread that watches deadlines cannot be started: {0}")]
    Thread(std::io::Error),
}

/// The smallest stack that runs anything.
pub(crate) const STACK_BYTES_MIN: u64 = 16 << 10;
/// The largest stack that leaves half of the 2 MiB of a thread for the host.
pub(crate) const STACK_BYTES_MAX: u64 = 1 << 20;
/// The most evaluations at once; each reserves address space.
pub(crate) const CONCURRENCY_MAX: u32 = 4_096;
