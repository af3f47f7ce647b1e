//! What a kernel refuses.

use alloc::string::String;
use core::fmt;

/// Why a kernel could not be prepared or run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A slice has another length than the shape asks for.
    Length {
        /// Which argument.
        what: &'static str,
        /// Its length, in elements.
        found: usize,
        /// The length that the shape asks for.
        expected: usize,
    },
    /// A parameter is outside of what the arithmetic is defined for.
    Parameter {
        /// Which parameter.
        what: &'static str,
        /// What was found and what is allowed.
        reason: String,
    },
    /// The sums of a channel could leave the 32-bit accumulator.
    AccumulatorOverflow {
        /// The output channel.
        channel: usize,
        /// The largest magnitude that its accumulator could reach.
        bound: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Length { what, found, expected } => {
                write!(f, "{what} has {found} elements, expected {expected}")
            }
            Error::Parameter { what, reason } => write!(f, "{what}: {reason}"),
            Error::AccumulatorOverflow { channel, bound } => write!(
                f,
                "output channel {channel} could accumulate to {bound}, which does not fit in 32 bits"
            ),
        }
    }
}

impl core::error::Error for Error {}

/// Checks the length of a slice argument.
pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::Length { what, found, expected }) }
}
