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

mod arch;
pub mod binary;
pub mod bytes;
pub mod concatenation;
pub mod convolution;
pub mod crew;
mod error;
pub mod mean;
mod numerics;
pub mod pad;
pub mod pooling;
pub mod quantize;
pub mod requantize;
pub mod resize;
pub mod roof;
pub mod search;
pub mod softmax;
pub mod table;
mod walk;

pub use arch::{InstructionSet, Plain};
pub use error::Error;
pub use numerics::Numerics;
pub use table::CodeQuantization;
