//! MEAN over any dimensions.

use alloc::format;
use alloc::vec::Vec;

use crate::arch::Plain;
use crate::bytes;
use crate::error::check_length;
#[cfg(not(feature = "std"))]
use crate::math::Math;
use crate::requantize::{multiply_by_quantized_multiplier, quantize_multiplier};
use crate::table::CodeQuantization;
use crate::walk::{RANK, row_major, walk};
use crate::{Error, InstructionSet, Numerics};

/// A mean, prepared.
#[derive(Clone, Debug)]
pub struct Mean {
    shape: Vec<usize>,
    steps: Vec<usize>,
    /// How far the output moves for a step along each dimension of the input: zero for those averaged over.
    output_steps: Vec<usize>,
    outputs: usize,
    /// What is taken off a sum of codes: the zero points of a window, or what makes values of them.
    zero_sum: i32,
    arithmetic: Arithmetic,
    /// The code of zero in the file's element type.
    zero: i32,
    zero_point: i32,
}

#[derive(Clone, Copy, Debug)]
enum Arithmetic {
    FixedPoint {
        multiplier: i32,
        shift: i32,
    },
    /// The sum of the values as they are, times the ratio, plus what both zero points make.
    Float {
        ratio: f32,
        bias: f32,
    },
}

impl Mean {
    /// Prepares a mean of a tensor of `shape` over `axes`. `zero` is the code of zero in the file's element type, 128 for int8.
    ///
    /// TFLite's reference kernel (`QuantizedMeanOrSum`) divides the fixed-point multiplier by the count, with as many more bits as
    /// fit; XNNPACK multiplies in `f32` and adds both zero points as one bias before it rounds to nearest even.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an axis out of range, more than 2^22 elements in a mean, or scales too far apart.
    pub fn new(
        numerics: Numerics,
        shape: &[usize],
        axes: &[usize],
        input: CodeQuantization,
        output: CodeQuantization,
        zero: u8,
    ) -> Result<Self, Error> {
        let fail = |reason: &str| {
            Err(Error::Parameter {
                what: "mean",
                reason: format!("of {shape:?} over {axes:?} {reason}"),
            })
        };
        if shape.len() > RANK || shape.contains(&0) {
            return fail("has too many dimensions or an empty one");
        }
        if axes.iter().any(|&axis| axis >= shape.len()) {
            return fail("has an axis out of range");
        }
        let kept = |d: usize| !axes.contains(&d);
        let product = |keep: bool| {
            let mut lengths = (0..shape.len()).filter(|&d| kept(d) == keep).map(|d| shape[d]);
            lengths.try_fold(1usize, usize::checked_mul)
        };
        let (Some(count), Some(outputs)) = (product(false), product(true)) else {
            return fail("is too large");
        };
        if count > 1 << 22 {
            return fail("has more than 2^22 elements in a mean");
        }
        let kept_shape: Vec<usize> =
            (0..shape.len()).map(|d| if kept(d) { shape[d] } else { 1 }).collect();
        let mut output_steps = row_major(&kept_shape);
        axes.iter().for_each(|&axis| output_steps[axis] = 0);
        let arithmetic = match numerics {
            Numerics::Reference => {
                let real = f64::from(input.scale) / f64::from(output.scale);
                let (multiplier, shift) = quantize_multiplier(real)?;
                let bits = (count.ilog2() as i32).min(32).min(31 + shift);
                let multiplier = ((i64::from(multiplier) << bits) / count as i64) as i32;
                Arithmetic::FixedPoint { multiplier, shift: shift - bits }
            }
            Numerics::Xnnpack => {
                let ratio = input.scale / output.scale * (1.0 / count as f32);
                let [from, to] =
                    [input, output].map(|codes| i32::from(codes.zero_point) - i32::from(zero));
                Arithmetic::Float { ratio, bias: to as f32 - (from * count as i32) as f32 * ratio }
            }
        };
        Ok(Mean {
            steps: row_major(shape),
            shape: shape.to_vec(),
            output_steps,
            outputs,
            zero_sum: count as i32
                * match numerics {
                    Numerics::Reference => i32::from(input.zero_point),
                    Numerics::Xnnpack => zero.into(),
                },
            arithmetic,
            zero: zero.into(),
            zero_point: output.zero_point.into(),
        })
    }

    /// Bytes of working memory that [`run`](Mean::run) takes.
    pub fn scratch_bytes(&self) -> usize {
        self.outputs * size_of::<i32>()
    }

    /// Runs on codes. `scratch` is aligned for `i32` and as long as [`scratch_bytes`](Mean::scratch_bytes).
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when a slice does not fit its shape.
    pub fn run(
        &self,
        instruction_set: InstructionSet,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut [u8],
    ) -> Result<(), Error> {
        check_length("input", input.len(), self.shape.iter().product())?;
        check_length("output", output.len(), self.outputs)?;
        check_length("scratch", scratch.len(), self.scratch_bytes())?;
        let sums = bytes::from_bytes_mut::<i32>(scratch).ok_or_else(|| Error::Parameter {
            what: "scratch",
            reason: "is not aligned for i32".into(),
        })?;
        instruction_set.run_plain(Run { mean: self, input, output, sums });
        Ok(())
    }

    #[inline(always)]
    fn finish(&self, sum: i32) -> u8 {
        let code = match self.arithmetic {
            Arithmetic::FixedPoint { multiplier, shift } => {
                multiply_by_quantized_multiplier(sum, multiplier, shift)
                    .saturating_add(self.zero_point)
            }
            Arithmetic::Float { ratio, bias } => {
                // In the file's own element type: how the sum rounds in `f32` depends on its size.
                let value = sum as f32 * ratio + bias;
                (value.round_ties_even() as i32).saturating_add(self.zero)
            }
        };
        code.clamp(0, 255) as u8
    }
}

/// A mean and what it runs on.
struct Run<'a> {
    mean: &'a Mean,
    input: &'a [u8],
    output: &'a mut [u8],
    sums: &'a mut [i32],
}

impl Plain for Run<'_> {
    #[inline(always)]
    fn run(self) {
        let Run { mean, input, output, sums } = self;
        sums.fill(0);
        let outer = mean.shape.len().saturating_sub(1);
        let inner = mean.shape.get(outer).copied().unwrap_or(1);
        let is_summed = mean.output_steps.get(outer).is_none_or(|&step| step == 0);
        let steps = [&mean.steps[..outer], &mean.output_steps[..outer]];
        for [from, to] in walk(&mean.shape[..outer], steps) {
            let row = &input[from..][..inner];
            if is_summed {
                sums[to] += row.iter().map(|&code| i32::from(code)).sum::<i32>();
            } else {
                for (sum, &code) in sums[to..].iter_mut().zip(row) {
                    *sum += i32::from(code);
                }
            }
        }
        for (code, &sum) in output.iter_mut().zip(sums.iter()) {
            *code = mean.finish(sum - mean.zero_sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_axes_give_means_close_to_real_ones() {
        let shape = [2, 3, 4, 5];
        let codes: Vec<u8> = (0..120).map(|i| (i * 97 % 256) as u8).collect();
        let input = CodeQuantization { scale: 0.05, zero_point: 100 };
        let output = CodeQuantization { scale: 0.04, zero_point: 90 };
        for axes in [&[1, 2][..], &[3], &[0], &[1, 2, 3], &[0, 1, 2, 3], &[]] {
            let kept: Vec<usize> = (0..4).filter(|d| !axes.contains(d)).collect();
            for numerics in Numerics::ALL {
                let mean = Mean::new(numerics, &shape, axes, input, output, 128).unwrap();
                let mut scratch = bytes::AlignedBytes::zeroed(mean.scratch_bytes());
                let mut means = vec![0; kept.iter().map(|&d| shape[d]).product()];
                mean.run(InstructionSet::Portable, &codes, &mut means, &mut scratch).unwrap();
                let mut sums = vec![(0.0, 0); means.len()];
                for (at, &code) in codes.iter().enumerate() {
                    let index = [at / 60, at / 20 % 3, at / 5 % 4, at % 5];
                    let to = kept.iter().fold(0, |to, &d| to * shape[d] + index[d]);
                    sums[to].0 += 0.05 * (f64::from(code) - 100.0);
                    sums[to].1 += 1;
                }
                for ((sum, count), &code) in sums.into_iter().zip(&means) {
                    let exact: f64 = (sum / f64::from(count) / 0.04 + 90.0f64).clamp(0.0, 255.0);
                    // The reference rounds twice.
                    assert!(
                        (exact - f64::from(code)).abs() <= 0.75,
                        "{axes:?} {numerics} {code} {exact}"
                    );
                }
            }
        }
        assert!(Mean::new(Numerics::Xnnpack, &shape, &[4], input, output, 0).is_err());
    }
}
