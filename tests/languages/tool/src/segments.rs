//! Merges a module's data segments: an instance is made faster from a few large ones than from thousands of small ones.

use anyhow::{Result, bail};
use wasm_encoder::{ConstExpr, DataSection, Module, RawSection};
use wasmparser::{DataKind, DataSectionReader, Operator, Parser, Payload};

/// Segments that are nearer to each other than this become one.
const GAP_BYTES: usize = 4_096;

/// The same module with fewer data segments. All that are not empty must be active, in memory 0, at
/// constant offsets, and nothing may name one of them; that is what a snapshot of memory looks like.
pub(crate) fn merged(module: &[u8]) -> Result<Vec<u8>> {
    let mut out = Module::new();
    let mut segments = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        match &payload {
            Payload::DataSection(reader) => segments = merge(reader.clone())?,
            Payload::DataCountSection { .. } | Payload::CodeSectionEntry(_) => {}
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
                    out.section(&RawSection { id, data: &module[range] });
                }
            }
        }
    }
    let mut data = DataSection::new();
    for (offset, bytes) in &segments {
        data.active(0, &ConstExpr::i32_const(i32::try_from(*offset)?), bytes.iter().copied());
    }
    out.section(&data);
    Ok(out.finish())
}

fn merge(reader: DataSectionReader<'_>) -> Result<Vec<(usize, Vec<u8>)>> {
    let mut found = Vec::new();
    for segment in reader {
        let segment = segment?;
        // What is left of those that the snapshot replaced.
        if segment.data.is_empty() {
            continue;
        }
        let DataKind::Active { memory_index: 0, offset_expr } = segment.kind else {
            bail!("a data segment is not an active one of memory 0");
        };
        let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
            bail!("a data segment is not at a constant offset");
        };
        found.push((usize::try_from(value)?, segment.data));
    }
    found.sort_by_key(|(offset, _)| *offset);
    let mut merged: Vec<(usize, Vec<u8>)> = Vec::new();
    for (offset, data) in found {
        match merged.last_mut() {
            Some((start, bytes)) if offset < *start + bytes.len() + GAP_BYTES => {
                if offset < *start + bytes.len() {
                    bail!("two data segments overlap");
                }
                bytes.resize(offset - *start, 0);
                bytes.extend_from_slice(data);
            }
            _ => merged.push((offset, data.to_vec())),
        }
    }
    Ok(merged)
}
