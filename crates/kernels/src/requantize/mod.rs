//! From a 32-bit accumulator to an 8-bit code.
//!
//! Both [`Numerics`] multiply the accumulator by a real factor, round, add the zero point and clamp; they differ in
//! how they multiply and round. A kernel takes the choice as a type parameter, so that its inner loop is written once.

use alloc::format;
use alloc::vec::Vec;

use crate::arch::Loops;
#[cfg(not(feature = "std"))]
use crate::math::Math;
use crate::{Error, Numerics};

pub(crate) mod vector;

/// Splits a real multiplier into a 31-bit fixed-point mantissa and an exponent: `real = mantissa * 2^(shift - 31)`.
///
/// TFLite: `QuantizeMultiplier`. A multiplier below 2^-32 becomes zero.
///
/// # Errors
///
/// [`Error::Parameter`] when the multiplier is not finite, negative, or too large for 32-bit accumulators (2^31).
pub fn quantize_multiplier(real: f64) -> Result<(i32, i32), Error> {
    if !(0.0..2147483648.0).contains(&real) {
        return Err(too_large(real));
    }
    if real == 0.0 {
        return Ok((0, 0));
    }
    let (fraction, mut shift) = frexp(real);
    let mut mantissa = (fraction * f64::from(1u32 << 31)).round() as i64;
    if mantissa == 1 << 31 {
        mantissa /= 2;
        shift += 1;
    }
    match shift {
        ..-31 => Ok((0, 0)),
        -31..=31 => Ok((mantissa as i32, shift)),
        _ => Err(too_large(real)),
    }
}

fn too_large(real: f64) -> Error {
    Error::Parameter {
        what: "multiplier",
        reason: format!("{real} is not between 0 and 2^31; the scales are too far apart"),
    }
}

/// C's `frexp` for positive numbers: a fraction of 0.5 to 1 and a power of two.
pub fn frexp(value: f64) -> (f64, i32) {
    const EXPONENT: u64 = 0x7ff << 52;
    // Subnormal numbers have no exponent of their own: scale them up first.
    let (value, bias) =
        if value < f64::MIN_POSITIVE { (value * power_of_two(64), -64) } else { (value, 0) };
    let bits = value.to_bits();
    let exponent = ((bits & EXPONENT) >> 52) as i32 - 1022;
    (f64::from_bits(bits & !EXPONENT | 1022 << 52), exponent + bias)
}

/// Exactly `2^exponent`, for exponents of normal numbers.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// gemmlowp's `SaturatingRoundingDoublingHighMul`: `a * b / 2^31`, rounded to nearest with ties up, saturated.
///
/// gemmlowp nudges by sign and divides towards zero; for either sign that is the same as this shift.
#[inline(always)]
pub fn saturating_rounding_doubling_high_multiply(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    ((i64::from(a) * i64::from(b) + (1 << 30)) >> 31) as i32
}

/// gemmlowp's `RoundingDivideByPOT`: `value / 2^exponent`, rounded to nearest, ties away from zero. `exponent` is 0 to 31.
#[inline(always)]
pub fn rounding_divide_by_power_of_two(value: i32, exponent: i32) -> i32 {
    let value = i64::from(value);
    let half = (1i64 << exponent) >> 1;
    // Ties of negative numbers go down: take one off before the half is added, except where nothing is divided.
    let tie = if exponent > 0 { value >> 63 } else { 0 };
    ((value + tie + half) >> exponent) as i32
}

/// TFLite's `MultiplyByQuantizedMultiplier`: shifts left first for a positive `shift`, rounds after the multiplication and
/// again after the right shift of a negative one.
///
/// The left shift saturates; where it would, TFLite's is undefined.
#[inline(always)]
pub fn multiply_by_quantized_multiplier(value: i32, multiplier: i32, shift: i32) -> i32 {
    rounding_divide_by_power_of_two(
        saturating_rounding_doubling_high_multiply(shift_left(value, shift), multiplier),
        (-shift).max(0),
    )
}

/// [`multiply_by_quantized_multiplier`] as TFLite's vector code computes it: the right shift, too, rounds ties up.
pub fn multiply_rounding_up(value: i32, multiplier: i32, shift: i32) -> i32 {
    let high = saturating_rounding_doubling_high_multiply(shift_left(value, shift), multiplier);
    let bits = (-shift).max(0);
    ((i64::from(high) + ((1 << bits) >> 1)) >> bits) as i32
}

#[inline(always)]
fn shift_left(value: i32, shift: i32) -> i32 {
    (i64::from(value) << shift.max(0)).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// How an accumulator of an output channel becomes a code.
pub(crate) trait Requantize: Copy + Send + Sync {
    /// The factor of one channel.
    type Multiplier: Copy + Send + Sync;

    /// The code, within the activation's range.
    fn requantize(self, accumulator: i32, multiplier: Self::Multiplier) -> u8;

    /// The codes of accumulators, each with its multiplier.
    #[inline(always)]
    fn requantize_all<L: Loops>(
        self,
        loops: L,
        accumulators: &[i32],
        multipliers: &[Self::Multiplier],
        codes: &mut [u8],
    ) {
        let done = self.requantize_first(loops, accumulators, multipliers, codes);
        let rest = accumulators[done..].iter().zip(&multipliers[done..]);
        for (code, (&accumulator, &multiplier)) in codes[done..].iter_mut().zip(rest) {
            *code = self.requantize(accumulator, multiplier);
        }
    }

    /// Of [`requantize_all`](Requantize::requantize_all) what the loops do; gives the number.
    #[inline(always)]
    fn requantize_first<L: Loops>(
        self,
        _loops: L,
        _accumulators: &[i32],
        _multipliers: &[Self::Multiplier],
        _codes: &mut [u8],
    ) -> usize {
        0
    }
}

/// [`Numerics::Reference`]: fixed point, rounded after the multiplication and after the shift.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedPoint {
    pub(crate) zero_point: i32,
    pub(crate) range: [i32; 2],
}

/// [`Numerics::Reference`] of FULLY_CONNECTED: `f64`, rounded half away from zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Double(FixedPoint);

/// A real multiplier, `mantissa * 2^(shift - 31)`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct FixedPointMultiplier {
    mantissa: i32,
    shift: i32,
}

impl Requantize for FixedPoint {
    type Multiplier = FixedPointMultiplier;

    #[inline(always)]
    fn requantize(self, accumulator: i32, multiplier: FixedPointMultiplier) -> u8 {
        let scaled =
            multiply_by_quantized_multiplier(accumulator, multiplier.mantissa, multiplier.shift);
        self.finish(scaled)
    }

    #[inline(always)]
    fn requantize_first<L: Loops>(
        self,
        loops: L,
        accumulators: &[i32],
        multipliers: &[FixedPointMultiplier],
        codes: &mut [u8],
    ) -> usize {
        loops.requantize_fixed(self, accumulators, multipliers, codes)
    }
}

impl FixedPoint {
    #[inline(always)]
    fn finish(self, scaled: i32) -> u8 {
        scaled.saturating_add(self.zero_point).clamp(self.range[0], self.range[1]) as u8
    }
}

impl Requantize for Double {
    type Multiplier = f64;

    #[inline(always)]
    fn requantize(self, accumulator: i32, multiplier: f64) -> u8 {
        self.0.finish((f64::from(accumulator) * multiplier).round() as i32)
    }
}

/// [`Numerics::Xnnpack`]: `f32`, rounded to nearest even.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Float {
    pub(crate) zero_point: i32,
    /// The activation's range less the zero point.
    pub(crate) bounds: [f32; 2],
}

impl Requantize for Float {
    type Multiplier = f32;

    #[inline(always)]
    fn requantize(self, accumulator: i32, multiplier: f32) -> u8 {
        self.round(accumulator as f32 * multiplier)
    }

    #[inline(always)]
    fn requantize_first<L: Loops>(
        self,
        loops: L,
        accumulators: &[i32],
        multipliers: &[f32],
        codes: &mut [u8],
    ) -> usize {
        loops.requantize_float(self, accumulators, multipliers, codes)
    }
}

impl Float {
    /// XNNPACK's: adding 1.5 * 2^23 leaves the rounded integer in the low bits of the sum.
    pub(crate) const MAGIC: f32 = 12_582_912.0;

    /// `range` is the activation's.
    pub(crate) fn new(zero_point: u8, range: [u8; 2]) -> Self {
        let zero_point = i32::from(zero_point);
        Float { zero_point, bounds: range.map(|code| (i32::from(code) - zero_point) as f32) }
    }

    /// Quanta to a code, rounded to nearest even.
    #[inline(always)]
    pub(crate) fn round(self, quanta: f32) -> u8 {
        let rounded =
            (self.clamp(quanta) + Self::MAGIC).to_bits() as i32 - Self::MAGIC.to_bits() as i32;
        (rounded + self.zero_point) as u8
    }

    /// Quanta to a code, rounded half away from zero.
    #[inline(always)]
    pub(crate) fn round_away(self, quanta: f32) -> u8 {
        // The largest number below a half: a half itself would lift the number below a half to one.
        const HALF: f32 = 0.499_999_97;
        let clamped = self.clamp(quanta);
        ((clamped + HALF.copysign(clamped)) as i32 + self.zero_point) as u8
    }

    #[inline(always)]
    fn clamp(self, quanta: f32) -> f32 {
        // As `max` and `min`, for which some targets call a function: NaN becomes the least.
        let [least, most] = self.bounds;
        let quanta = if quanta > least { quanta } else { least };
        if quanta < most { quanta } else { most }
    }
}

/// The scales that an accumulator's multiplier is made of: `input * weights[channel] / output`.
#[derive(Clone, Copy, Debug)]
pub struct Scales<'a> {
    /// The input's scale.
    pub input: f32,
    /// The weights' scale for each output channel.
    pub weights: &'a [f32],
    /// The output's scale.
    pub output: f32,
    /// How TFLite's reference kernel of the operator uses them.
    pub reference: ReferenceArithmetic,
}

/// How TFLite's reference kernels multiply an accumulator; they differ between operators and element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceArithmetic {
    /// Convolutions of uint8: fixed point, `input * weight` rounded to `f32` before the division (`GetQuantizedConvolutionMultipler`).
    FixedPointOfF32Product,
    /// Convolutions of int8: fixed point, all scales in `f64` (`PopulateConvolutionQuantizationParams`).
    FixedPoint,
    /// FULLY_CONNECTED: `f64` throughout.
    Double,
}

/// The requantization of an operator: the arithmetic, a multiplier for each output channel (or one for all), the zero point and the activation's range.
#[derive(Clone, Debug)]
pub struct Requantization {
    pub(crate) arithmetic: Arithmetic,
}

/// The two arithmetics with their multipliers.
#[derive(Clone, Debug)]
pub(crate) enum Arithmetic {
    FixedPoint(FixedPoint, Vec<FixedPointMultiplier>),
    Double(Double, Vec<f64>),
    Float(Float, Vec<f32>),
}

/// Evaluates an expression with the arithmetic of a [`Requantization`] and its multipliers, whatever their types: the one place
/// where the choice is made, outside of all loops.
macro_rules! with_arithmetic {
    ($requantization:expr, |$arithmetic:pat_param, $multipliers:ident| $value:expr) => {
        match &$requantization.arithmetic {
            $crate::requantize::Arithmetic::FixedPoint($arithmetic, $multipliers) => $value,
            $crate::requantize::Arithmetic::Double($arithmetic, $multipliers) => $value,
            $crate::requantize::Arithmetic::Float($arithmetic, $multipliers) => $value,
        }
    };
}
pub(crate) use with_arithmetic;

impl Requantization {
    /// Prepares the requantization to codes with this zero point, clamped to `range` (smallest and largest code).
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] when a multiplier is out of the arithmetic's range.
    pub fn new(
        numerics: Numerics,
        scales: &Scales<'_>,
        zero_point: u8,
        range: [u8; 2],
    ) -> Result<Self, Error> {
        let finish = FixedPoint { zero_point: i32::from(zero_point), range: range.map(i32::from) };
        let real = |&weight: &f32| {
            let product = match scales.reference {
                ReferenceArithmetic::FixedPointOfF32Product => f64::from(scales.input * weight),
                _ => f64::from(scales.input) * f64::from(weight),
            };
            product / f64::from(scales.output)
        };
        // XNNPACK takes multipliers below 2^8 and leaves others to TFLite's arithmetic.
        let is_delegated =
            scales.weights.iter().all(|weight| scales.input * weight / scales.output < 256.0);
        let arithmetic = match (numerics, scales.reference) {
            (Numerics::Xnnpack, _) if is_delegated => {
                let multiplier = |weight: &f32| scales.input * weight / scales.output;
                let multipliers = scales.weights.iter().map(multiplier).collect();
                Arithmetic::Float(Float::new(zero_point, range), multipliers)
            }
            (_, ReferenceArithmetic::Double) => {
                Arithmetic::Double(Double(finish), scales.weights.iter().map(real).collect())
            }
            _ => {
                let multiplier = |weight: &f32| {
                    let (mantissa, shift) = quantize_multiplier(real(weight))?;
                    Ok(FixedPointMultiplier { mantissa, shift })
                };
                let multipliers =
                    scales.weights.iter().map(multiplier).collect::<Result<_, Error>>()?;
                Arithmetic::FixedPoint(finish, multipliers)
            }
        };
        Ok(Requantization { arithmetic })
    }

    /// Number of multipliers.
    pub(crate) fn channels(&self) -> usize {
        with_arithmetic!(self, |_, multipliers| multipliers.len())
    }

    /// Bytes of the multipliers.
    pub(crate) fn bytes(&self) -> usize {
        with_arithmetic!(self, |_, multipliers| size_of_val(multipliers.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a * b / 2^31` rounded half away from zero as gemmlowp writes it: nudge, then division towards zero.
    fn high_multiply_as_defined(a: i32, b: i32) -> i32 {
        let product = i128::from(a) * i128::from(b);
        let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
        ((product + nudge) / (1 << 31)).min(i32::MAX.into()) as i32
    }

    fn samples() -> Vec<i32> {
        let mut samples =
            vec![0, 1, -1, i32::MIN, i32::MAX, i32::MIN + 1, 1 << 30, -(1 << 30), 3, -3];
        let mut state = 7u64;
        for bits in 0..if cfg!(miri) { 8 } else { 200 } {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            samples.push((state >> 32) as i32 >> (bits % 31));
        }
        samples
    }

    #[test]
    fn high_multiply_equals_its_definition() {
        for &a in &samples() {
            for &b in &samples() {
                assert_eq!(
                    saturating_rounding_doubling_high_multiply(a, b),
                    high_multiply_as_defined(a, b),
                    "{a} * {b}"
                );
            }
        }
    }

    // (`powi` may be off in its last bit.)
    #[test]
    fn division_rounds_half_away_from_zero() {
        for &value in &samples() {
            for exponent in 0..=31 {
                let exact = f64::from(value) / power_of_two(exponent);
                assert_eq!(
                    f64::from(rounding_divide_by_power_of_two(value, exponent)),
                    exact.round(),
                    "{value} / 2^{exponent}"
                );
            }
        }
    }

    #[test]
    fn multipliers_are_split_exactly() {
        for real in [1.0, 0.5, 0.999_999_999_9, 0.003_921_568_6, 1e-9, 123.456, 2f64.powi(-31)] {
            let (mantissa, shift) = quantize_multiplier(real).unwrap();
            let back = f64::from(mantissa) * 2f64.powi(shift - 31);
            assert!((back / real - 1.0).abs() < 1e-9, "{real} became {back}");
            assert!((1 << 30..=i32::MAX).contains(&mantissa));
        }
        assert_eq!(quantize_multiplier(0.0), Ok((0, 0)));
        assert_eq!(quantize_multiplier(1e-20), Ok((0, 0)));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e10, 2147483647.999] {
            assert!(quantize_multiplier(bad).is_err());
        }
        assert_eq!(frexp(1.0), (0.5, 1));
        assert_eq!(frexp(5e-324), (0.5, -1073));
    }

    #[test]
    fn both_arithmetics_agree_with_real_arithmetic_away_from_ties() {
        for numerics in Numerics::ALL {
            for reference in [
                ReferenceArithmetic::FixedPointOfF32Product,
                ReferenceArithmetic::FixedPoint,
                ReferenceArithmetic::Double,
            ] {
                check_requantization(numerics, reference);
            }
        }
    }

    fn check_requantization(numerics: Numerics, reference: ReferenceArithmetic) {
        let scales = Scales { input: 0.02, weights: &[0.003, 0.0001], output: 0.05, reference };
        let requantization = Requantization::new(numerics, &scales, 120, [3, 250]).unwrap();
        for channel in 0..2 {
            for accumulator in
                (-2_000_000..2_000_000).step_by(if cfg!(miri) { 99_991 } else { 997 })
            {
                let real = f64::from(accumulator) * 0.02 * [0.003, 0.0001][channel] / 0.05;
                if (real.fract().abs() - 0.5).abs() < 1e-3 {
                    continue;
                }
                let expected = (real.round() + 120.0).clamp(3.0, 250.0) as u8;
                let code =
                    with_arithmetic!(requantization, |r, m| r.requantize(accumulator, m[channel]));
                assert_eq!(code, expected, "{numerics} {accumulator} in channel {channel}");
            }
        }
    }
}
