//! The FP32 path: float networks, and quantized ones with their weights dequantized, on tract.
//!
//! Two references answer different questions. A quantized file's own weights in FP32 tell what rounding the activations costs; its
//! float sibling tells what all of quantization costs. Both are built from the same [`Graph`](mobileight_runtime::Graph) with
//! tract-core's operators, and every tensor can be read.
//!
//! ```no_run
//! use std::sync::Arc;
//! use mobileight_reference::{Reference, ReferenceOptions};
//! # fn graph() -> mobileight_runtime::Graph { unimplemented!() }
//! # fn pixels() -> mobileight_runtime::Tensor { unimplemented!() }
//!
//! let options = ReferenceOptions::default().keep_intermediates(true);
//! let reference = Reference::new(Arc::new(graph()), options)?;
//! let tensors = reference.run_all(&[pixels().view()])?;
//! let logits = tensors.by_name("MobilenetV2/Logits/output");
//! # Ok::<(), mobileight_reference::Error>(())
//! ```

mod constants;
mod error;
mod network;
mod reference;

pub use error::Error;
pub use reference::{Kind, Reference, ReferenceOptions, Tensors};
