//! Machine code becomes a component that can run.

use wasmtime::Engine;
use wasmtime::component::Component;

/// Machine code whose origin is known. It can only be made where that is checked, so nothing else is deserialised.
pub(crate) struct TrustedCode(Vec<u8>);

impl TrustedCode {
    /// Takes the word of the caller for it: `code` is what the compiler of this very build wrote, and nobody could
    /// change it since. There are two callers: [`crate::compile`] with what its own child wrote to a pipe, and
    /// [`crate::cache`] after it has checked the authentication of a file.
    pub(crate) fn vouch(code: Vec<u8>) -> Self {
        Self(code)
    }

    /// The code, to be written to the cache.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes the code executable. A compiler that a component could deceive would deceive here too: the child's limits
    /// bound what compiling costs, and wasmtime's compiler is trusted as its runtime is.
    ///
    /// wasmtime checks that it was compiled for this version, target and settings.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` asks that the bytes come unchanged from wasmtime's own compiler, as anything else is
        // arbitrary code. A `TrustedCode` holds such bytes: those of our child process, or those whose HMAC says that
        // a host with the cache's key wrote them.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
