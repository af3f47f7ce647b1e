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
//! [`Classifier`] takes an image and does the rest: crop, resize, the model's own normalization, scale and zero point. One level down,
//! [`Pipeline`] does the same for networks that give no classes, [`Model`] gives plans and sessions, and [`Session`] takes tensors of exactly the model's element type and shape.

mod arrays;
mod classifier;
pub mod comparison;
mod error;
mod labels;
mod model;
mod pipeline;

pub use arrays::{Array, codes, real_values};
pub use classifier::{Classifier, Prediction};
pub use error::Error;
pub use image;
pub use labels::Labels;
pub use mobileight_compare as compare;
pub use mobileight_preprocess as preprocess;
pub use mobileight_reference as reference;
pub use mobileight_runtime as runtime;
pub use mobileight_runtime::{
    Data, DataView, ElementType, Graph, Layout, Numerics, Plan, PlanOptions, Quantization, Session,
    Tensor, TensorView,
};
pub use mobileight_tflite as tflite;
pub use model::Model;
pub use pipeline::Pipeline;
