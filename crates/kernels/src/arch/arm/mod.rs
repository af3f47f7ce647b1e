//! 32-bit ARM.

#[cfg(all(
    feature = "std",
    target_arch = "arm",
    target_endian = "little",
    any(target_os = "linux", target_os = "android")
))]
mod neon;

#[cfg(all(
    feature = "std",
    target_arch = "arm",
    target_endian = "little",
    any(target_os = "linux", target_os = "android")
))]
pub(crate) use neon::Neon;

/// Elsewhere there is none, or nobody to ask.
#[cfg(not(all(
    feature = "std",
    target_arch = "arm",
    target_endian = "little",
    any(target_os = "linux", target_os = "android")
)))]
pub(crate) type Neon = super::NoLoops;
