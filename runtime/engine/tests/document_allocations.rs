//! Reading a document allocates nothing but the strings whose escapes it resolves, and parsing a small one allocates
//! no more than its index and its handle. Counted by the allocator of this program.

#![allow(unsafe_code, reason = "counting allocations takes an allocator")]
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use verdict_engine::{Document, DocumentLimits, Value};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: what the caller promises is what the system's allocator asks.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `work` returns, and how many allocations it made in this thread.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.with(Cell::get);
    let result = work();
    (result, ALLOCATIONS.with(Cell::get) - before)
}

fn document() -> Document {
    let members: String = (0..100).map(|n| format!("\"name-{n}\":[{n},\"text\",{{}}],")).collect();
    let text = format!("{{{members}\"a\\u0062\":\"plain\",\"escaped\":\"\\n\",\"none\":null,\"yes\":true}}");
    Document::parse(text, &DocumentLimits::default()).unwrap()
}

#[test]
fn finding_and_reading_scalars_allocates_nothing() {
    let document = document();
    let cases = [
        ("", Value::Object(104)),
        ("/name-57", Value::Array(3)),
        ("/name-57/0", Value::Number("57")),
        ("/name-99/1", Value::Text("text".into())),
        ("/name-0/2", Value::Object(0)),
        ("/ab", Value::Text("plain".into())),
        ("/none", Value::Null),
        ("/yes", Value::Boolean(true)),
    ];
    for (pointer, value) in cases {
        let pointer = pointer.parse().unwrap();
        let (read, allocations) = counted(|| document.read(&pointer));
        assert_eq!((read, allocations), (Some(value), 0), "{pointer}");
        let (_, allocations) = counted(|| document.json(&pointer).map(str::len));
        assert_eq!(allocations, 0, "{pointer}");
    }
    for absent in ["/name-100", "/name-57/3", "/name-57/00", "/none/a", "/yes/0", "/ab/c"] {
        let pointer = absent.parse().unwrap();
        assert_eq!(counted(|| document.read(&pointer)), (None, 0), "{absent}");
    }
}

#[test]
fn only_text_with_escapes_is_copied() {
    let document = document();
    let pointer = "/escaped".parse().unwrap();
    let (read, allocations) = counted(|| document.read(&pointer));
    assert_eq!(read, Some(Value::Text("\n".into())));
    assert_eq!(allocations, 1);
}

#[test]
fn a_small_document_costs_an_index_and_a_handle() {
    let texts = [
        "null",
        r#"{"user":{"id":"u-1","roles":["clerk","admin"]},"action":"read","object":"doc:123"}"#,
        "[1,2,3,[4,[5,{\"a\":\"\\u00e9\"}]]]",
    ];
    for text in texts {
        let bytes = text.as_bytes().to_vec();
        let (document, allocations) = counted(|| Document::parse(bytes, &DocumentLimits::default()).unwrap());
        assert_eq!((document.text(), allocations), (text, 2));
        let (_, allocations) = counted(|| document.clone());
        assert_eq!(allocations, 0);
        let pointer = "".parse().unwrap();
        let (part, allocations) = counted(|| document.subdocument(&pointer));
        assert_eq!((part.unwrap().text(), allocations), (text, 1));
    }
}
