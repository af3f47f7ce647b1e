//! What quantization cost: metrics, statistics and reports.
//!
//! Plain numbers go in (probabilities, tensors, labels), a [`report::Report`] comes out, and [`formats`] turn it into files. This crate
//! knows neither model files nor images, and its figures stream: memory does not grow with the number of images.

mod error;
pub mod formats;
pub mod report;

pub use error::Error;
