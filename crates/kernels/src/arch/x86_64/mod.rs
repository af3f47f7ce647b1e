//! x86-64.

mod avx2;
mod avx512vnni;
mod avxvnni;
mod look_up;
mod ymm;

pub(crate) use avx2::Avx2;
pub(crate) use avx512vnni::Avx512Vnni;
#[cfg(feature = "evex")]
pub(crate) use avxvnni::Evex;
pub(crate) use avxvnni::{AvxVnni, Vex};
pub(crate) use look_up::look_up;
