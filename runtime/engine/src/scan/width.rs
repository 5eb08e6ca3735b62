//! How many values one operator moves. Fuel is counted by operators, so one that hands over a thousand values (the
//! results of a call, the parameters of a loop) would take a thousand times as long as it pays for.

use wasmparser::{
    BlockType, CompositeInnerType, FuncToValidate, FunctionBody, Operator, WasmModuleResources,
};

/// The most results of a function, and the most parameters and results of a block.
pub(super) const VALUES_MAX: u64 = 16;

/// The most values that a return or a branch of a function moves.
pub(super) fn width<T: WasmModuleResources>(
    function: &FuncToValidate<T>,
    body: &FunctionBody<'_>,
) -> wasmparser::Result<u64> {
    let (_, mut most) = values(&function.resources, function.ty);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        if let Operator::Block { blockty: BlockType::FuncType(ty) }
        | Operator::Loop { blockty: BlockType::FuncType(ty) }
        | Operator::If { blockty: BlockType::FuncType(ty) } = operators.read()?
        {
            let (parameters, results) = values(&function.resources, ty);
            most = most.max(parameters).max(results);
        }
    }
    Ok(u64::try_from(most).unwrap_or(u64::MAX))
}

/// The parameters and results of a type. One that is not there is the validator's to refuse.
fn values(resources: &impl WasmModuleResources, ty: u32) -> (usize, usize) {
    match resources.sub_type_at(ty).map(|ty| &ty.composite_type.inner) {
        Some(CompositeInnerType::Func(ty)) => (ty.params().len(), ty.results().len()),
        _ => (0, 0),
    }
}
