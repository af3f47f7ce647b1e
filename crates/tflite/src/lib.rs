//! Reads `.tflite` files into [`Graph`]s, through the schema of tract.
//!
//! The flatbuffer verifier runs first; then every version, index, shape, option, buffer length, scale and zero point is checked
//! before use. Constants stay where they are in the file's bytes. Operands that are parameters (axes, shapes, sizes, paddings)
//! are resolved into [`OperatorKind`](mobileight_runtime::OperatorKind).
//!
//! Float files are read as well; what refuses them is planning.

mod compile;
mod constants;
mod error;
mod metadata;
mod model;
mod operators;
mod typed;

use std::path::Path;

use mobileight_runtime::{Graph, Limit, Limits, Metadata, ModelBytes};

pub use compile::{compile, compile_within};
pub use error::Error;
/// The tract whose models [`to_tract`] makes.
pub use tract_core;
pub use typed::{plan_to_tract, to_tract};

/// Reads the bytes of a `.tflite` file within the default limits; see [`read_within`].
///
/// # Errors
///
/// Those of [`read_within`].
pub fn read(bytes: impl Into<ModelBytes>) -> Result<Graph, Error> {
    read_within(bytes, &Limits::default())
}

/// Reads the bytes of a `.tflite` file: its first subgraph, and its metadata as far as they can be read.
///
/// The graph keeps the bytes and its constants are parts of them.
///
/// # Errors
///
/// [`Error::Graph`] around a [limit](mobileight_runtime::Error::Limit) for more bytes, tensors, operators or labels than
/// allowed. Else says what is wrong, down to the tensor or operator. What is merely not supported is listed completely in
/// [`Error::Unsupported`].
pub fn read_within(bytes: impl Into<ModelBytes>, limits: &Limits) -> Result<Graph, Error> {
    let bytes = bytes.into();
    limits.check(Limit::ModelBytes, bytes.len() as u64)?;
    let source = model::Source::open(&bytes, limits)?;
    let tensors = source.tensors()?;
    let operators = operators::read(&source, &tensors)?;
    let tensors = tensors.into_iter().collect::<Result<_, _>>().map_err(Error::from)?;
    let [inputs, outputs] = [source.inputs()?, source.outputs()?];
    let mut metadata = match source.metadata() {
        Some(part) => metadata::read(part, &bytes, limits)?,
        None => Metadata::default(),
    };
    metadata.description = metadata.description.or(source.description().map(Into::into));
    let graph = Graph::new(tensors, operators, inputs, outputs, metadata)?;
    // The lists of inputs and outputs are left.
    graph.check_limits(limits)?;
    Ok(graph)
}

/// Reads a `.tflite` file within the default limits; see [`read_file_within`].
///
/// # Errors
///
/// Those of [`read_file_within`].
pub fn read_file(path: impl AsRef<Path>) -> Result<Graph, Error> {
    read_file_within(path, &Limits::default())
}

/// Reads a `.tflite` file; see [`read_within`].
///
/// # Errors
///
/// [`Error::Io`] when the file cannot be read, is a directory or is empty; [`Error::File`] around what [`read_within`] says about its
/// content and size.
pub fn read_file_within(path: impl AsRef<Path>, limits: &Limits) -> Result<Graph, Error> {
    let path = path.as_ref();
    let bytes = mobileight_files::read(path, Limit::ModelBytes, limits, ".tflite");
    let bytes = bytes.map_err(|error| match error {
        mobileight_files::Error::TooLarge(exceeded) => Error::from(exceeded).in_file(path),
        error => Error::Io { path: path.into(), reason: error.to_string() },
    })?;
    read_within(bytes, limits).map_err(|error| error.in_file(path))
}
