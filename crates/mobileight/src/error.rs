//! What this crate refuses.

use std::path::{Path, PathBuf};

use mobileight_runtime::Exceeded;

/// Why a model could not be opened or an image not be classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model file could not be read, or is nothing that could be a model.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said, or what is wrong with the file.
        reason: String,
    },
    /// A file's content was refused, or its size.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        error: Box<Error>,
    },
    /// The bytes are a `.tflite` file, and the program is built without the feature `tract`.
    #[error(
        "this is a .tflite file, and this program is built without tract and reads compiled models (.mb8); compile it once with the full build: mobileight compile MODEL.tflite -o model.mb8"
    )]
    NeedsTract,
    /// The bytes are no `.tflite` file that can be used.
    #[cfg(feature = "tract")]
    #[error(transparent)]
    Load(#[from] mobileight_tflite::Error),
    /// A compiled model could not be read, or the graph not be planned or run.
    #[error(transparent)]
    Run(#[from] mobileight_runtime::Error),
    /// The FP32 reference could not be built or run.
    #[cfg(feature = "tract")]
    #[error(transparent)]
    Reference(#[from] mobileight_reference::Error),
    /// Figures could not be computed or a report not be written.
    #[cfg(feature = "tract")]
    #[error(transparent)]
    Compare(#[from] mobileight_compare::Error),
    /// The image could not be decoded or prepared.
    #[error(transparent)]
    Image(#[from] mobileight_preprocess::Error),
    /// The model's output is no row of scores.
    #[error(
        "output `{name}` has shape {shape:?} of {element_type}, a classifier's is [batch, classes] of uint8, int8 or float32; use `Model` and `Session` for other networks"
    )]
    NotAClassifier {
        /// The output's name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its element type.
        element_type: mobileight_runtime::ElementType,
    },
    /// A file of labels could not be read.
    #[error("labels {}: {reason}", path.display())]
    LabelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder of images cannot be used.
    #[error("folder {} {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A table of labels cannot be used.
    #[error("labels {}: {reason}", path.display())]
    LabelTable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Two models cannot be compared.
    #[error("{first} and {second} cannot be compared: {reason}")]
    NotAPair {
        /// The INT8 model.
        first: String,
        /// The reference.
        second: String,
        /// What does not fit.
        reason: String,
    },
    /// One of several models failed.
    #[error("model {file}: {error}")]
    InModel {
        /// Its file.
        file: String,
        /// How it failed.
        error: Box<Error>,
    },
    /// No image could be evaluated.
    #[error("none of the {count} images could be evaluated; the first, {file}: {reason}")]
    NothingEvaluated {
        /// Images tried.
        count: usize,
        /// The first one.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There are not as many labels as classes.
    #[error("{found} labels for a model of {classes} classes{}", explain(*found, *classes))]
    LabelCount {
        /// Labels given.
        found: usize,
        /// Classes of the model.
        classes: usize,
    },
    /// A class in an allow or deny list does not exist.
    #[error(
        "no class {0:?}: give an index below the number of classes, or a label as it is written in the label file"
    )]
    NoSuchClass(String),
}

impl Error {
    /// The error with the file that it was found in.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        Error::InFile { path: path.into(), error: Box::new(self) }
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        mobileight_runtime::Error::from(exceeded).into()
    }
}

fn explain(found: usize, classes: usize) -> &'static str {
    match (found, classes) {
        (1000, 1001) => {
            ": TensorFlow's ImageNet models have 1001 classes, class 0 is \"background\"; use the list that begins with it, else every name is off by one"
        }
        (1001, 1000) => {
            ": this model has the 1000 ImageNet classes without \"background\"; use the list that begins with \"tench\", else every name is off by one"
        }
        _ => "; one label a line is expected, in order of the class index",
    }
}
