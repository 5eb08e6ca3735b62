//! That memory which has grown is new to the next instance, whether its pages go with those of others or alone.

use super::*;

/// A guest whose memory grows by 17 pages of 64 KiB. It writes to one word in each page of the machine, after it has
/// read it if `reads_first`, reads the word beside it, and denies if anything was there.
fn grower(reads_first: bool) -> Vec<u8> {
    let read = "(if (i32.load (local.get $at)) (then (return (call $answer (i32.const 8) (i32.const 5)))))";
    crate::support::guest(
        r#"(memory (export "memory") 1) (data (i32.const 8) "false")"#,
        &r#"(local $at i32) (local $end i32)
        (local.set $at (i32.shl (memory.grow (i32.const 17)) (i32.const 16)))
        (local.set $end (i32.shl (memory.size) (i32.const 16)))
        (loop $l
          READ
          (i32.store (local.get $at) (i32.const 7))
          (if (i32.load offset=4 (local.get $at)) (then (return (call $answer (i32.const 8) (i32.const 5)))))
          (i32.store offset=4 (local.get $at) (i32.const 8))
          (local.set $at (i32.add (local.get $at) (i32.const 4096)))
          (br_if $l (i32.lt_u (local.get $at) (local.get $end))))
        (call $true)"#
            .replace("READ", if reads_first { read } else { "" }),
    )
}

/// With room for instances that wait, and without.
const CONCURRENCY: [u32; 2] = [48, 6];

fn engine_for(concurrency: u32) -> Engine {
    let mut config = Config::new(Compiler::InProcess);
    config.instances = Instances::Protected;
    config.concurrency = concurrency;
    config.ceiling.wall_clock_ms = 60_000;
    Engine::new(config).unwrap()
}

fn is_as_new_each_time(component: &[u8], concurrency: u32) -> Policy {
    let expected = ask(&load(&engine(Instances::New, None), component, members()), "{}");
    let Seen::Whole(Ok(Answer { value, .. }), ..) = &expected else { panic!("{expected:?}") };
    assert_eq!(value.as_deref(), Some("true"));
    let policy = load(&engine_for(concurrency), component, members());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..400 {
                    assert_eq!(ask(&policy, "{}"), expected, "evaluation {n}, room for {concurrency}");
                }
            });
        }
    });
    policy
}

#[test]
fn memory_that_grew_and_went_together_is_new() {
    for concurrency in CONCURRENCY {
        let policy = is_as_new_each_time(&grower(false), concurrency);
        assert!(policy.instances().growth.is_to_be_seen());
        let waiting = policy.instances().engine.grown.as_ref().unwrap();
        waiting.clear();
        ask(&policy, "{}");
        let waits = concurrency >= 16;
        assert_eq!(waiting.clear(), waits, "room for {concurrency}");
        assert!(!waiting.clear());
    }
}

#[test]
fn instances_that_read_what_is_new_go_alone() {
    for concurrency in CONCURRENCY {
        let policy = is_as_new_each_time(&grower(true), concurrency);
        assert!(!policy.instances().growth.is_to_be_seen());
    }
}
