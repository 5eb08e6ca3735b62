//! The handler of SIGSEGV: a write to a page that is watched makes the page writable and goes on. Everything else goes
//! to the handler that was there before, which is wasmtime's.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use super::pages::Pages;

thread_local! {
    /// The pages of the instance that runs on this thread. Constant and without a destructor, so that reading it in a
    /// signal handler allocates nothing and registers nothing.
    static RUNNING: Cell<*const Pages> = const { Cell::new(ptr::null()) };
}

/// The action that was there before ours. Written once, before ours can run.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once in a process, and after wasmtime's, so that ours is asked first and wasmtime's gets the
/// rest.
///
/// # Errors
/// When the system refuses.
pub(crate) fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Option<i32>> = OnceLock::new();
    match INSTALLED.get_or_init(|| install_once().err().map(|error| error.raw_os_error().unwrap_or(0))) {
        None => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(*error)),
    }
}

fn install_once() -> io::Result<()> {
    // wasmtime installs its handler with the first engine for machine code, and the only one so far may be for the
    // interpreter. If it came after ours, it would take a write to a watched page for a trap.
    wasmtime::Engine::new(&wasmtime::Config::new())
        .map_err(|error| io::Error::other(format!("{error:#}")))?;
    // First read and kept, then replaced: whenever ours runs, the previous one is known. Another thread that replaces
    // the action in between would be lost; `install` runs where an engine is made, as wasmtime's does.
    PREVIOUS.get_or_init(current_action);
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
    // SAFETY: a zeroed `sigaction` is a valid value, and so is each field written here; `sigaction` is handed pointers
    // to live values. `on_fault` has the type that `SA_SIGINFO` asks for. `SA_ONSTACK`: a guest may have used its stack
    // up. `SA_NODEFER`: wasmtime's handler may not return here, and a fault inside a handler must reach the next.
    let result = unsafe {
        let action = action.assume_init_mut();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGSEGV, action, ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn current_action() -> libc::sigaction {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a zeroed `sigaction` is valid (the default action); the call writes a live value and reads none.
    unsafe {
        libc::sigaction(libc::SIGSEGV, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    }
}

/// Runs `work` with writes to `pages` on this thread let through and noted.
pub(super) fn watching<R>(pages: &Pages, work: impl FnOnce() -> R) -> R {
    struct Restore(*const Pages);
    impl Drop for Restore {
        fn drop(&mut self) {
            RUNNING.set(self.0);
        }
    }
    // Also when `work` unwinds: the pointer must not outlive the borrow.
    let _restore = Restore(RUNNING.replace(pages));
    work()
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a handler with `SA_SIGINFO` a valid `siginfo_t`, and `si_addr` is there for SIGSEGV.
    // `__errno_location` is this thread's own. `RUNNING` is null, or points to the `Pages` that `watching` borrows on
    // this very thread, under which the faulting instruction ran. What is called is safe in a signal handler: atomics
    // and `mprotect`.
    unsafe {
        let errno = *libc::__errno_location();
        let address = (*info).si_addr() as usize;
        let pages = RUNNING.try_with(Cell::get).unwrap_or(ptr::null());
        let written = (*info).si_code == SEGV_ACCERR && !pages.is_null() && (*pages).let_through(address);
        *libc::__errno_location() = errno;
        if !written {
            pass_on(signal, info, context);
        }
    }
}

/// `si_code` of a page that is there and does not permit the access (signal.h).
const SEGV_ACCERR: libc::c_int = 2;

/// Does what would have been done without this handler.
///
/// # Safety
/// The arguments are those of a signal handler, which runs.
unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    type Plain = extern "C" fn(libc::c_int);
    type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    let previous = PREVIOUS.get();
    match previous.map(|previous| (previous.sa_sigaction, previous.sa_flags)) {
        None | Some((libc::SIG_DFL | libc::SIG_IGN, _)) => {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: as in `install_once`. The default action comes back, the instruction runs again, and the process
            // ends as it would have: a fault that nobody handles is not to be survived.
            unsafe {
                (*action.as_mut_ptr()).sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, action.as_ptr(), ptr::null_mut());
            }
        }
        // SAFETY: the kernel would have called this address with these arguments: the flags say which type it has.
        Some((handler, flags)) if flags & libc::SA_SIGINFO != 0 => unsafe {
            std::mem::transmute::<usize, WithInfo>(handler)(signal, info, context);
        },
        // SAFETY: as above.
        Some((handler, _)) => unsafe { std::mem::transmute::<usize, Plain>(handler)(signal) },
    }
}
