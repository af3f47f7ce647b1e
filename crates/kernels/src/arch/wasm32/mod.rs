//! WebAssembly.

mod simd128;

pub(crate) use simd128::{Simd128, look_up};
