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

macro_rules! rounding {
    ($float:ty, $integer:ty, $whole:literal) => {
        fn trunc(self) -> Self {
            // Numbers from here on are whole, and others are within the integer's range; NaN is neither.
            if self.abs() < $whole { (self as $integer as $float).copysign(self) } else { self }
        }

        fn floor(self) -> Self {
            let whole = Math::trunc(self);
            if whole > self { whole - 1.0 } else { whole }
        }

        fn ceil(self) -> Self {
            -Math::floor(-self)
        }

        fn round(self) -> Self {
            let whole = Math::trunc(self);
            if (self - whole).abs() >= 0.5 { whole + (1.0 as $float).copysign(self) } else { whole }
        }

        fn round_ties_even(self) -> Self {
            // Nothing below one is left in the sum.
            if self.abs() < $whole { (self.abs() + $whole - $whole).copysign(self) } else { self }
        }
    };
}

impl Math for f64 {
    rounding!(f64, i64, 4_503_599_627_370_496.0);

    /// Within some units of the last place.
    fn exp(self) -> f64 {
        // ln 2 in two parts: the first has few bits, so that its multiples are exact.
        const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
        if self.is_nan() {
            return self;
        }
        let clamped = self.clamp(-760.0, 720.0);
        let doublings = Math::round_ties_even(clamped * core::f64::consts::LOG2_E);
        let rest = (clamped - doublings * LN_2[0]) - doublings * LN_2[1];
        // At most ln 2 / 2: thirteen terms are enough.
        let mut sum = 1.0;
        for term in (1..=13).rev() {
            sum = 1.0 + sum * rest / f64::from(term);
        }
        // In two steps: results may be subnormal, or infinite.
        let half = doublings as i32 / 2;
        let double = crate::requantize::power_of_two;
        sum * double(half) * double(doublings as i32 - half)
    }
}

impl Math for f32 {
    rounding!(f32, i32, 8_388_608.0);

    /// In `f64`: rounded correctly, but for one in millions.
    fn exp(self) -> f32 {
        Math::exp(f64::from(self)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roundings_equal_the_standard_library_s() {
        let sizes = [0.0, 0.5, 1.0, 1.5, 2.5, 0.499_999_97, 8_388_607.5, 8_388_608.0, 1e10, 1e300];
        let small = (0..2000).map(|at| f64::from(at) / 7.0);
        for size in sizes.into_iter().chain(small).chain([f64::INFINITY, f64::MIN_POSITIVE]) {
            for x in [size, -size] {
                let wide = [
                    (Math::trunc(x), x.trunc()),
                    (Math::floor(x), x.floor()),
                    (Math::ceil(x), x.ceil()),
                    (Math::round(x), x.round()),
                    (Math::round_ties_even(x), x.round_ties_even()),
                ];
                let y = x as f32;
                let narrow = [
                    (Math::trunc(y), y.trunc()),
                    (Math::floor(y), y.floor()),
                    (Math::ceil(y), y.ceil()),
                    (Math::round(y), y.round()),
                    (Math::round_ties_even(y), y.round_ties_even()),
                ];
                assert!(wide.iter().all(|(a, b)| a == b), "{x}: {wide:?}");
                assert!(narrow.iter().all(|(a, b)| a == b), "{y}: {narrow:?}");
            }
        }
        assert!(Math::round(f32::NAN).is_nan() && Math::exp(f64::NAN).is_nan());
    }

    #[test]
    fn exponentials_are_close() {
        for at in -74_000..70_900 {
            let x = f64::from(at) / 100.0 + 1e-4;
            let (found, exact) = (Math::exp(x), x.exp());
            // Subnormal results have fewer bits.
            let error = (found - exact).abs() / exact.max(f64::MIN_POSITIVE);
            assert!(error < 1e-15, "{x}: {found:e}, {exact:e}");
            let y = x as f32;
            let steps = Math::exp(y).to_bits().abs_diff(y.exp().to_bits());
            assert!(steps <= 1, "{y}");
        }
        assert_eq!(Math::exp(0f32), 1.0);
        assert_eq!([Math::exp(1e4), Math::exp(-1e4)], [f64::INFINITY, 0.0]);
    }
}
