//! What this crate refuses, in words.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::{ElementType, Exceeded};

/// Why a graph, a plan or a run was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor of the graph is not well formed.
    #[error("tensor {index} `{name}`: {reason}")]
    InvalidTensor {
        /// The tensor's index in the file.
        index: usize,
        /// Its name.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// An operator of the graph is not well formed.
    #[error("operator {index} {operator}: {reason}")]
    InvalidOperator {
        /// The operator's position in the file.
        index: usize,
        /// TFLite's name of the operator.
        operator: &'static str,
        /// What was found and what was expected, with the tensor's name where there is one.
        reason: String,
    },
    /// The graph as a whole is not well formed.
    #[error("graph: {0}")]
    InvalidGraph(String),
    /// The graph computes in floating point.
    #[error(
        "this is a float model: its operators compute in floating point, and this runtime runs 8-bit ones; give the quantized file of the pair"
    )]
    FloatModel,
    /// The graph needs what this version cannot compute; everything that is missing, in one go.
    #[error("{} not supported: {}", .0.len(), join(.0))]
    Unsupported(Vec<Missing>),
    /// The wrong number of inputs was given.
    #[error("the model has {expected} inputs, {found} were given")]
    InputCount {
        /// Inputs of the model.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input has the wrong element type.
    #[error("input {input} `{name}` takes {expected} elements, {found} were given{}", advice(.expected, .found))]
    InputType {
        /// Which input.
        input: usize,
        /// Its tensor's name.
        name: String,
        /// The element type of the model.
        expected: ElementType,
        /// The element type given.
        found: ElementType,
    },
    /// An input has the wrong shape, or not as many elements as its shape says.
    #[error(
        "input {input} `{name}` takes shape {expected:?}, {found:?} with {elements} elements was given"
    )]
    InputShape {
        /// Which input.
        input: usize,
        /// Its tensor's name.
        name: String,
        /// The shape planned for.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
        /// The number of elements given.
        elements: usize,
    },
    /// A float input holds a value that is not finite, or far outside of the range that the model quantizes it to.
    #[error(
        "input {input} `{name}`: element {element} is {found}, the model's real values are {low} to {high}; scale the pixels to that range first"
    )]
    InputRange {
        /// Which input.
        input: usize,
        /// Its tensor's name.
        name: String,
        /// Position of the first such element.
        element: usize,
        /// Its value.
        found: f32,
        /// The smallest real value that the quantized input represents.
        low: f32,
        /// The largest.
        high: f32,
    },
    /// Something is over one of the [`Limits`](crate::Limits).
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// An instruction set was asked for that there is not, or not on this CPU.
    #[error("instruction set `{name}`: {reason}")]
    InstructionSet {
        /// What was asked for.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The bytes do not begin as a compiled model does.
    #[error(
        "not a compiled model: it should begin with `MOB8` and begins with `{}`; make one with `mobileight compile MODEL.tflite -o model.mb8`",
        .found.escape_ascii()
    )]
    NotCompiled {
        /// The first bytes, at most eight.
        found: Vec<u8>,
    },
    /// The compiled model is of another version of the format.
    #[error(
        "compiled model of format version {found}, this program reads version {known}; {}",
        if found > known { "use a newer MobilEight, or compile the .tflite file with this one" } else { "compile the .tflite file again" }
    )]
    CompiledVersion {
        /// The version of the file.
        found: u32,
        /// The version that is read.
        known: u32,
    },
    /// A compiled model is shorter or longer than it says.
    #[error("compiled model of {expected} bytes, but there are {found}; copy the file again")]
    CompiledIncomplete {
        /// Bytes that there are.
        found: u64,
        /// Bytes that there should be; of the header alone when that is not whole.
        expected: u64,
    },
    /// The checksum of a compiled model is not that of its bytes.
    #[error(
        "damaged compiled model: its bytes have the checksum {found:08x}, it says {expected:08x}; copy the file again"
    )]
    CompiledChecksum {
        /// The CRC-32 of the bytes.
        found: u32,
        /// The one in the header.
        expected: u32,
    },
    /// A compiled model is whole, but not well formed.
    #[error("compiled model, byte {at}, {place}: {reason}; compile the .tflite file again")]
    InvalidCompiled {
        /// Where in the file.
        at: usize,
        /// The way to the field: `operators[3].kind.padding`.
        place: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// No tensor has this name or index.
    #[error("no tensor `{0}` in the graph")]
    NoSuchTensor(String),
    /// A tensor's value was asked for but the plan did not keep it, or nothing ran yet.
    #[error("tensor {index} `{name}` holds no value: {reason}")]
    NotKept {
        /// The tensor's index in the file.
        index: usize,
        /// Its name.
        name: String,
        /// Why.
        reason: &'static str,
    },
}

/// One thing that a graph needs and this version lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The operator's position in the file.
    pub operator_index: usize,
    /// TFLite's name of the operator, or the name of a custom one.
    pub operator: String,
    /// What is missing.
    pub reason: String,
}

fn join(missing: &[Missing]) -> String {
    let lines: Vec<String> = missing
        .iter()
        .map(|m| format!("operator {} {}: {}", m.operator_index, m.operator, m.reason))
        .collect();
    lines.join("; ")
}

fn advice(expected: &ElementType, found: &ElementType) -> &'static str {
    match (expected, found) {
        (ElementType::U8 | ElementType::I8, ElementType::F32) => {
            " (quantize first: code = round(value / scale) + zero point, with the input's own scale and zero point)"
        }
        (ElementType::U8, ElementType::I8) | (ElementType::I8, ElementType::U8) => {
            " (a cast keeps the bits and changes the values; code + 128 or code - 128 keeps the values)"
        }
        _ => "",
    }
}
