//! What this crate refuses.

use alloc::string::String;
use alloc::vec::Vec;

use mobileight_runtime::{ElementType, Exceeded};

/// Why an image could not be read or a preprocessor not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A named file could not be read.
    #[cfg(feature = "image")]
    #[error("image {}: {error}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// The reason.
        error: Box<Error>,
    },
    /// The file system refused.
    #[cfg(feature = "image")]
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// There are no bytes.
    #[error("is empty (0 bytes)")]
    Empty,
    /// The bytes are of no format that is read.
    #[error("is of an unknown format (begins with {found}); PNG, JPEG, BMP, WebP and GIF are read")]
    UnknownFormat {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// The end of the file is missing.
    #[error(
        "is truncated: {bytes} bytes of JPEG without an end-of-image marker; copy the file again"
    )]
    Truncated {
        /// Bytes found.
        bytes: usize,
    },
    /// More pixels or bytes than allowed.
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// The decoder refused the bytes.
    #[cfg(feature = "image")]
    #[error("cannot be decoded as {format}: {error}")]
    Decode {
        /// The format that the first bytes told.
        format: String,
        /// The decoder's reason.
        error: image::ImageError,
    },
    /// The image has no pixels.
    #[error("has {width}x{height} pixels: there is nothing to resize")]
    NoPixels {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The pixels are not as many as the size says.
    #[error("{width}x{height} pixels of red, green and blue are {expected} bytes, found {found}")]
    Pixels {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes that they are.
        expected: u64,
        /// Bytes given.
        found: usize,
    },
    /// The model's input is no image.
    #[error(
        "input `{name}` has shape {shape:?}, an image's is [batch, height, width, channels] with 1 or 3 channels; make this input's tensor yourself"
    )]
    NotAnImage {
        /// The input's name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The model's input has an element type that images are not made of.
    #[error("input `{name}` is {element_type}; images are made as uint8, int8 or float32")]
    ElementType {
        /// The input's name.
        name: String,
        /// Its element type.
        element_type: ElementType,
    },
    /// An 8-bit input without one scale and zero point.
    #[error(
        "input `{name}` is {element_type} without a single scale and zero point: what its codes mean is unknown"
    )]
    NotQuantized {
        /// The input's name.
        name: String,
        /// Its element type.
        element_type: ElementType,
    },
    /// A recipe that cannot be followed.
    #[error("{what} `{found}` cannot be: {expected}")]
    InvalidRecipe {
        /// The part of the recipe.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        expected: String,
    },
}
