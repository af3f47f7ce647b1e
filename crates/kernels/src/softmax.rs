//! SOFTMAX of 8-bit rows.

use alloc::boxed::Box;
use alloc::format;

use crate::error::check_length;
#[cfg(not(feature = "std"))]
use crate::math::Math;
use crate::requantize::{
    multiply_by_quantized_multiplier, power_of_two, quantize_multiplier,
    rounding_divide_by_power_of_two as divide,
    saturating_rounding_doubling_high_multiply as multiply,
};
use crate::table::CodeQuantization;
use crate::{Error, Numerics};

/// SOFTMAX over rows, prepared.
#[derive(Clone, Debug)]
pub struct Softmax {
    depth: usize,
    exponentials: Exponentials,
    output: CodeQuantization,
    is_uint8: bool,
}

/// `exp(-beta * scale * difference)` for each difference of a code and the largest of its row.
#[derive(Clone, Debug)]
enum Exponentials {
    /// In 31-bit fixed point; `None` where the reference kernel gives the smallest code at once.
    FixedPoint(Box<[Option<i32>; 256]>),
    Float(Box<[f32; 256]>),
}

impl Softmax {
    /// Prepares a softmax over rows of `depth` codes. `is_uint8` is the output's element type, which decides a rounding.
    ///
    /// The reference kernel (`reference/softmax.h`) computes exponentials and the reciprocal of their sum in gemmlowp's fixed point; its output always is
    /// of scale 1/256 with the smallest zero point. LiteRT's default leaves quantized softmax to TFLite's optimized
    /// kernel: `f32` exponentials, summed in order.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] when depth is zero, when `beta * scale` is not positive, or when the reference kernel is asked for another output quantization than
    /// the one it gives.
    pub fn new(
        numerics: Numerics,
        depth: usize,
        input_scale: f32,
        beta: f32,
        output: CodeQuantization,
        is_uint8: bool,
    ) -> Result<Self, Error> {
        let fail = |what, reason| Err(Error::Parameter { what, reason });
        if depth == 0 || depth >= 1 << 19 {
            return fail("depth", format!("{depth} is not between 1 and 2^19"));
        }
        if !(beta.is_finite() && beta * input_scale > 0.0) {
            return fail("beta", format!("{beta} is not finite and above zero"));
        }
        let exponentials = match numerics {
            Numerics::Reference => {
                if output != (CodeQuantization { scale: 1.0 / 256.0, zero_point: 0 }) {
                    return fail(
                        "output",
                        format!(
                            "scale {} with zero code {}: the reference softmax gives scale 1/256 with the smallest code as zero",
                            output.scale, output.zero_point
                        ),
                    );
                }
                Exponentials::FixedPoint(Box::new(fixed_point_exponentials(input_scale, beta)?))
            }
            Numerics::Xnnpack => {
                let exponent = -input_scale * beta;
                let exponential = |difference: usize| (exponent * difference as f32).exp();
                Exponentials::Float(Box::new(core::array::from_fn(exponential)))
            }
        };
        Ok(Softmax { depth, exponentials, output, is_uint8 })
    }

    /// Runs on whole rows.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when the slices differ in length or are no whole rows.
    pub fn run(&self, input: &[u8], output: &mut [u8]) -> Result<(), Error> {
        check_length("output", output.len(), input.len())?;
        check_length("rows", input.len(), input.len() / self.depth * self.depth)?;
        let rows = input.chunks_exact(self.depth).zip(output.chunks_exact_mut(self.depth));
        for (input, output) in rows {
            match &self.exponentials {
                Exponentials::FixedPoint(table) => fixed_point_row(table, input, output),
                Exponentials::Float(table) => self.float_row(table, input, output),
            }
        }
        Ok(())
    }

    fn float_row(&self, table: &[f32; 256], input: &[u8], output: &mut [u8]) {
        let largest = input.iter().copied().max().unwrap_or(0);
        let exponential = |code: u8| table[usize::from(largest - code)];
        let sum: f32 = input.iter().map(|&code| exponential(code)).sum();
        let factor = 1.0 / (sum * self.output.scale);
        let zero_point = f32::from(self.output.zero_point);
        for (output, &code) in output.iter_mut().zip(input) {
            let quanta = exponential(code) * factor;
            let rounded = if self.is_uint8 { (quanta + 0.5).trunc() } else { quanta.round() };
            *output = (rounded + zero_point).clamp(0.0, 255.0) as u8;
        }
    }
}

fn fixed_point_exponentials(scale: f32, beta: f32) -> Result<[Option<i32>; 256], Error> {
    // Differences in Q5.26: below -32 an exponential is nothing.
    const INTEGER_BITS: i32 = 5;
    let real = f64::from(beta) * f64::from(scale) * f64::from(1 << (31 - INTEGER_BITS));
    let (multiplier, shift) = quantize_multiplier(real.min(f64::from(i32::MAX)))?;
    let radius = f64::from((1 << INTEGER_BITS) - 1) * power_of_two(31 - INTEGER_BITS);
    let largest = (radius / power_of_two(shift)).floor();
    Ok(core::array::from_fn(|difference| {
        (difference as f64 <= largest).then(|| {
            let rescaled =
                multiply_by_quantized_multiplier(-(difference as i32), multiplier, shift);
            exponential_of_negative(rescaled)
        })
    }))
}

fn fixed_point_row(table: &[Option<i32>; 256], input: &[u8], output: &mut [u8]) {
    // The sum has twelve integer bits: rows are shorter than 2^19 and a term is at most 2^19.
    const SUM_INTEGER_BITS: i32 = 12;
    let largest = input.iter().copied().max().unwrap_or(0);
    let exponential = |code: u8| table[usize::from(largest - code)];
    let terms = input.iter().filter_map(|&code| exponential(code));
    // A sum that leaves 32 bits belongs to probabilities that all round to zero, and so do they with the largest sum.
    let sum =
        terms.fold(0u32, |sum, term| sum.saturating_add(divide(term, SUM_INTEGER_BITS) as u32));
    let headroom = sum.leading_zeros();
    let fraction = (sum << headroom).wrapping_sub(1 << 31) as i32;
    let reciprocal = reciprocal_of_one_plus(fraction);
    let shift = SUM_INTEGER_BITS - headroom as i32 + 31 - 8;
    for (output, &code) in output.iter_mut().zip(input) {
        let quanta = exponential(code).map_or(0, |term| divide(multiply(reciprocal, term), shift));
        *output = quanta.clamp(0, 255) as u8;
    }
}

/// gemmlowp's `exp_on_negative_values`: from Q5.26, not positive, to Q0.31.
fn exponential_of_negative(value: i32) -> i32 {
    if value == 0 {
        return i32::MAX;
    }
    const QUARTER: i32 = 1 << 24;
    /// e to the power of -1/4, -1/2, -1, -2, -4, -8 and -16, Q0.31.
    const POWERS: [i32; 7] =
        [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];
    let below = (value & (QUARTER - 1)) - QUARTER;
    let steps = below.wrapping_sub(value);
    let mut result = exponential_in_last_quarter(below << 5);
    for (at, power) in POWERS.into_iter().enumerate() {
        if steps & (QUARTER << at) != 0 {
            result = multiply(result, power);
        }
    }
    result
}

/// exp in [-1/4, 0), Q0.31: the Taylor polynomial of fourth order around -1/8.
fn exponential_in_last_quarter(value: i32) -> i32 {
    const EXP_OF_MINUS_EIGHTH: i32 = 1_895_147_668;
    const THIRD: i32 = 715_827_883;
    let x = value + (1 << 28);
    let squared = multiply(x, x);
    let cubed = multiply(squared, x);
    let fourth = multiply(squared, squared);
    let high_orders = multiply(divide(fourth, 2) + cubed, THIRD) + squared;
    EXP_OF_MINUS_EIGHTH + multiply(EXP_OF_MINUS_EIGHTH, x + divide(high_orders, 1))
}

/// gemmlowp's `one_over_one_plus_x_for_x_in_0_1`, Q0.31: three steps of Newton's method, in Q2.29.
fn reciprocal_of_one_plus(x: i32) -> i32 {
    const FORTY_EIGHT_SEVENTEENTHS: i32 = 1_515_870_810;
    const MINUS_THIRTY_TWO_SEVENTEENTHS: i32 = -1_010_580_540;
    let half_denominator = ((i64::from(x) + i64::from(i32::MAX) + 1) / 2) as i32;
    let mut estimate =
        FORTY_EIGHT_SEVENTEENTHS + multiply(half_denominator, MINUS_THIRTY_TWO_SEVENTEENTHS);
    let saturate = |value: i64| value.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    for _ in 0..3 {
        let error = (1 << 29) - multiply(half_denominator, estimate);
        estimate += saturate(i64::from(multiply(estimate, error)) << 2);
    }
    saturate(i64::from(estimate) << 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_point_functions_are_close_to_real_ones() {
        let step = if cfg!(miri) { 99_999_989 } else { 999_983 };
        for value in (-(31 << 26)..=0).step_by(step) {
            let exact = (f64::from(value) / f64::from(1 << 26)).exp();
            let found = f64::from(exponential_of_negative(value)) / 2f64.powi(31);
            assert!((found - exact).abs() < 1e-6, "{value}: {found}, {exact}");
        }
        for x in (0..i32::MAX).step_by(step) {
            let exact = 1.0 / (1.0 + f64::from(x) / 2f64.powi(31));
            let found = f64::from(reciprocal_of_one_plus(x)) / 2f64.powi(31);
            assert!((found - exact).abs() < 1e-6, "{x}: {found}, {exact}");
        }
    }

    #[test]
    fn rows_are_probabilities() {
        let output = CodeQuantization { scale: 1.0 / 256.0, zero_point: 0 };
        let input: Vec<u8> = (0..1000).map(|i| (i * 7919 % 251) as u8).collect();
        for numerics in Numerics::ALL {
            for depth in [1, 2, 10, 1000] {
                let softmax = Softmax::new(numerics, depth, 0.1, 1.0, output, true).unwrap();
                let mut codes = vec![0; input.len()];
                softmax.run(&input, &mut codes).unwrap();
                for (input, codes) in input.chunks(depth).zip(codes.chunks(depth)) {
                    let exponential = |&code: &u8| (0.1 * f64::from(code)).exp();
                    let sum: f64 = input.iter().map(exponential).sum();
                    for (code, result) in input.iter().zip(codes) {
                        let exact = (256.0 * exponential(code) / sum).min(255.0);
                        assert!((f64::from(*result) - exact).abs() < 0.6, "{numerics} {depth}");
                    }
                }
            }
        }
    }

    #[test]
    fn long_rows_of_equals_have_no_likely_class() {
        let output = CodeQuantization { scale: 1.0 / 256.0, zero_point: 0 };
        // 8192 largest terms of 2^19 are the first sum that does not fit in 32 bits.
        let depths = [512, 513, 8191, 8192, 8193, 100_000];
        for &depth in &depths[..if cfg!(miri) { 2 } else { 6 }] {
            for numerics in Numerics::ALL {
                let softmax = Softmax::new(numerics, depth, 0.1, 1.0, output, true).unwrap();
                let mut codes = vec![1; depth];
                softmax.run(&vec![200; depth], &mut codes).unwrap();
                let expected = (256.0 / depth as f64).round() as u8;
                let differences = codes.iter().filter(|code| code.abs_diff(expected) > 1).count();
                assert_eq!(differences, 0, "{numerics} {depth}");
                assert!(depth < 8191 || codes.iter().all(|&code| code == 0));
            }
        }
    }

    #[test]
    fn what_the_reference_cannot_give_is_refused() {
        let output = CodeQuantization { scale: 0.5, zero_point: 0 };
        assert!(Softmax::new(Numerics::Reference, 3, 0.1, 1.0, output, true).is_err());
        assert!(Softmax::new(Numerics::Xnnpack, 0, 0.1, 1.0, output, true).is_err());
        assert!(Softmax::new(Numerics::Xnnpack, 3, 0.1, f32::NAN, output, true).is_err());
    }
}
