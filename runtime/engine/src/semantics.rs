//! What answers and fuel depend on besides component, query, data, time and limits: one number for all of it.
//!
//! Nothing in this file may change under the same number. The fuel of a recorded decision must come out again. What the
//! prices are for, and what they bound, is in `FUEL.md`; `benches/fuel` measures the guests that they are made against.

use wasmtime::OperatorCost;

/// The number of the rules that answers and fuel depend on: contract, instrumentation (putting globals back burns fuel),
/// fuel schedule, price list of host calls, and Wasm features. A record names it.
pub const SEMANTICS: u32 = 2;

/// What a call from the policy to the host costs, in fuel. A price depends on arguments and result only, so that it
/// is the same on every machine; it is paid before the result is made.
pub(crate) mod price {
    /// Any call.
    pub(crate) const CALL: u64 = 300;
    /// One pointer that is looked up, of one or of many.
    pub(crate) const LOOKUP: u64 = 150;
    /// One token of a pointer: it is searched for among the members of an object, in memory that no cache may hold.
    pub(crate) const TOKEN: u64 = 480;
    /// One byte of a pointer: it may be compared as often as an object's members can be halved.
    pub(crate) const POINTER_BYTE: u64 = 6;
    /// One member name that is handed out.
    pub(crate) const NAME: u64 = 100;
    /// One byte that is handed out or written to the log: it may come from an escape of twelve bytes.
    pub(crate) const BYTE: u64 = 6;
}

/// Prices the operators that are not one unit, which is what wasmtime takes (and nothing for what makes no code).
macro_rules! schedule {
    ($($price:literal: $($operator:ident)*;)* variable $($unit:ident: $unit_price:literal;)*) => {
        /// The operators that are not one unit, and what is paid besides for each page, byte and element, as wasmtime
        /// names them.
        #[cfg(test)]
        const PRICES: &[(u8, &[&str])] = &[
            $(($price, &[$(stringify!($operator)),*]),)* $(($unit_price, &[stringify!($unit)]),)*
        ];

        /// The fuel schedule: a unit is at most one and a half nanoseconds.
        pub(crate) fn operator_cost() -> OperatorCost {
            let mut cost = OperatorCost { $($($operator: $price,)*)* ..OperatorCost::new() };
            $(cost.variable.$unit = $unit_price;)*
            cost
        }
    };
}

schedule! {
    // Waits for memory, if the guest sees to it that no near cache has the address.
    64: I32Load I32Load8S I32Load8U I32Load16S I32Load16U
        I64Load I64Load8S I64Load8U I64Load16S I64Load16U I64Load32S I64Load32U F32Load F64Load
        V128Load V128Load8x8S V128Load8x8U V128Load16x4S V128Load16x4U V128Load32x2S V128Load32x2U V128Load8Splat
        V128Load16Splat V128Load32Splat V128Load64Splat V128Load32Zero V128Load64Zero V128Load8Lane V128Load16Lane
        V128Load32Lane V128Load64Lane;
    // Nothing waits for it, but the line of the cache has to be fetched and written back.
    10: I32Store I32Store8 I32Store16 I64Store I64Store8 I64Store16 I64Store32 F32Store F64Store V128Store
        V128Store8Lane V128Store16Lane V128Store32Lane V128Store64Lane;
    // Make much machine code, which is slow when it is run for the first time, or mispredicted.
    6: Call ReturnCall;
    13: Loop;
    14: BrTable;
    16: CallIndirect ReturnCallIndirect;
    // Divides.
    6: I32DivS I32DivU I32RemS I32RemU I64DivS I64DivU I64RemS I64RemU;
    // Takes ten times as long with denormal numbers.
    38: F32Mul F32Div F32Sqrt F64Mul F64Div F64Sqrt F32x4Mul F32x4Div F32x4Sqrt F64x2Mul F64x2Div F64x2Sqrt
        F32x4RelaxedMadd F32x4RelaxedNmadd F64x2RelaxedMadd F64x2RelaxedNmadd;
    // Is followed by the check that makes one NaN of all, or takes several instructions.
    2: F32Add F32Sub F64Add F64Sub F32x4Add F32x4Sub F64x2Add F64x2Sub;
    2: Br BrIf If I64Const;
    3: GlobalSet;
    4: I32Clz I32Ctz I64Clz I64Ctz;
    12: F32Ceil F32Floor F32Trunc F32Nearest F32Min F32Max F64Ceil F64Floor F64Trunc F64Nearest F64Min F64Max
        F32x4Ceil F32x4Floor F32x4Trunc F32x4Nearest F32x4Min F32x4Max F32x4PMin F32x4PMax F32x4RelaxedMin F32x4RelaxedMax
        F64x2Ceil F64x2Floor F64x2Trunc F64x2Nearest F64x2Min F64x2Max F64x2PMin F64x2PMax F64x2RelaxedMin F64x2RelaxedMax
        F32DemoteF64 F64PromoteF32 F32x4DemoteF64x2Zero F64x2PromoteLowF32x4 F32ConvertI32S F32ConvertI32U
        F64ConvertI32S F64ConvertI32U F32x4ConvertI32x4S F32x4ConvertI32x4U F64x2ConvertLowI32x4S F64x2ConvertLowI32x4U
        I32x4TruncSatF32x4S I32x4TruncSatF32x4U I32x4TruncSatF64x2SZero I32x4TruncSatF64x2UZero I32x4RelaxedTruncF32x4S
        I32x4RelaxedTruncF32x4U I32x4RelaxedTruncF64x2SZero I32x4RelaxedTruncF64x2UZero;
    // Makes a hundred bytes of machine code and more.
    30: F32ConvertI64S F32ConvertI64U F64ConvertI64S F64ConvertI64U I32TruncF32S I32TruncF32U I32TruncF64S
        I32TruncF64U I64TruncF32S I64TruncF32U I64TruncF64S I64TruncF64U I32TruncSatF32S I32TruncSatF32U
        I32TruncSatF64S I32TruncSatF64U I64TruncSatF32S I64TruncSatF32U I64TruncSatF64S I64TruncSatF64U;
    // Vectors for which the processor has no one instruction, or a slow one.
    18: I8x16Shl I8x16ShrS I8x16ShrU I64x2ShrS;
    6: I8x16Popcnt I8x16Swizzle I8x16RelaxedSwizzle I8x16Shuffle V128Const
        I32x4Mul I64x2Mul I32x4DotI16x8S I16x8ExtMulLowI8x16S I16x8ExtMulHighI8x16S I16x8ExtMulLowI8x16U
        I16x8ExtMulHighI8x16U I32x4ExtMulLowI16x8S I32x4ExtMulHighI16x8S I32x4ExtMulLowI16x8U I32x4ExtMulHighI16x8U
        I64x2ExtMulLowI32x4S I64x2ExtMulHighI32x4S I64x2ExtMulLowI32x4U I64x2ExtMulHighI32x4U I16x8ExtAddPairwiseI8x16S
        I16x8ExtAddPairwiseI8x16U I32x4ExtAddPairwiseI16x8S I32x4ExtAddPairwiseI16x8U I16x8RelaxedDotI8x16I7x16S
        I32x4RelaxedDotI8x16I7x16AddS I16x8Q15MulrSatS I16x8RelaxedQ15mulrS V128AnyTrue I8x16AllTrue I16x8AllTrue
        I32x4AllTrue I64x2AllTrue I8x16Bitmask I16x8Bitmask I32x4Bitmask I64x2Bitmask;
    // Calls into the runtime, and what it does once for each element or page.
    60: MemoryFill MemoryCopy MemoryInit TableFill TableCopy TableInit TableGrow;
    40: RefFunc TableGet;
    12: TableSet DataDrop ElemDrop;
    255: MemoryGrow;
    variable
    memory_grow_per_page: 255;
    memory_fill_per_byte: 1;
    memory_copy_per_byte: 1;
    memory_init_per_byte: 1;
    table_grow_per_element: 2;
    table_fill_per_element: 1;
    table_copy_per_element: 2;
    table_init_per_element: 2;
}

#[cfg(test)]
mod tests {
    use super::{PRICES, price};

    const PAGE: &str = include_str!("../FUEL.md");

    /// What stands between two marks of the page.
    fn section(name: &str) -> &'static str {
        let (_, rest) = PAGE.split_once(&format!("<!-- {name} -->\n")).unwrap();
        rest.split_once(&format!("<!-- end of {name} -->")).unwrap().0
    }

    #[test]
    fn the_page_for_auditors_lists_every_price_of_an_operator() {
        let rows =
            PRICES.iter().map(|(price, operators)| format!("| {price} | {} |\n", operators.join(", ")));
        let table = format!("| fuel | operators |\n| ---: | --- |\n{}", rows.collect::<String>());
        assert_eq!(section("prices"), table);
    }

    #[test]
    fn the_page_for_auditors_lists_every_price_of_a_call() {
        let rows = [
            (price::CALL, "any call"),
            (price::LOOKUP, "each pointer that is looked up"),
            (price::TOKEN, "each `/` in it"),
            (price::POINTER_BYTE, "each byte of it"),
            (price::NAME, "each member name that is handed out"),
            (price::BYTE, "each byte that is handed out (of texts, numbers, names, source) or logged"),
        ];
        let rows = rows.map(|(price, what)| format!("| {price} | {what} |\n")).concat();
        assert_eq!(section("calls"), format!("| fuel | for |\n| ---: | --- |\n{rows}"));
    }
}
