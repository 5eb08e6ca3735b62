//! Compiling: in a child process that limits itself before it looks at the component, or in this one.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use verdict_core::refusal::{Refusal, RefusalCode};

use crate::config::{CompileLimits, Compiler, Target};
use crate::scan::COMPONENT_BYTES_MAX;
use crate::sys::TrustedCode;

/// What the child says first when it has compiled; anything else is the reason why not.
const COMPILED: &[u8] = b"verdict-compiled/1\n";
/// The first line that the child reads: `verdict-compile/1 TARGET MEMORY_BYTES CPU_SECONDS`.
const REQUEST: &str = "verdict-compile/1";
const REQUEST_BYTES_MAX: usize = 256;
const REASON_CHARS_MAX: usize = 2_000;

fn failed(reason: impl Display) -> Refusal {
    let reason: String = reason.to_string().chars().take(REASON_CHARS_MAX).collect();
    Refusal::new(RefusalCode::CompileFailed, format!("the component cannot be compiled: {reason}"))
}

/// Compiles a component that was scanned.
pub(crate) fn compile(
    compiler: &Compiler,
    limits: &CompileLimits,
    target: Target,
    component: &[u8],
) -> Result<TrustedCode, Refusal> {
    match compiler {
        Compiler::InProcess => precompile(target, component).map(TrustedCode::vouch).map_err(failed),
        Compiler::Child { program, args } => {
            let mut command = Command::new(program);
            // Nothing of this process reaches it but the component: no environment, no open files.
            command.args(args).env_clear().current_dir(Path::new("/"));
            compile_in_child(command, limits, target, component)
        }
    }
}

/// Runs the compiler in this process.
#[cfg(feature = "compiler")]
fn precompile(target: Target, component: &[u8]) -> Result<Vec<u8>, String> {
    let text = |error: wasmtime::Error| format!("{error:#}");
    let engine =
        crate::config::code_config(target).and_then(|config| wasmtime::Engine::new(&config)).map_err(text)?;
    engine.precompile_component(component).map_err(text)
}

#[cfg(not(feature = "compiler"))]
fn precompile(_: Target, _: &[u8]) -> Result<Vec<u8>, String> {
    Err("this program was built without a compiler".into())
}

fn compile_in_child(
    mut command: Command,
    limits: &CompileLimits,
    target: Target,
    component: &[u8],
) -> Result<TrustedCode, Refusal> {
    let request =
        format!("{REQUEST} {} {} {}\n", target.name(), limits.memory_bytes_max, limits.cpu_seconds_max);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child =
        command.spawn().map_err(|error| failed(format!("the compiler cannot be started: {error}")))?;
    let output = converse(&mut child, limits, &request, component);
    // Whatever happened, the child is gone when this returns. One that has ended already cannot be killed.
    let _ = child.kill();
    let status = child.wait();
    let output = output.map_err(failed)?;
    match output.strip_prefix(COMPILED) {
        Some(code) => Ok(TrustedCode::vouch(code.to_vec())),
        None if !output.is_empty() => Err(failed(String::from_utf8_lossy(&output))),
        None => {
            let ended = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(failed(format!(
                "the compiler ended without a result ({ended}); it reached its memory or time limit"
            )))
        }
    }
}

/// Hands the component over and reads the result. Both ends are threads, so that neither a child that does not read nor
/// one that does not stop holds the caller longer than the limit.
fn converse(
    child: &mut Child,
    limits: &CompileLimits,
    request: &str,
    component: &[u8],
) -> Result<Vec<u8>, String> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the compiler has no pipes".into());
    };
    let deadline = Instant::now() + limits.wall_clock_max;
    let output_bytes_max = limits.output_bytes_max;
    let input = [request.as_bytes(), component].concat();
    let (sender, receiver) = mpsc::channel();
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.into()).spawn(run).map_err(|error| error.to_string())
    };
    spawn(
        "compile-output",
        Box::new(move || {
            let mut output = Vec::new();
            let read = stdout.take(output_bytes_max.saturating_add(1)).read_to_end(&mut output);
            let _ = sender.send(read.map(|_| output));
        }),
    )?;
    // A child that stops reading has said why on its output, or ends; either is seen there.
    spawn("compile-input", Box::new(move || drop(stdin.write_all(&input))))?;
    let wait = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let output = receiver
        .recv_timeout(wait)
        .map_err(|_| format!("the compiler took longer than {:?}", limits.wall_clock_max))?
        .map_err(|error| format!("the compiler's output cannot be read: {error}"))?;
    if u64::try_from(output.len()).is_ok_and(|bytes| bytes <= output_bytes_max) {
        Ok(output)
    } else {
        Err(format!("the machine code has more than {output_bytes_max} bytes"))
    }
}

/// The child process: limits itself, reads target, limits and component from `input`, and writes the machine code, or
/// the reason why there is none, to `output`. A program that embeds the engine calls this and nothing else where it is
/// started as [`Compiler::Child`] says.
pub fn compile_worker(input: impl Read, mut output: impl Write) -> ExitCode {
    let written = match work(input) {
        Ok(code) => output.write_all(COMPILED).and_then(|()| output.write_all(&code)),
        Err(reason) => output.write_all(reason.as_bytes()),
    };
    match written.and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn work(mut input: impl Read) -> Result<Vec<u8>, String> {
    let line = request_line(&mut input).map_err(|error| format!("the request cannot be read: {error}"))?;
    let malformed = || format!("`{line}` is not a request of this version");
    let parts: Vec<&str> = line.split(' ').collect();
    let [REQUEST, target, memory, cpu] = parts.as_slice() else { return Err(malformed()) };
    let target = Target::from_name(target).ok_or_else(malformed)?;
    let memory = memory.parse().map_err(|_| malformed())?;
    let cpu = cpu.parse().map_err(|_| malformed())?;
    // Before the first byte of the component is read.
    limit(Resource::As, memory)?;
    limit(Resource::Cpu, cpu)?;
    limit(Resource::Core, 0)?;
    let mut component = Vec::new();
    input.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut component).map_err(|error| error.to_string())?;
    precompile(target, &component)
}

fn limit(resource: Resource, max: u64) -> Result<(), String> {
    let limit = Rlimit { current: Some(max), maximum: Some(max) };
    setrlimit(resource, limit).map_err(|error| format!("the compiler cannot be limited: {error}"))
}

/// Byte by byte, so that nothing of the component is taken.
fn request_line(input: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < REQUEST_BYTES_MAX {
        input.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return String::from_utf8(line).map_err(io::Error::other);
        }
        line.extend_from_slice(&byte);
    }
    Err(io::Error::other("its first line is too long"))
}
