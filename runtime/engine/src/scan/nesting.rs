//! How deep the types of a component are nested. Whoever reads or validates them recurses, a stack frame and three bytes
//! a level, so that a small component could end the process.

use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentAlias, ComponentExternName, ComponentImport, ComponentType,
    ComponentTypeRef, ComponentTypeSectionReader, CoreType,
};

/// The deepest nesting: of instance and component types in each other.
const DEPTH_MAX: usize = 32;

/// The first bytes of the types that hold declarations.
const COMPONENT: u8 = 0x41;
const INSTANCE: u8 = 0x42;

/// Whether no type of a section is nested too deep to be read. A section that cannot be read to its end is bounded as far
/// as it can be.
pub(super) fn is_bounded(component: &[u8], section: &ComponentTypeSectionReader<'_>) -> bool {
    let range = section.original_position()..section.range().end;
    let Some(bytes) = component.get(range) else { return false };
    let types = Types { reader: BinaryReader::new(bytes, 0), left: vec![section.count()] };
    types.walk().unwrap_or(true)
}

/// A walk with a stack of its own.
struct Types<'a> {
    reader: BinaryReader<'a>,
    /// How many items are left to read: of the section, of the type in it, and so on inwards.
    left: Vec<u32>,
}

impl Types<'_> {
    fn walk(mut self) -> Result<bool, BinaryReaderError> {
        while let Some(left) = self.left.last_mut() {
            if *left == 0 {
                self.left.pop();
                continue;
            }
            *left -= 1;
            if self.left.len() > 1 {
                self.declaration()?
            } else {
                self.ty()?
            }
            if self.left.len() > DEPTH_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ty(&mut self) -> Result<(), BinaryReaderError> {
        match self.reader.clone().read_u8()? {
            COMPONENT | INSTANCE => {
                self.reader.read_u8()?;
                self.left.push(self.reader.read_var_u32()?);
            }
            _ => _ = self.reader.read::<ComponentType<'_>>()?,
        }
        Ok(())
    }

    fn declaration(&mut self) -> Result<(), BinaryReaderError> {
        match self.reader.read_u8()? {
            0 => _ = self.reader.read::<CoreType<'_>>()?,
            1 => self.ty()?,
            2 => _ = self.reader.read::<ComponentAlias<'_>>()?,
            3 => _ = self.reader.read::<ComponentImport<'_>>()?,
            4 => {
                self.reader.read::<ComponentExternName<'_>>()?;
                self.reader.read::<ComponentTypeRef>()?;
            }
            // Nobody reads on from here.
            _ => self.left.clear(),
        }
        Ok(())
    }
}
