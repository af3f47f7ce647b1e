//! What quantization cost: metrics, statistics and reports.
//!
//! Plain numbers go in (probabilities, tensors, labels), a [`report::Report`] comes out, and formats turn it into files. This crate knows
//! neither model files nor images, and its figures stream: memory does not grow with the number of images.

pub mod report;
