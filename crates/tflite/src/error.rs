//! What this crate refuses, in words.

use std::path::{Path, PathBuf};

use mobileight_runtime::{Exceeded, Missing};

/// Why a file could not be read as a graph.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read, or is nothing that could be a model.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said, or what is wrong with the file.
        reason: String,
    },
    /// A compiled model could not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file of labels cannot be used for a model.
    #[error("labels {}: {reason}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was read, but its content was refused.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        error: Box<Error>,
    },
    /// The bytes do not carry the identifier of a `.tflite` file.
    #[error("not a .tflite file: bytes 4 to 7 should be `TFL3`; {}", describe_beginning(.found))]
    NotTflite {
        /// The first bytes, at most 24.
        found: Vec<u8>,
    },
    /// The flatbuffer that the file consists of is damaged.
    #[error("damaged .tflite file: {0}")]
    Malformed(String),
    /// The file is written in another version of the schema.
    #[error(
        "schema version {found}, expected 3; convert the model again with a current TensorFlow"
    )]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// A tensor is not well formed, or of a kind that no operator here takes.
    #[error("tensor {index} `{name}`: {reason}")]
    Tensor {
        /// The tensor's index in the file.
        index: usize,
        /// Its name.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// An operator is not well formed.
    #[error("operator {index} {operator}: {reason}")]
    Operator {
        /// The operator's position in the file.
        index: usize,
        /// TFLite's name of the operator, or the name of a custom one.
        operator: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// The file needs what this version lacks: everything that is missing, in one go.
    #[error("{}", mobileight_runtime::Error::Unsupported(.0.clone()))]
    Unsupported(Vec<Missing>),
    /// The parts of the file are sound, but do not make a graph.
    #[error(transparent)]
    Graph(#[from] mobileight_runtime::Error),
    /// tract refused a model.
    #[error("tract: {0}")]
    Tract(String),
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        mobileight_runtime::Error::from(exceeded).into()
    }
}

impl Error {
    /// The error with the file that it was found in.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        Error::File { path: path.into(), error: Box::new(self) }
    }

    /// The error without the file that it was found in.
    ///
    /// [`read_file`](crate::read_file) wraps what [`read`](crate::read) says in [`Error::File`]; match on this to treat both alike.
    pub fn in_content(&self) -> &Error {
        match self {
            Error::File { error, .. } => error.in_content(),
            other => other,
        }
    }
}

/// Why a tensor or an operator is refused, before its place in the file is added.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The file is wrong.
    Invalid(String),
    /// The file may be right, but asks for something that is missing here.
    Unsupported(String),
}

/// Shorthand for a [`Refusal::Invalid`].
pub(crate) fn invalid<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Invalid(reason.into()))
}

/// Shorthand for a [`Refusal::Unsupported`].
pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unsupported(reason.into()))
}

/// What a file without the identifier looks like.
fn describe_beginning(bytes: &[u8]) -> String {
    const KNOWN: [(&[u8], &str); 7] = [
        (b"MOB8", "this is a compiled model already"),
        (b"PK\x03\x04", "this is a zip archive: unpack it first"),
        (b"\x1f\x8b", "this is gzip: unpack it first"),
        (b"version https://git-lfs", "this is a Git LFS pointer: fetch the file it stands for"),
        (b"<", "this is a web page or XML: the download went wrong"),
        (b"\x89HDF", "this is a Keras HDF5 file: convert it to .tflite first"),
        (b"\x08", "this may be an ONNX or TensorFlow file: convert it to .tflite first"),
    ];
    let beginning = &bytes[..bytes.len().min(8)];
    match KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        _ if bytes.is_empty() => "there are no bytes at all".into(),
        Some((_, what)) => format!("found {}; {what}", beginning.escape_ascii()),
        None => format!("the first bytes are `{}`", beginning.escape_ascii()),
    }
}
