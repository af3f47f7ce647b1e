//! Operators of one 8-bit operand: a table of 256 codes, exact by construction.

use alloc::format;

use crate::error::check_length;
#[cfg(not(feature = "std"))]
use crate::math::Math;
use crate::requantize::{
    multiply_by_quantized_multiplier, multiply_rounding_up, quantize_multiplier,
    rounding_divide_by_power_of_two,
};
use crate::{Error, InstructionSet, Numerics};

/// Scale and zero point of codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodeQuantization {
    /// Real value of one quantum.
    pub scale: f32,
    /// The code of real zero.
    pub zero_point: u8,
}

/// For each code of the input, the code of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table([u8; 256]);

impl Table {
    /// A table of a function from the difference of a code and the input's zero point to output quanta, to which the
    /// output's zero point is added before they are clamped to `range`.
    fn new(
        input: CodeQuantization,
        output: CodeQuantization,
        range: [u8; 2],
        quanta: impl Fn(i32) -> i32,
    ) -> Self {
        Table(core::array::from_fn(|code| {
            let quanta = quanta(code as i32 - i32::from(input.zero_point));
            let code = quanta.saturating_add(output.zero_point.into());
            code.clamp(range[0].into(), range[1].into()) as u8
        }))
    }

    /// LOGISTIC: `1 / (1 + exp(-x))`. `is_uint8` is the element type, which decides rare ties.
    ///
    /// TFLite (`LogisticInt8` and its uint8 twin, both by table) computes in `f32` and rounds half away from zero. XNNPACK computes the
    /// sigmoid in `f64`, adds the zero point of the file's own element type in `f32` and rounds the sum to nearest even.
    pub fn logistic(
        numerics: Numerics,
        input: CodeQuantization,
        output: CodeQuantization,
        is_uint8: bool,
    ) -> Self {
        let reciprocal = 1.0 / output.scale;
        // The value whose code is zero.
        let lowest = if is_uint8 { 0 } else { -128 };
        let zero_point = i32::from(output.zero_point) + lowest;
        Table::new(input, output, [0, 255], |x| {
            let real = input.scale * x as f32;
            match numerics {
                Numerics::Reference => ((1.0 / (1.0 + (-real).exp())) * reciprocal).round() as i32,
                Numerics::Xnnpack => {
                    let sigmoid = (1.0 / (1.0 + (-f64::from(real)).exp())) as f32;
                    let value = (sigmoid * reciprocal + zero_point as f32).round_ties_even();
                    (value as i32).saturating_sub(zero_point)
                }
            }
        })
    }

    /// RELU, RELU6 and the like as operators of their own: `range` is the activation's. The same in both numerics.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] when the scales are too far apart.
    pub fn rescale(
        input: CodeQuantization,
        output: CodeQuantization,
        range: [u8; 2],
    ) -> Result<Self, Error> {
        let (multiplier, shift) = multiplier_of_differences(input.scale / output.scale)?;
        Ok(Table::new(input, output, range, |x| {
            multiply_by_quantized_multiplier(x, multiplier, shift)
        }))
    }

    /// LEAKY_RELU: the value where it is not negative, else `alpha` times the value.
    ///
    /// TFLite's kernel, reference and optimized alike, has a 32-bit fixed-point multiplier for either side. In LiteRT's default XNNPACK
    /// computes what [`Requantizer`] does within an element type, with a multiplier of eight fractional bits for either side, when both
    /// are in its range.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] when the scales are too far apart, or `alpha` makes them so.
    pub fn leaky_relu(
        numerics: Numerics,
        input: CodeQuantization,
        output: CodeQuantization,
        alpha: f32,
    ) -> Result<Self, Error> {
        let ratio = input.scale / output.scale;
        let coarse = [ratio, ratio * alpha].map(coarse_multiplier);
        if let (Numerics::Xnnpack, [Some(positive), Some(negative)]) = (numerics, coarse) {
            return Ok(Table::new(input, output, [0, 255], |x| {
                (x * if x < 0 { negative } else { positive } + 128) >> 8
            }));
        }
        // TFLite's order of operations.
        let slope = input.scale * alpha / output.scale;
        let (identity, identity_shift) = multiplier_of_differences(ratio)?;
        let (magnitude, slope_shift) = multiplier_of_differences(slope.abs())?;
        let slope = if slope < 0.0 { -magnitude } else { magnitude };
        Ok(Table::new(input, output, [0, 255], |x| match x {
            0.. => multiply_by_quantized_multiplier(x, identity, identity_shift),
            _ => multiply_by_quantized_multiplier(x, slope, slope_shift),
        }))
    }

    /// HARD_SWISH in TFLite's 16-bit fixed point (`reference/hard_swish.h`), which XNNPACK's delegate leaves to it: the same in
    /// both numerics.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] when the input's scale is more than 128 times the output's.
    pub fn hard_swish(input: CodeQuantization, output: CodeQuantization) -> Result<Self, Error> {
        // Inputs are held with seven fractional bits: 255 * 2^7 just fits in 16 bits.
        const FRACTION: u32 = 7;
        let fine_scale = input.scale * (1.0 / (1 << FRACTION) as f32);
        let (identity, identity_shift) = multiplier_16(fine_scale / output.scale)?;
        // The gate's range: 3 in real numbers is 2^15.
        let (gate, gate_shift) = multiplier_16(fine_scale / (3.0 / 32768.0))?;
        if identity_shift > 0 {
            return Err(Error::Parameter {
                what: "scale",
                reason: format!(
                    "the input's {} is more than 128 times the output's {}",
                    input.scale, output.scale
                ),
            });
        }
        Ok(Table::new(input, output, [0, 255], |x| {
            let fine = x << FRACTION;
            let value = high_multiply_16(fine, identity);
            let mut opening = fine;
            if gate_shift > 0 {
                opening = saturate_16(i64::from(opening) << (gate_shift - 1));
            }
            opening = high_multiply_16(opening, gate);
            opening = match gate_shift {
                1.. => saturate_16(i64::from(opening) << 1),
                shift => rounding_divide_by_power_of_two(opening, -shift),
            };
            // From -1..1 to 0..1.
            let opening = (opening + (1 << 15)) >> 1;
            // Towards zero: this offsets the bias of the roundings before.
            let product = opening * value / (1 << 15);
            rounding_divide_by_power_of_two(product, -identity_shift)
        }))
    }

    /// Runs on as many codes as are given.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when the slices differ in length.
    pub fn run(
        &self,
        instruction_set: InstructionSet,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        check_length("output", output.len(), input.len())?;
        let done = instruction_set.look_up(&self.0, input, output);
        for (output, &code) in output[done..].iter_mut().zip(&input[done..]) {
            *output = self.0[usize::from(code)];
        }
        Ok(())
    }
}

/// QUANTIZE from 8 bits to 8 bits.
#[derive(Clone, Debug)]
pub struct Requantizer {
    /// For whole groups of [`GROUP`](Requantizer::GROUP) codes.
    groups: Table,
    /// For the codes after the last whole group.
    rest: Table,
}

impl Requantizer {
    /// TFLite's optimized kernel converts this many codes at once, with other roundings than the rest.
    const GROUP: usize = 16;

    /// Prepares a requantization. `same_type` tells whether the input's and output's element types are the same.
    ///
    /// The reference kernel uses 32-bit fixed point. In LiteRT's default, XNNPACK converts within an element type, with a
    /// multiplier of eight fractional bits, when it lies between 2^-8 and 2^7; TFLite's optimized kernel does the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] when the scales are too far apart.
    pub fn new(
        numerics: Numerics,
        input: CodeQuantization,
        output: CodeQuantization,
        same_type: bool,
    ) -> Result<Self, Error> {
        let ratio = f64::from(input.scale) / f64::from(output.scale);
        let (multiplier, shift) = quantize_multiplier(ratio)?;
        let table = |quanta: &dyn Fn(i32) -> i32| Table::new(input, output, [0, 255], quanta);
        let reference = table(&|x| multiply_by_quantized_multiplier(x, multiplier, shift));
        if numerics == Numerics::Reference {
            return Ok(Requantizer { groups: reference.clone(), rest: reference });
        }
        let ratio = input.scale / output.scale;
        if let (true, Some(coarse)) = (same_type, coarse_multiplier(ratio)) {
            let table = table(&|x| (x * coarse + 128) >> 8);
            return Ok(Requantizer { groups: table.clone(), rest: table });
        }
        let groups = table(&|x| multiply_rounding_up(x, multiplier, shift));
        Ok(Requantizer { groups, rest: reference })
    }

    /// Runs on as many codes as are given.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when the slices differ in length.
    pub fn run(
        &self,
        instruction_set: InstructionSet,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        check_length("output", output.len(), input.len())?;
        let whole = input.len() / Self::GROUP * Self::GROUP;
        self.groups.run(instruction_set, &input[..whole], &mut output[..whole])?;
        self.rest.run(instruction_set, &input[whole..], &mut output[whole..])
    }
}

/// A multiplier of differences of codes and their zero point, which have 8 bits and a sign.
fn multiplier_of_differences(real: f32) -> Result<(i32, i32), Error> {
    let (multiplier, shift) = quantize_multiplier(real.into())?;
    if shift > 23 {
        return Err(Error::Parameter {
            what: "scales",
            reason: format!(
                "their ratio {real} is not below 2^23, where TFLite's 32 bits overflow"
            ),
        });
    }
    Ok((multiplier, shift))
}

/// XNNPACK's multiplier of eight fractional bits, for the ratios that it takes.
fn coarse_multiplier(ratio: f32) -> Option<i32> {
    let possible = (1.0 / 256.0 - 128.0..=128.0).contains(&ratio) && ratio.abs() >= 1.0 / 256.0;
    possible.then(|| (ratio * 256.0).round_ties_even() as i32)
}

/// A multiplier with a mantissa of 15 bits.
fn multiplier_16(real: f32) -> Result<(i32, i32), Error> {
    let (mantissa, shift) = quantize_multiplier(real.into())?;
    Ok((((i64::from(mantissa) + (1 << 15)) >> 16).min(i16::MAX.into()) as i32, shift))
}

/// gemmlowp's `SaturatingRoundingDoublingHighMul` in 16 bits.
fn high_multiply_16(a: i32, b: i32) -> i32 {
    ((a * b + (1 << 14)) >> 15).min(i16::MAX.into())
}

fn saturate_16(value: i64) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn quantization(scale: f32, zero_point: u8) -> CodeQuantization {
        CodeQuantization { scale, zero_point }
    }

    /// The largest difference in quanta between a table and a real function.
    fn worst(
        table: &Table,
        input: CodeQuantization,
        output: CodeQuantization,
        function: impl Fn(f64) -> f64,
    ) -> f64 {
        let codes: [u8; 256] = core::array::from_fn(|code| code as u8);
        let mut results = [0; 256];
        table.run(InstructionSet::best(), &codes, &mut results).unwrap();
        codes.iter().zip(results).fold(0.0, |worst: f64, (&code, result)| {
            let x = f64::from(input.scale) * (f64::from(code) - f64::from(input.zero_point));
            let exact = function(x) / f64::from(output.scale) + f64::from(output.zero_point);
            worst.max((f64::from(result) - exact.clamp(0.0, 255.0)).abs())
        })
    }

    #[test]
    fn tables_are_close_to_their_functions() {
        let input = quantization(0.047, 131);
        let narrow = quantization(1.0 / 256.0, 0);
        for numerics in Numerics::ALL {
            for is_uint8 in [false, true] {
                let table = Table::logistic(numerics, input, narrow, is_uint8);
                assert!(worst(&table, input, narrow, |x| 1.0 / (1.0 + (-x).exp())) < 0.51);
            }
        }
        let output = quantization(0.031, 16);
        let swish = |x: f64| x * (x + 3.0).clamp(0.0, 6.0) / 6.0;
        let table = Table::hard_swish(input, output).unwrap();
        assert!(worst(&table, input, output, swish) < 1.6);
        let table = Table::rescale(input, output, [16, 210]).unwrap();
        let relu = |x: f64| x.clamp(0.0, 194.0 * f64::from(output.scale));
        assert!(worst(&table, input, output, relu) < 0.51);
        let scales = |ratio| Table::rescale(quantization(ratio, 9), quantization(1.0, 9), [9, 255]);
        assert!(scales(8_388_607.0).is_ok() && scales(8_388_608.0).is_err());
    }

    #[test]
    fn requantization_is_close_in_groups_and_rests() {
        let (input, output) = (quantization(0.02, 3), quantization(0.031, 77));
        for numerics in Numerics::ALL {
            for same_type in [false, true] {
                let requantizer = Requantizer::new(numerics, input, output, same_type).unwrap();
                for table in [&requantizer.groups, &requantizer.rest] {
                    assert!(worst(table, input, output, |x| x) < 1.0);
                }
            }
        }
        assert!(
            Requantizer::new(
                Numerics::Reference,
                quantization(1e30, 0),
                quantization(1e-30, 0),
                true
            )
            .is_err()
        );
    }

    #[test]
    fn slices_of_different_lengths_are_refused() {
        let unit = quantization(1.0, 0);
        let table = Table::logistic(Numerics::Xnnpack, unit, unit, true);
        assert!(table.run(InstructionSet::best(), &[0; 3], &mut [0; 4]).is_err());
    }
}
