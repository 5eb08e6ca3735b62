//! Makes components of what the compilers of other languages write. One subcommand each:
//!
//! `bindings c|go WIT WORLD FOLDER`, `component WIT WORLD CORE OUT`, `preinit CORE OUT FUNCTION`,
//! `rename CORE OUT OLD NEW` (an export).

mod preinit;
mod rename;
mod segments;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

const ADAPTER: &str = include_str!("../wasi_snapshot_preview1.wat");

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["bindings", language, wit, world, folder] => bindings(language, wit, world, folder.as_ref()),
        ["component", wit, world, core, out] => component(wit, world, core, out),
        ["preinit", core, out, function] => {
            let core = fs::read(core).with_context(|| format!("cannot read `{core}`"))?;
            Ok(fs::write(out, segments::merged(&preinit::initialised(&core, function)?)?)?)
        }
        ["rename", core, out, old, new] => Ok(fs::write(out, rename::export(&fs::read(core)?, old, new)?)?),
        _ => bail!(
            "use: bindings c|go WIT WORLD FOLDER | component WIT WORLD CORE OUT | preinit CORE OUT FUNCTION | rename CORE OUT OLD NEW"
        ),
    }
}

fn world(wit: &str, world: &str) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    Ok((resolve, world))
}

fn bindings(language: &str, wit: &str, name: &str, folder: &Path) -> Result<()> {
    let (mut resolve, world) = world(wit, name)?;
    let mut generator: Box<dyn WorldGenerator> = match language {
        "c" => wit_bindgen_c::Opts::default().build(),
        "go" => wit_bindgen_go::Opts::default().build(),
        _ => bail!("there are no bindings for `{language}`"),
    };
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    for (name, contents) in files.iter() {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, contents)?;
    }
    Ok(())
}

/// The functions of WASI's first preview that the module imports are satisfied from inside: the component has no
/// imports but the contract's.
fn component(wit: &str, name: &str, core: &str, out: &str) -> Result<()> {
    let mut module = fs::read(core).with_context(|| format!("cannot read `{core}`"))?;
    if !has_world(&module)? {
        let (resolve, world) = world(wit, name)?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    }
    let adapter = wat::parse_str(ADAPTER)?;
    let component = ComponentEncoder::default()
        .module(&module)?
        .validate(true)
        .adapter("wasi_snapshot_preview1", &adapter)?
        .encode()?;
    Ok(fs::write(out, component)?)
}

fn has_world(module: &[u8]) -> Result<bool> {
    for payload in Parser::new(0).parse_all(module) {
        if matches!(payload?, Payload::CustomSection(section) if section.name().starts_with("component-type"))
        {
            return Ok(true);
        }
    }
    Ok(false)
}
