//! What this crate refuses, in words.

use std::path::PathBuf;

/// Why figures or a report could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two things that are compared have different lengths.
    #[error(
        "{what}: the first has {first} elements, the second {second}; they must be of the same layer or network"
    )]
    Length {
        /// What was compared.
        what: &'static str,
        /// Elements of the first.
        first: usize,
        /// Elements of the second.
        second: usize,
    },
    /// There is nothing to compare.
    #[error("{0}: no elements")]
    Empty(&'static str),
    /// A value is NaN or infinite.
    #[error("{what}: element {index} is {value}; a network that gives such values is broken")]
    NotFinite {
        /// Where.
        what: &'static str,
        /// The first such element.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// Probabilities are negative or all zero.
    #[error(
        "probabilities: element {index} is {value}, and their sum {sum}; they must be at least 0, with some above"
    )]
    NotProbabilities {
        /// The first negative one.
        index: usize,
        /// Its value.
        value: f32,
        /// The sum of all.
        sum: f64,
    },
    /// A class index is not below the number of classes.
    #[error("class {index}: there are {classes} classes, from 0")]
    Class {
        /// The class.
        index: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A file of the report cannot be written.
    #[error("{path}: cannot be written: {source}; the report there before, if any, is as it was")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A report cannot be turned into text.
    #[error("{format}: {reason}")]
    Format {
        /// Which format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
}
