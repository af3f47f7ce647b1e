//! Image classification with quantized MobileNets, in pure Rust, byte for byte equal to TensorFlow Lite.
//!
//! ```no_run
//! use mobileight::{Classifier, Labels, image};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let classifier = Classifier::open("mobilenet_v2_1.0_224_quant.tflite")?
//!     .labels(Labels::from_file("labels.txt")?)?
//!     .top_k(3);
//! for prediction in classifier.classify(&image::open("parrot.jpg")?)? {
//!     println!("{:5.1} %  {}", 100.0 * prediction.score, prediction.label);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Without the feature `tract` (on by default) nothing that is built is C or assembly, and the files that run are compiled models, `.mb8`:
//! `mobileight compile MODEL.tflite -o model.mb8` or `mobileight_tflite::compile` make them.
//!
//! [`Classifier`] takes an image and does the rest: crop, resize, the model's own normalization, scale and zero point. One level down,
//! [`Pipeline`] does the same for networks that give no classes, [`Model`] gives plans and sessions, and [`Session`] takes tensors of exactly the model's element type and shape.
//!
//! Of other crates' types only images of [`image`] and, with the feature `ndarray`, arrays of `ndarray` are part of this interface; both
//! crates are re-exported.

#[cfg(feature = "ndarray")]
mod arrays;
mod classifier;
#[cfg(feature = "tract")]
pub mod comparison;
mod error;
mod images;
mod labels;
mod model;
mod pipeline;
mod values;

#[cfg(feature = "ndarray")]
pub use arrays::Array;
pub use classifier::{Classifier, Prediction};
pub use error::Error;
pub use image;
pub use images::{IMAGE_EXTENSIONS, image_files};
pub use labels::Labels;
#[cfg(feature = "tract")]
pub use mobileight_compare as compare;
pub use mobileight_preprocess as preprocess;
#[cfg(feature = "tract")]
pub use mobileight_reference as reference;
pub use mobileight_runtime as runtime;
pub use mobileight_runtime::{
    Data, DataView, ElementType, Exceeded, Graph, Layout, Limit, Limits, Numerics, Plan,
    PlanOptions, Quantization, Session, Tensor, TensorView,
};
#[cfg(feature = "tract")]
pub use mobileight_tflite as tflite;
pub use model::Model;
#[cfg(feature = "ndarray")]
pub use ndarray;
pub use pipeline::Pipeline;
pub use values::{codes, real_values};

// The examples in the documents are compiled.
#[cfg(all(doctest, feature = "tract"))]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../docs/library.md")]
struct Documents;
