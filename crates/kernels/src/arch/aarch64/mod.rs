//! 64-bit ARM.

mod look_up;
mod products;
mod vectors;

pub(crate) use look_up::look_up;
pub(crate) use products::{Bytes, Signed, Unsigned};
pub(crate) use vectors::Neon;
