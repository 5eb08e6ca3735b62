//! From a core module to the component that is signed.

use wasm_encoder::{ComponentSectionId, Encode as _, RawSection, Section as _};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use crate::error::{Error, Problem};

/// Makes a component of a core module that was built against the contract, without names, producers and other custom
/// sections: they say how it was built, cost bytes, and differ between machines.
///
/// # Errors
/// When the module is not one that was built against the contract.
pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>, Error> {
    let encoded =
        ComponentEncoder::default().validate(true).module(module).and_then(|mut encoder| encoder.encode());
    let component = encoded.map_err(|error| {
        let message = format!("the module cannot be made a component: {error:#}");
        let help = "a policy exports the contract's `decision`; in Rust, `verdict_sdk::policy!` does that";
        Error::Refused(Problem::new("malformed-component", message).help(help))
    })?;
    strip(&component).map_err(|error| {
        Error::Machine(Problem::new("malformed-component", format!("the component cannot be read: {error}")))
    })
}

/// Removes the custom sections of a component and of everything inside it.
fn strip(component: &[u8]) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    let mut output = Vec::with_capacity(component.len());
    let mut outer = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { range, .. } => output.extend_from_slice(slice(component, range)),
            Payload::ModuleSection { .. } => {
                outer.push((std::mem::take(&mut output), ComponentSectionId::CoreModule))
            }
            Payload::ComponentSection { .. } => {
                outer.push((std::mem::take(&mut output), ComponentSectionId::Component));
            }
            Payload::End(_) => {
                // The end of the outermost has no parent, and is the end of all.
                if let Some((mut parent, id)) = outer.pop() {
                    parent.push(id.into());
                    output.encode(&mut parent);
                    output = parent;
                }
            }
            Payload::CustomSection(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    RawSection { id, data: slice(component, range) }.append_to(&mut output);
                }
            }
        }
    }
    Ok(output)
}

fn slice(bytes: &[u8], range: std::ops::Range<usize>) -> &[u8] {
    bytes.get(range).unwrap_or_default()
}
