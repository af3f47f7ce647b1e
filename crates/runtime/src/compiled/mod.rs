//! Compiled models, `.mb8`: a whole [`Graph`] as bytes that are read in place, without tract and without a C compiler.
//!
//! The format is documented in `docs/format.md`: little endian, versioned, with a checksum, the same for all instruction sets. Weights
//! are in it as the `.tflite` file has them; a [`Plan`](crate::Plan) packs them for the machine that runs.

mod fields;
mod graph;

use alloc::vec::Vec;
use fields::{Field, Input, Output, Refusal};

use crate::{Error, Graph, Limit, Limits, ModelBytes};

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 4] = b"MOB8";
/// Magic, version, checksum, length of the file, length of the structure.
const HEADER: usize = 4 + 4 + 4 + 8 + 8;
/// What the checksum covers starts behind it.
const CHECKED: usize = 12;

/// Whether bytes begin as a compiled model does.
///
/// ```
/// assert!(!mobileight_runtime::compiled::is_compiled(b"\x1c\0\0\0TFL3"));
/// ```
pub fn is_compiled(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The bytes of a compiled model; [`read`] gives an equal graph.
pub fn write(graph: &Graph) -> Vec<u8> {
    let mut out = Output::default();
    graph::Parts::from(graph).write(&mut out);
    let Output { structure, constants } = out;
    let start = aligned(HEADER + structure.len());
    let length =
        if constants.is_empty() { HEADER + structure.len() } else { start + constants.len() };
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend((length as u64).to_le_bytes());
    bytes.extend((structure.len() as u64).to_le_bytes());
    bytes.extend(structure);
    if !constants.is_empty() {
        bytes.resize(start, 0);
        bytes.extend(constants);
    }
    let checksum = crc32fast::hash(&bytes[CHECKED..]);
    bytes[8..CHECKED].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads a compiled model within the default limits; see [`read_within`].
///
/// # Errors
///
/// Those of [`read_within`].
pub fn read(bytes: impl Into<ModelBytes>) -> Result<Graph, Error> {
    read_within(bytes, &Limits::default())
}

/// Reads a compiled model. Constants stay parts of the bytes, everything else is copied: a small multiple of the file's structure.
///
/// # Errors
///
/// [`Error::Limit`] for more bytes, tensors or operators than allowed,
/// [`Error::NotCompiled`], [`Error::CompiledVersion`], [`Error::CompiledIncomplete`], [`Error::CompiledChecksum`],
/// [`Error::InvalidCompiled`] by where the reading ends, and whatever [`Graph::new`] says.
pub fn read_within(bytes: impl Into<ModelBytes>, limits: &Limits) -> Result<Graph, Error> {
    let bytes = bytes.into();
    limits.check(Limit::ModelBytes, bytes.len() as u64)?;
    if !is_compiled(&bytes) {
        return Err(Error::NotCompiled { found: bytes[..bytes.len().min(8)].to_vec() });
    }
    let incomplete =
        |expected: u64| Error::CompiledIncomplete { found: bytes.len() as u64, expected };
    let word =
        |at: usize| -> Option<u32> { Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)) };
    let long =
        |at: usize| -> Option<u64> { Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)) };
    let short = || incomplete(HEADER as u64);
    // The version first: all behind it may be otherwise in another one.
    let found = word(4).ok_or_else(short)?;
    if found != VERSION {
        return Err(Error::CompiledVersion { found, known: VERSION });
    }
    let expected = word(8).ok_or_else(short)?;
    let [length, structure] = [long(12).ok_or_else(short)?, long(20).ok_or_else(short)?];
    if length != bytes.len() as u64 {
        return Err(incomplete(length));
    }
    let found = crc32fast::hash(&bytes[CHECKED..]);
    if found != expected {
        return Err(Error::CompiledChecksum { found, expected });
    }
    let invalid = |Refusal { at, place, reason, exceeded }| match exceeded {
        Some(exceeded) => Error::Limit(exceeded),
        None => Error::InvalidCompiled { at, place, reason },
    };
    let mut input = Input::new(&bytes, limits, HEADER, structure).map_err(invalid)?;
    let parts = graph::Parts::read(&mut input).map_err(invalid)?;
    input.finish().map_err(invalid)?;
    let graph = parts.graph()?;
    // The lists of inputs and outputs are left.
    graph.check_limits(limits)?;
    Ok(graph)
}

/// The next multiple of 16, where constants may start: enough for any element.
fn aligned(position: usize) -> usize {
    position.next_multiple_of(16)
}
