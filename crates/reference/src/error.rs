//! What this crate refuses, in words.

/// Why a graph cannot be computed in FP32, or a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph does not fit the given shapes.
    #[error(transparent)]
    Graph(#[from] mobileight_runtime::Error),
    /// A constant that this path cannot turn into real values.
    #[error("tensor {index} `{name}`: {reason}")]
    Constant {
        /// The tensor's index in the file.
        index: usize,
        /// Its name.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// An operator that tract refuses.
    #[error("operator {index} {operator}: {reason}")]
    Operator {
        /// The operator's position in the file.
        index: usize,
        /// TFLite's name of the operator.
        operator: &'static str,
        /// What tract says.
        reason: String,
    },
    /// tract refuses the network as a whole, or fails in a run.
    #[error("FP32 reference: {0}")]
    Tract(String),
    /// The wrong number of inputs was given.
    #[error("the model has {expected} inputs, {found} were given")]
    InputCount {
        /// Inputs of the model.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input of another shape or element type.
    #[error(
        "input {input} `{name}` takes float32 elements of shape {expected:?}, {element_type} of shape {found:?} was given"
    )]
    Input {
        /// Which input.
        input: usize,
        /// Its tensor's name.
        name: String,
        /// The shape expected.
        expected: Vec<usize>,
        /// The element type given.
        element_type: &'static str,
        /// The shape given.
        found: Vec<usize>,
    },
    /// A tensor holds NaN or infinity.
    #[error(
        "tensor {index} `{name}`: element {element} is {value}; the model, its weights or its input is broken, and no accuracy can be told from it"
    )]
    NotFinite {
        /// The tensor's index in the file.
        index: usize,
        /// Its name.
        name: String,
        /// The first such element.
        element: usize,
        /// Its value.
        value: f32,
    },
}
