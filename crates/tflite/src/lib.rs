//! Reads `.tflite` files into [`Graph`]s, through the schema of tract.
//!
//! The flatbuffer verifier runs first; then every version, index, shape, option, buffer length, scale and zero point is checked
//! before use. Constants stay where they are in the file's bytes. Operands that are parameters (axes, shapes, sizes, paddings)
//! are resolved into [`OperatorKind`](mobileight_runtime::OperatorKind).
//!
//! Float files are read as well; what refuses them is planning.

mod constants;
mod error;
mod metadata;
mod model;
mod operators;
mod typed;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use mobileight_runtime::Graph;

pub use error::Error;
/// The tract whose models [`to_tract`] makes.
pub use tract_core;
pub use typed::{plan_to_tract, to_tract};

/// Files larger than this, 1 GiB, are refused: the largest MobileNet takes 21 MB.
const MAXIMUM_FILE: u64 = 1 << 30;

/// Reads the bytes of a `.tflite` file: its first subgraph, and its metadata as far as they can be read.
///
/// The graph keeps the bytes and its constants are parts of them.
///
/// # Errors
///
/// Says what is wrong, down to the tensor or operator. What is merely not supported is listed completely in
/// [`Error::Unsupported`].
pub fn read(bytes: Vec<u8>) -> Result<Graph, Error> {
    let bytes = Arc::new(bytes);
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
    let bytes = file_bytes(path, MAXIMUM_FILE)
        .map_err(|error| Error::Io { path: path.into(), reason: error.to_string() })?;
    read(bytes).map_err(|error| Error::File { path: path.into(), error: Box::new(error) })
}

fn file_bytes(path: &Path, maximum: u64) -> io::Result<Vec<u8>> {
    let refuse = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    // Asked before opening: opening a pipe would wait for its writer.
    let found = std::fs::metadata(path)?;
    if found.is_dir() {
        return refuse("is a directory; give the .tflite file in it".into());
    }
    if !found.is_file() {
        return refuse("is not a regular file".into());
    }
    if found.len() > maximum {
        return refuse(format!("has {} bytes, at most {maximum} are read", found.len()));
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    // The file may grow while it is read.
    File::open(path)?.take(maximum + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        0 => refuse("is empty".into()),
        length if length > maximum => {
            refuse(format!("has more than the {maximum} bytes that are read at most"))
        }
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_are_refused_before_they_are_read() {
        let path = std::env::temp_dir().join(format!("mobileight-large-{}", std::process::id()));
        std::fs::write(&path, [0; 9]).unwrap();
        assert_eq!(file_bytes(&path, 9).unwrap().len(), 9);
        let error = file_bytes(&path, 8).unwrap_err().to_string();
        assert!(error.contains("9 bytes, at most 8"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}
