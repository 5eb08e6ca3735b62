//! Small components that would take all stack or time if they were validated.

use wasm_encoder::{Component, RawSection};

use super::inspect;

const TYPES: u8 = 7;
const COMPONENT: u8 = 4;

fn component(sections: &[(u8, &[u8])]) -> Vec<u8> {
    let mut component = Component::new();
    for &(id, data) in sections {
        component.section(&RawSection { id, data });
    }
    component.finish()
}

fn refused(component: &[u8]) -> String {
    inspect(component).unwrap_err().message
}

#[test]
fn refuses_types_nested_too_deep() {
    // Types of instances, and of components, that declare a type each.
    for opening in [0x42, 0x41] {
        let nested = |depth| [vec![1], [opening, 1, 1].repeat(depth), vec![opening, 0]].concat();
        assert!(inspect(&component(&[(TYPES, &nested(30))])).is_ok());
        for depth in [32, 1_000, 1_000_000] {
            let refused = refused(&component(&[(TYPES, &nested(depth))]));
            assert_eq!(refused, "the component is malformed: its types are nested too deep");
        }
    }
}

#[test]
fn finds_nesting_behind_other_declarations() {
    // Two types, of which the second declares a core type, a type, an alias, an import and an export before the deep one.
    let before = [
        [0, 0x60, 0, 0].as_slice(),
        &[1, 0x72, 1, 1, b'a', 0x7f],
        &[2, 3, 2, 0, 0],
        &[3, 0, 1, b'i', 3, 0, 0],
        &[4, 0, 1, b'e', 3, 0, 0],
    ]
    .concat();
    let deep = [[1, 0x42, 1].repeat(40), vec![1, 0x42, 0]].concat();
    let types = [&[2, 0x73, 0x41, 6][..], &before, &deep].concat();
    let refused = refused(&component(&[(TYPES, &types)]));
    assert_eq!(refused, "the component is malformed: its types are nested too deep");
    let shallow = [&[2, 0x73, 0x41, 6][..], &before, &[1, 0x42, 0]].concat();
    inspect(&component(&[(TYPES, &shallow)])).unwrap();
}

#[test]
fn refuses_components_nested_too_deep() {
    let nested = |depth| (0..depth).fold(component(&[]), |inner, _| component(&[(COMPONENT, &inner)]));
    assert!(inspect(&nested(31)).is_ok());
    assert_eq!(refused(&nested(32)), "the component has 33 levels of nesting; at most 32");
}

#[test]
fn refuses_too_many_nested_components() {
    let many = |count| component(&vec![(COMPONENT, component(&[]).as_slice()); count]);
    assert!(inspect(&component(&[(COMPONENT, &many(999))])).is_ok());
    let refused = refused(&component(&[(COMPONENT, &many(600)), (COMPONENT, &many(600))]));
    assert_eq!(refused, "the component has 1001 nested components; at most 1000");
}
