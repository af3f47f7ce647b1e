//! The choice of arithmetic.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// Which of LiteRT's kernels the results are equal to, byte for byte.
///
/// LiteRT ships several sets of kernels that disagree by one code in a few percent of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Numerics {
    /// LiteRT's default since 2.x: the XNNPACK delegate. Accumulators are scaled in `f32` and rounded to nearest even.
    #[default]
    Xnnpack,
    /// TensorFlow Lite's reference kernels (`OpResolverType.BUILTIN_REF`). Accumulators are scaled in 32-bit fixed point by
    /// gemmlowp's saturating rounding doubling high multiply and a rounding division by a power of two.
    Reference,
}

impl Numerics {
    /// Every choice, the default first.
    pub const ALL: [Numerics; 2] = [Numerics::Xnnpack, Numerics::Reference];

    /// The name used on the command line and in reports: `xnnpack` or `reference`.
    pub fn name(self) -> &'static str {
        match self {
            Numerics::Xnnpack => "xnnpack",
            Numerics::Reference => "reference",
        }
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Numerics {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Numerics::ALL
            .into_iter()
            .find(|numerics| numerics.name() == text)
            .ok_or_else(|| format!("unknown numerics `{text}`: expected `xnnpack` or `reference`"))
    }
}
