//! What `core` lacks of floating point, for targets without a standard library.

/// Methods by the names that they have in the standard library.
pub trait Math: Copy {
    /// Towards zero.
    fn trunc(self) -> Self;
    /// Down.
    fn floor(self) -> Self;
    /// Up.
    fn ceil(self) -> Self;
    /// To nearest, halves away from zero.
    fn round(self) -> Self;
    /// To nearest, halves to even.
    fn round_ties_even(self) -> Self;
    /// To the power of `e`.
    fn exp(self) -> Self;
}

macro_rules! by_libm {
    ($float:ty: $trunc:ident $floor:ident $ceil:ident $round:ident $rint:ident $exp:ident) => {
        impl Math for $float {
            fn trunc(self) -> Self {
                libm::$trunc(self)
            }

            fn floor(self) -> Self {
                libm::$floor(self)
            }

            fn ceil(self) -> Self {
                libm::$ceil(self)
            }

            fn round(self) -> Self {
                libm::$round(self)
            }

            fn round_ties_even(self) -> Self {
                libm::$rint(self)
            }

            fn exp(self) -> Self {
                libm::$exp(self)
            }
        }
    };
}

by_libm!(f32: truncf floorf ceilf roundf rintf expf);
by_libm!(f64: trunc floor ceil round rint exp);
