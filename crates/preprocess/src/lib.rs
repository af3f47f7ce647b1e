//! From a photo to the input tensor of a quantized model.
//!
//! [`decode_file`] reads a photo, [`InputContract`] says what the model takes, [`Recipe`] what is done with the photo:
//! crop, resize, normalization. [`Preprocessor`] puts them together. Pixels become codes through one table of 256 entries a
//! channel, made from the model's own scale and zero point, so that no cast can wrap around.
//!
//! Without the feature `image` there is no decoding and no standard library: [`Preprocessor::prepare_rgb`] takes the pixels of a camera.

#![cfg_attr(not(feature = "image"), no_std)]

extern crate alloc;

mod contract;
#[cfg(feature = "image")]
mod decode;
mod error;
mod preprocessor;
mod recipe;
mod resize;
mod table;

pub use contract::InputContract;
#[cfg(feature = "image")]
pub use decode::{decode, decode_file, read_bytes};
pub use error::Error;
#[cfg(feature = "image")]
pub use image;
pub use mobileight_runtime::{Exceeded, Limit, Limits, Normalization};
pub use preprocessor::{Preprocessor, RgbView};
pub use recipe::{ChannelOrder, Crop, NormalizationChoice, Recipe, Resize};
pub use table::NormalizationSource;
