//! Page faults in a real process: handlers before and after ours, threads, forks, small signal stacks, crashes that must
//! stay crashes, and a process without mappings. Each story has a process of its own, which is this program with the
//! name of the story.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]
#![allow(
    unsafe_code,
    reason = "signal handlers, forks and mappings are made here as a strange host would make them"
)]

mod support;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::ptr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{ask, guest, load, try_load, value};
use verdict_core::outcome::FaultCode;
use verdict_engine::{Compiler, Config, Engine, Instances, Policy, Target};

/// No story takes longer.
const PATIENCE: Duration = Duration::from_secs(240);

/// How the process of a story must end.
enum End {
    Well,
    /// Killed by a signal, with these words on its standard error.
    Killed(i32, &'static str),
}

const STORIES: &[(&str, fn(), End)] = &[
    ("a_handler_from_before_gets_its_own_faults", || handler_from_before(true), End::Well),
    ("a_plain_handler_from_before_gets_its_own_faults", || handler_from_before(false), End::Well),
    ("a_handler_that_chains_to_ours_lets_policies_run", handler_from_after, End::Well),
    ("threads_fault_at_once_in_new_instances", threads_at_once, End::Well),
    ("a_fork_goes_on_with_both", fork_goes_on, End::Well),
    ("threads_with_small_signal_stacks_or_none_run_policies", small_signal_stacks, End::Well),
    ("engines_of_every_kind_share_a_process", engines_share_a_process, End::Well),
    ("engines_come_and_go", engines_come_and_go, End::Well),
    ("an_interpreter_first_does_not_hide_the_handler", interpreter_first, End::Well),
    ("without_mappings_answers_are_right_or_unavailable", without_mappings, End::Well),
    ("a_null_write_still_kills", || crash(ptr::null_mut()), End::Killed(libc::SIGSEGV, "")),
    ("a_null_write_of_another_thread_still_kills", crash_in_a_thread, End::Killed(libc::SIGSEGV, "")),
    ("a_write_to_a_constant_still_kills", crash_in_a_read_only_page, End::Killed(libc::SIGSEGV, "")),
    ("a_null_write_after_a_fork_still_kills", crash_after_a_fork, End::Killed(libc::SIGSEGV, "")),
    (
        "a_native_stack_overflow_is_still_told",
        stack_overflow,
        End::Killed(libc::SIGABRT, "overflowed its stack"),
    ),
];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if let Some(name) = argument.strip_prefix("story=") {
        let (_, story, _) = STORIES.iter().find(|(story, ..)| *story == name).unwrap();
        story();
        return ExitCode::SUCCESS;
    }
    let listing = std::env::args().any(|argument| argument == "--list");
    let mut failed = false;
    for (name, _, end) in
        STORIES.iter().filter(|(name, ..)| argument.starts_with('-') || name.contains(&argument))
    {
        if listing {
            println!("{name}: test");
            continue;
        }
        let result = run(name, end);
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        if let Err(why) = result {
            println!("{why}");
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(name: &str, end: &End) -> Result<(), String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(format!("story={name}"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stderr, &mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let give_up = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > give_up {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("hangs: {}", said.join().unwrap()));
        }
        thread::sleep(Duration::from_millis(5));
    };
    let said = said.join().unwrap();
    let right = match end {
        End::Well => status.success(),
        End::Killed(signal, words) => status.signal() == Some(*signal) && said.contains(words),
    };
    if right { Ok(()) } else { Err(format!("{status}: {said}")) }
}

fn engine(instances: Instances, target: Target) -> Engine {
    let mut config = Config::new(Compiler::InProcess);
    config.instances = instances;
    config.target = target;
    config.concurrency = 64;
    // The machine may be slow, and its speed is not what is tested.
    config.ceiling.wall_clock_ms = 60_000;
    Engine::new(config).unwrap()
}

/// Answers `true` if it finds itself as new, and writes to 40 pages. If its input has an odd length it grows, so that
/// the next evaluation takes a new instance, and all its pages fault again.
fn component() -> Vec<u8> {
    guest(
        r#"(memory (export "memory") 3) (global $g (mut i32) (i32.const 4))
        (data (i32.const 70000) "pristine") (data (i32.const 8) "null")"#,
        r#"(local $at i32)
        (if (i32.ne (global.get $g) (i32.const 4)) (then (return (call $answer (i32.const 8) (i32.const 4)))))
        (global.set $g (i32.const 5))
        (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
        (local.set $at (i32.const 12288))
        (loop $l
          (if (i32.load (local.get $at)) (then (return (call $answer (i32.const 8) (i32.const 4)))))
          (i32.store (local.get $at) (i32.const 7))
          (local.set $at (i32.add (local.get $at) (i32.const 4096)))
          (br_if $l (i32.lt_u (local.get $at) (i32.const 176128))))
        (memory.fill (i32.const 4200) (i32.const 9) (i32.const 20000))
        (if (i32.and (i32.load (i32.const 2056)) (i32.const 1)) (then (drop (memory.grow (i32.const 1)))))
        (call $true)"#,
    )
}

/// The answer leaves the instance as it was.
const RESET: &str = "12";
/// The instance grows, and the next one is new.
const RENEWED: &str = "1";

fn policy(engine: &Engine) -> Policy {
    let policy = load(engine, &component(), json!({}));
    assert_eq!(value(&ask(&policy, RESET)), Some("true"));
    policy
}

fn protected() -> Policy {
    let policy = policy(&engine(Instances::Protected, Target::Native));
    assert_eq!(policy.new_instances_because(), None);
    policy
}

/// Asks in instances that are reset and in new ones, each of which faults.
fn ask_often(policy: &Policy, times: usize) {
    for _ in 0..times {
        for input in [RESET, RENEWED, RESET] {
            let outcome = ask(policy, input);
            assert_eq!(value(&outcome), Some("true"), "{:?}", outcome.result);
        }
    }
}

/// A page of the host's own that it protects for its own ends.
static PAGE: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
static PAGE_IS_PROTECTED: AtomicBool = AtomicBool::new(false);
static OWN_FAULTS: AtomicUsize = AtomicUsize::new(0);

fn page_bytes() -> usize {
    rustix::param::page_size()
}

fn map(bytes: usize, protection: i32) -> *mut libc::c_void {
    // SAFETY: a new mapping at a place that the system chooses.
    let page = unsafe {
        libc::mmap(ptr::null_mut(), bytes, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    assert_ne!(page, libc::MAP_FAILED);
    page
}

fn protect_own_page(protection: i32) {
    PAGE_IS_PROTECTED.store(protection == libc::PROT_READ, Ordering::SeqCst);
    // SAFETY: the page is ours, and written to with volatile writes only.
    assert_eq!(unsafe { libc::mprotect(PAGE.load(Ordering::SeqCst), page_bytes(), protection) }, 0);
}

/// Faults in the host's own page, whose handler makes it writable.
fn fault_in_own_page() {
    let before = OWN_FAULTS.load(Ordering::SeqCst);
    protect_own_page(libc::PROT_READ);
    // SAFETY: the page is mapped, and the handler makes it writable.
    unsafe { PAGE.load(Ordering::SeqCst).cast::<u32>().write_volatile(7) };
    assert_eq!(OWN_FAULTS.load(Ordering::SeqCst), before + 1);
}

fn make_own_page_writable() {
    OWN_FAULTS.fetch_add(1, Ordering::SeqCst);
    protect_own_page(libc::PROT_READ | libc::PROT_WRITE);
}

/// A fault that is not the host's own is not expected here.
fn die(signal: libc::c_int) {
    // SAFETY: the default action ends the process when the instruction runs again.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

extern "C" fn with_info(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel, or the handler that chains to this one, hands over a valid `siginfo_t`.
    let address = unsafe { (*info).si_addr() }.addr();
    match address.wrapping_sub(PAGE.load(Ordering::SeqCst).addr()) < page_bytes() {
        true => make_own_page_writable(),
        false => die(signal),
    }
}

extern "C" fn plain(signal: libc::c_int) {
    match PAGE_IS_PROTECTED.load(Ordering::SeqCst) {
        true => make_own_page_writable(),
        false => die(signal),
    }
}

static BEFORE_CHAINING: AtomicUsize = AtomicUsize::new(0);
static CHAINED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn chaining(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: as in `with_info`; the previous handler has this type, which is checked where it is kept.
    unsafe {
        if (*info).si_addr().addr().wrapping_sub(PAGE.load(Ordering::SeqCst).addr()) < page_bytes() {
            return make_own_page_writable();
        }
        CHAINED.fetch_add(1, Ordering::SeqCst);
        let previous = BEFORE_CHAINING.load(Ordering::SeqCst);
        std::mem::transmute::<usize, extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void)>(
            previous,
        )(signal, info, context);
    }
}

/// Installs a handler of SIGSEGV, and returns the address of the one before, which takes the information.
fn install(handler: usize, flags: libc::c_int) -> usize {
    // SAFETY: zeroed `sigaction`s are valid; the handler has the type that the flags say.
    unsafe {
        let (mut action, mut previous) =
            (std::mem::zeroed::<libc::sigaction>(), std::mem::zeroed::<libc::sigaction>());
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, &raw mut previous), 0);
        assert_ne!(previous.sa_flags & libc::SA_SIGINFO, 0);
        previous.sa_sigaction
    }
}

fn handler_from_before(takes_info: bool) {
    PAGE.store(map(page_bytes(), libc::PROT_READ), Ordering::SeqCst);
    match takes_info {
        true => install(with_info as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK),
        false => install(plain as *const () as usize, libc::SA_ONSTACK),
    };
    fault_in_own_page();
    let policy = protected();
    for _ in 0..20 {
        fault_in_own_page();
        ask_often(&policy, 3);
    }
    assert_eq!(OWN_FAULTS.load(Ordering::SeqCst), 21);
}

fn handler_from_after() {
    PAGE.store(map(page_bytes(), libc::PROT_READ), Ordering::SeqCst);
    let policy = protected();
    BEFORE_CHAINING.store(
        install(chaining as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK),
        Ordering::SeqCst,
    );
    for _ in 0..20 {
        fault_in_own_page();
        ask_often(&policy, 3);
    }
    // A trap is a signal too.
    let trap = load(
        &engine(Instances::Protected, Target::Native),
        &guest("", "(i32.load (i32.const -4))"),
        json!({}),
    );
    assert_eq!(ask(&trap, "{}").result.unwrap_err().code, FaultCode::Trap);
    // Another engine does not install its handler again, before this one.
    ask_often(&protected(), 5);
    assert!(CHAINED.load(Ordering::SeqCst) > 100);
    assert_eq!(OWN_FAULTS.load(Ordering::SeqCst), 20);
}

fn threads_at_once() {
    const THREADS: usize = 24;
    let engine = engine(Instances::Protected, Target::Native);
    let policies: Vec<_> = (0..4).map(|_| policy(&engine)).collect();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (policy, start) = (&policies[thread % policies.len()], &start);
            scope.spawn(move || {
                start.wait();
                ask_often(policy, 200);
            });
        }
    });
}

/// Waits for a child, and kills it if it takes too long.
fn wait_for(child: libc::pid_t) -> libc::c_int {
    let give_up = Instant::now() + PATIENCE / 2;
    let mut status = 0;
    // SAFETY: waits for, or kills, the child that was forked here.
    unsafe {
        while libc::waitpid(child, &raw mut status, libc::WNOHANG) == 0 {
            if Instant::now() > give_up {
                libc::kill(child, libc::SIGKILL);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    status
}

/// Forks; the child runs `work` and ends well, or panics.
fn forked(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: no other thread of this process holds a lock that the child needs: the one that there is makes deadlines
    // pass. The child ends without running what is registered for the end of the parent.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok();
            libc::_exit(i32::from(!well));
        }
        child
    }
}

fn fork_goes_on() {
    let policy = protected();
    // Without an idle instance.
    let other = protected();
    ask_often(&other, 1);
    assert_eq!(value(&ask(&other, RENEWED)), Some("true"));
    let children: Vec<_> = (0..4)
        .map(|_| {
            forked(|| {
                ask_often(&policy, 50);
                ask_often(&other, 50);
            })
        })
        .collect();
    ask_often(&policy, 50);
    ask_often(&other, 50);
    for child in children {
        let status = wait_for(child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
    }
    ask_often(&policy, 5);
}

/// Gives this thread a signal stack of so many bytes, or none.
fn signal_stack(bytes: Option<usize>) {
    // SAFETY: the mapping is never unmapped, so the stack outlives the thread.
    unsafe {
        let mut stack = std::mem::zeroed::<libc::stack_t>();
        match bytes {
            None => stack.ss_flags = libc::SS_DISABLE,
            Some(bytes) => {
                stack.ss_size = bytes;
                stack.ss_sp = map(bytes, libc::PROT_READ | libc::PROT_WRITE);
            }
        }
        let result = libc::sigaltstack(&raw const stack, ptr::null_mut());
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

/// The least that the kernel takes, which depends on the processor's registers.
fn signal_stack_bytes_min() -> usize {
    // SAFETY: reads what the kernel told the process when it started.
    let kernel = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) };
    usize::try_from(kernel).unwrap().max(libc::MINSIGSTKSZ)
}

fn small_signal_stacks() {
    let policy = protected();
    let small = signal_stack_bytes_min();
    for (before, after) in [
        (Some(small), None),
        (None, None),
        (None, Some(small + libc::SIGSTKSZ)),
        (Some(libc::SIGSTKSZ.max(small)), Some(4 * small)),
    ] {
        let policy = policy.clone();
        let thread = thread::spawn(move || {
            signal_stack(before);
            ask_often(&policy, 20);
            signal_stack(after);
            ask_often(&policy, 20);
        });
        thread.join().unwrap();
    }
}

fn engines_share_a_process() {
    let kinds = [Instances::New, Instances::Protected, Instances::Copied, Instances::Protected];
    let policies: Vec<_> = kinds.map(|kind| policy(&engine(kind, Target::Native))).into();
    let interpreted = policy(&engine(Instances::Protected, Target::Pulley));
    thread::scope(|scope| {
        for policy in &policies {
            scope.spawn(|| ask_often(policy, 100));
        }
        scope.spawn(|| ask_often(&interpreted, 3));
    });
    let fuel = |policy| ask(policy, RESET).fuel;
    assert!(policies.iter().all(|policy| fuel(policy) == fuel(&interpreted)));
}

fn engines_come_and_go() {
    for round in 0..12 {
        let kind = if round % 3 == 1 { Instances::New } else { Instances::Protected };
        let engine = engine(kind, Target::Native);
        let policy = policy(&engine);
        drop(engine);
        ask_often(&policy, 5);
        thread::spawn(move || ask_often(&policy, 5)).join().unwrap();
    }
}

/// The interpreter needs no handler of signals, so the machine code's may be installed after ours.
fn interpreter_first() {
    let interpreted = policy(&engine(Instances::Protected, Target::Pulley));
    ask_often(&interpreted, 2);
    let policy = protected();
    ask_often(&policy, 20);
    ask_often(&interpreted, 2);
}

/// Mappings that nobody uses, taken so that there are none for others: every second page of a region is another one.
struct Hoard {
    region: *mut libc::c_void,
    pages: usize,
    taken: usize,
}

impl Hoard {
    fn new() -> Self {
        let pages = 300_000;
        Self { region: map(pages * page_bytes(), libc::PROT_NONE), pages, taken: 0 }
    }

    fn protect(&self, number: usize, protection: i32) -> bool {
        assert!(2 * number < self.pages, "the system has no bound on mappings");
        // SAFETY: nobody uses the region.
        let page = unsafe { self.region.byte_add(2 * number * page_bytes()) };
        // SAFETY: as above.
        unsafe { libc::mprotect(page, page_bytes(), protection) == 0 }
    }

    /// Takes all that are left but so many.
    fn take_all_but(&mut self, left: usize) {
        while self.protect(self.taken, libc::PROT_READ) {
            self.taken += 1;
        }
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOMEM));
        // Each page that is like its neighbours again makes one mapping of three.
        for _ in 0..left.div_ceil(2) {
            self.taken -= 1;
            assert!(self.protect(self.taken, libc::PROT_NONE));
        }
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        // SAFETY: nobody uses the region.
        assert_eq!(unsafe { libc::munmap(self.region, self.pages * page_bytes()) }, 0);
    }
}

fn without_mappings() {
    // Rust ends a process that cannot allocate, and with every mapping taken the heap does not even grow. So all threads
    // of this one share a heap that is large enough before.
    // SAFETY: settings of the allocator.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
    drop(black_box(Vec::<u8>::with_capacity(256 << 20)));
    let engine = engine(Instances::Protected, Target::Native);
    let (policy, other) = (policy(&engine), policy(&engine));
    let (mut right, mut unavailable, mut loaded) = (0, 0, 0);
    let mut ask_once = |policy: &Policy, input| match ask(policy, input).result {
        Ok(answer) => {
            assert_eq!(answer.value.as_deref(), Some("true"));
            right += 1;
        }
        Err(fault) => {
            assert_eq!(fault.code, FaultCode::Unavailable, "{fault:?}");
            unavailable += 1;
        }
    };
    let component = component();
    let mut hoard = Hoard::new();
    for left in 0..60 {
        for input in [RESET, RENEWED, RESET, RENEWED, RENEWED] {
            hoard.take_all_but(left);
            ask_once(&policy, input);
            hoard.take_all_but(left);
            ask_once(&other, input);
        }
        hoard.take_all_but(left);
        // It is loaded or refused; either is right.
        if let Ok(another) = try_load(&engine, &component, json!({})) {
            loaded += 1;
            ask_once(&another, RENEWED);
        }
    }
    drop(hoard);
    ask_often(&policy, 10);
    ask_often(&other, 10);
    ask_often(&self::policy(&engine), 10);
    println!("without mappings: {right} right, {unavailable} unavailable, {loaded} loaded");
    // Usually all of them are right: what is new is not watched, and memory that was watched is opened as a whole.
    assert!(right > 500, "{right} right, {unavailable} unavailable");
}

fn crash(place: *mut u32) {
    let policy = protected();
    ask_often(&policy, 3);
    // SAFETY: it is not: this is the crash that must stay one.
    unsafe { black_box(place).write_volatile(1) };
    unreachable!("the write was swallowed");
}

fn crash_in_a_thread() {
    let policy = protected();
    thread::scope(|scope| {
        scope.spawn(|| ask_often(&policy, 1_000_000));
        thread::sleep(Duration::from_millis(50));
        // SAFETY: as above.
        scope.spawn(|| unsafe { black_box(ptr::null_mut::<u32>()).write_volatile(1) });
    });
}

fn crash_in_a_read_only_page() {
    let page = map(page_bytes(), libc::PROT_READ);
    crash(page.cast());
}

fn crash_after_a_fork() {
    let policy = protected();
    let child = forked(|| crash(ptr::null_mut()));
    ask_often(&policy, 10);
    let status = wait_for(child);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV, "{status}");
    crash(ptr::null_mut());
}

#[expect(unconditional_recursion, reason = "it is to overflow")]
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    overflow(depth + 1) + frame[black_box(5)]
}

fn stack_overflow() {
    let policy = protected();
    ask_often(&policy, 3);
    thread::spawn(move || {
        ask_often(&policy, 3);
        overflow(0)
    })
    .join()
    .unwrap();
}
