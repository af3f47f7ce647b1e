//! What quantization cost: metrics, statistics and reports.
//!
//! Plain numbers go in (probabilities, tensors, labels), a [`report::Report`] comes out, and [`formats`] turn it into files. This crate
//! knows neither model files nor images, and its figures stream: memory does not grow with the number of images. `docs/metrics.md`
//! defines every figure.
//!
//! ```
//! use mobileight_compare::{Answer, PairAccumulator, report::Truth};
//!
//! let mut pair = PairAccumulator::new(Truth::Labels);
//! let reference = Answer::from_logits(&[0.1, 2.0, -1.0])?;
//! let quantized = Answer::from_logits(&[0.2, 1.9, -1.0])?;
//! pair.add(Some(1), &reference, &quantized)?;
//! let figures = pair.finish(1);
//! assert_eq!((figures.top1.first, figures.top1.second, figures.flips), (1.0, 1.0, 0));
//! # Ok::<(), mobileight_compare::Error>(())
//! ```

mod advice;
mod answer;
mod error;
pub mod formats;
mod pair;
pub mod report;
mod statistics;
mod tensor;

pub use advice::advise;
pub use answer::Answer;
pub use error::Error;
pub use pair::{ImageFigures, PairAccumulator, Worst, image_figures};
pub use statistics::{describe, gate, mcnemar_exact, paired_difference, probability};
pub use tensor::{SqnrAccumulator, TensorAccumulator, weight_range_ratio};
