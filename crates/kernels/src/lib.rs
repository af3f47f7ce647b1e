//! INT8 arithmetic on slices, exactly as TensorFlow Lite computes it.
//!
//! # Codes
//!
//! Every 8-bit activation is a `u8` *code*. A uint8 tensor's codes are its bytes; an int8 tensor's codes are its values
//! plus 128, and its zero point moves with it. Differences of a code and its zero point, which are all that
//! quantized arithmetic looks at, are the same for both, so one kernel serves both element types.
//! [`bytes`] converts at the borders.
//!
//! # Numerics
//!
//! [`Numerics`] names which of LiteRT's two sets of kernels a computation equals.

#![cfg_attr(not(feature = "std"), no_std)]
// What is written for vectors has no use where there are none.
#![cfg_attr(
    not(any(
        target_arch = "x86_64",
        all(target_arch = "aarch64", target_endian = "little"),
        all(target_arch = "wasm32", target_feature = "simd128"),
    )),
    allow(dead_code, unreachable_code, unused_macros)
)]

extern crate alloc;

mod arch;
pub mod binary;
pub mod bytes;
pub mod concatenation;
pub mod convolution;
pub mod crew;
mod error;
pub mod math;
pub mod mean;
mod numerics;
pub mod pad;
pub mod pooling;
pub mod quantize;
pub mod requantize;
pub mod resize;
#[cfg(feature = "std")]
pub mod roof;
pub mod search;
pub mod softmax;
pub mod table;
mod walk;

pub use arch::{InstructionSet, Plain};
pub use error::Error;
pub use numerics::Numerics;
pub use table::CodeQuantization;
