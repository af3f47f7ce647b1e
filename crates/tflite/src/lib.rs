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

use mobileight_runtime::{Graph, ModelBytes};

pub use compile::compile;
pub use error::Error;
/// The tract whose models [`to_tract`] makes.
pub use tract_core;
pub use typed::{plan_to_tract, to_tract};

/// Reads the bytes of a `.tflite` file: its first subgraph, and its metadata as far as they can be read.
///
/// The graph keeps the bytes and its constants are parts of them.
///
/// # Errors
///
/// Says what is wrong, down to the tensor or operator. What is merely not supported is listed completely in
/// [`Error::Unsupported`].
pub fn read(bytes: impl Into<ModelBytes>) -> Result<Graph, Error> {
    let bytes = bytes.into();
    let source = model::Source::open(&bytes)?;
    let tensors = source.tensors()?;
    let operators = operators::read(&source, &tensors)?;
    let tensors = tensors.into_iter().collect::<Result<_, _>>().map_err(Error::from)?;
    let [inputs, outputs] = [source.inputs()?, source.outputs()?];
    let mut metadata =
        source.metadata().map(|part| metadata::read(part, &bytes)).unwrap_or_default();
    metadata.description = metadata.description.or(source.description().map(Into::into));
    Ok(Graph::new(tensors, operators, inputs, outputs, metadata)?)
}

/// Reads a `.tflite` file; see [`read`].
///
/// # Errors
///
/// [`Error::Io`] when the file cannot be read, is a directory, is empty or has more than 1 GiB; [`Error::File`] around what
/// [`read`] says about its content.
pub fn read_file(path: impl AsRef<Path>) -> Result<Graph, Error> {
    let path = path.as_ref();
    let bytes = mobileight_files::read(path, ModelBytes::MAXIMUM_FILE, ".tflite")
        .map_err(|error| Error::Io { path: path.into(), reason: error.to_string() })?;
    read(bytes).map_err(|error| Error::File { path: path.into(), error: Box::new(error) })
}
