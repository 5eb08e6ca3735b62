//! Renames an export, for languages whose functions cannot have the names that components want.

use anyhow::{Result, bail};
use wasm_encoder::{ExportSection, Module, RawSection};
use wasmparser::{Parser, Payload};

/// The same module with export `old` named `new`.
pub(crate) fn export(module: &[u8], old: &str, new: &str) -> Result<Vec<u8>> {
    let (mut out, mut renamed) = (Module::new(), false);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        match &payload {
            Payload::ExportSection(reader) => {
                let mut exports = ExportSection::new();
                for export in reader.clone() {
                    let export = export?;
                    renamed |= export.name == old;
                    let name = if export.name == old { new } else { export.name };
                    exports.export(name, export.kind.try_into()?, export.index);
                }
                out.section(&exports);
            }
            Payload::CodeSectionEntry(_) => {}
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
                    out.section(&RawSection { id, data: &module[range] });
                }
            }
        }
    }
    if !renamed {
        bail!("there is no export `{old}`");
    }
    Ok(out.finish())
}
