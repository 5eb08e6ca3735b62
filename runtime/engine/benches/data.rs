//! What a tenant's data costs: the memory of documents of 100 MB, and looking values up in them at random. `make bench`
//! runs it. Prints a JSON object a figure; on stderr, a line for each shape of data.
//!
//! Memory is what the allocator of this program has given out for a document and not got back, text included, to the
//! bytes of its text: the worst shape counts. A look-up goes to a value that was chosen at random beforehand, each once,
//! so that its memory is cold; the median is taken, and of several turns the lowest.

use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use peak_alloc::PeakAlloc;
use verdict_core::pointer::Pointer;
use verdict_engine::{Document, DocumentLimits};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TEXT_BYTES: usize = 100_000_000;
const LOOKUPS: usize = 50_000;
const TURNS: usize = 5;
const LIMITS: DocumentLimits = DocumentLimits { bytes_max: 1 << 30, depth_max: 128 };

/// Counts what is allocated.
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// A document of 100 MB: an array or object of many of one kind.
struct Shape {
    name: &'static str,
    /// Its first and its last byte.
    around: [char; 2],
    /// One element, or one member with its name.
    item: fn(usize) -> String,
    /// The pointer to a value in it.
    pointer: fn(usize) -> String,
    /// Whether its look-ups are a figure.
    is_measured: bool,
}

const SHAPES: [Shape; 9] = [
    Shape {
        name: "an object with 1,000,000 keys, each some roles",
        around: ['{', '}'],
        item: |n| {
            let roles = format!(r#"["reader","reviewer-{}","claims-europe"]"#, n % 10);
            format!(r#""{}":{{"roles":{roles},"unit":"{n:018}"}}"#, key(n))
        },
        pointer: |n| format!("/{}/roles/1", key(n)),
        is_measured: true,
    },
    Shape {
        name: "an array of 1,000,000 small objects",
        around: ['[', ']'],
        item: |n| {
            let roles = format!(r#"["clerk","reviewer-{}"]"#, n % 7);
            format!(r#"{{"id":"user-{n:07}","name":"Jörg Example {n:07}","roles":{roles},"active":true}}"#)
        },
        pointer: |n| format!("/{n}/roles/1"),
        is_measured: true,
    },
    Shape {
        name: "an array of objects with more members",
        around: ['[', ']'],
        item: |n| {
            let address = format!(r#"{{"street":"Long Street {n}","city":"Springfield","zip":"{n:05}"}}"#);
            let person =
                format!(r#""name":"Jörg Example {n}","email":"user{n}@example.org","level":{}"#, n % 5);
            format!(
                r#"{{"id":"user-{n:06}",{person},"address":{address},"tags":["a","b","c"],"notes":null}}"#
            )
        },
        pointer: |n| format!("/{n}/address/city"),
        is_measured: false,
    },
    Shape {
        name: "long strings",
        around: ['[', ']'],
        item: |n| format!("\"{}{n}\"", "lorem ipsum dolor ".repeat(200)),
        pointer: |n| format!("/{n}"),
        is_measured: false,
    },
    Shape {
        name: "nested arrays",
        around: ['[', ']'],
        item: |n| format!("{}{}{}", "[".repeat(120), n % 10, "]".repeat(120)),
        pointer: |n| format!("/{n}/0/0"),
        is_measured: false,
    },
    Shape {
        name: "small numbers",
        around: ['[', ']'],
        item: |n| (n % 10).to_string(),
        pointer: |n| format!("/{n}"),
        is_measured: false,
    },
    Shape {
        name: "empty objects",
        around: ['[', ']'],
        item: |_| "{}".into(),
        pointer: |n| format!("/{n}"),
        is_measured: false,
    },
    Shape {
        name: "an object with the shortest members",
        around: ['{', '}'],
        item: |n| format!("\"{n:x}\":0"),
        pointer: |n| format!("/{n:x}"),
        is_measured: false,
    },
    Shape {
        name: "objects of the shortest members that have tables",
        around: ['[', ']'],
        item: |n| {
            let members: Vec<String> = (0..40).map(|member| format!("\"{member}\":{}", n % 10)).collect();
            format!("{{{}}}", members.join(","))
        },
        pointer: |n| format!("/{n}/{}", n % 40),
        is_measured: false,
    },
];

fn main() -> Result<()> {
    let (mut lookup, mut ratio) = (0.0_f64, 0.0_f64);
    for shape in &SHAPES {
        let (text, items) = text(shape)?;
        let (bytes, before) = (text.len(), ALLOCATED.current_usage() - text.len());
        ALLOCATED.reset_peak_usage();
        let started = Instant::now();
        let document = Document::parse(text, &LIMITS)?;
        let seconds = started.elapsed().as_secs_f64();
        let times = |allocated: usize| (allocated - before) as f64 / bytes as f64;
        let (kept, peak) = (times(ALLOCATED.current_usage()), times(ALLOCATED.peak_usage()));
        let us = lookups(&document, shape, items)? * 1e6;
        eprintln!(
            "{}: {bytes} bytes, {items} items; {kept:.2} times the text, {peak:.2} while parsing; {:.3} GB/s; {us:.3} µs",
            shape.name,
            bytes as f64 / seconds / 1e9,
        );
        ratio = ratio.max(kept);
        if shape.is_measured {
            lookup = lookup.max(us);
        }
    }
    print("data.lookup.us", lookup, "us");
    print("data.memory.ratio", ratio, "times");
    Ok(())
}

/// A text of this shape, and how many items it has.
fn text(shape: &Shape) -> Result<(String, usize)> {
    let [first, last] = shape.around;
    let mut text = String::with_capacity(TEXT_BYTES + (1 << 16));
    text.push(first);
    let mut items = 0;
    while text.len() < TEXT_BYTES {
        let comma = if items == 0 { "" } else { "," };
        write!(text, "{comma}{}", (shape.item)(items))?;
        items += 1;
    }
    text.push(last);
    text.shrink_to_fit();
    Ok((text, items))
}

/// Names in no order.
fn key(n: usize) -> String {
    format!("user-{:07}", n * 7_919 % 10_000_019)
}

/// The median of the seconds that a look-up takes, in the turn where it is the lowest.
fn lookups(document: &Document, shape: &Shape, items: usize) -> Result<f64> {
    let mut lowest = f64::MAX;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..TURNS {
        let mut pointers: Vec<Pointer> = Vec::with_capacity(LOOKUPS);
        for _ in 0..LOOKUPS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            pointers.push((shape.pointer)((random % items as u64) as usize).parse()?);
        }
        let mut seconds = Vec::with_capacity(LOOKUPS);
        for pointer in &pointers {
            let started = Instant::now();
            let is_there = black_box(document.read(black_box(pointer))).is_some();
            seconds.push(started.elapsed().as_secs_f64());
            if !is_there {
                return Err(format!("nothing is at {pointer} of {}", shape.name).into());
            }
        }
        seconds.sort_by(f64::total_cmp);
        lowest = lowest.min(seconds.get(LOOKUPS / 2).copied().unwrap_or(f64::MAX));
    }
    Ok(lowest)
}

fn print(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name": "{name}", "value": {value:.4}, "unit": "{unit}"}}"#);
}
