//! ADD, SUB and MUL of two operands, with broadcasting.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::arch::{Finish, Plain, Simd, Task};
use crate::error::check_length;
#[cfg(not(feature = "std"))]
use crate::math::Math;
use crate::requantize::vector::Uniform;
use crate::requantize::{
    Float, Requantize, frexp, multiply_by_quantized_multiplier, power_of_two, quantize_multiplier,
    rounding_divide_by_power_of_two, saturating_rounding_doubling_high_multiply,
};
use crate::table::CodeQuantization;
use crate::walk::{RANK, walk};
use crate::{Error, InstructionSet, Numerics};

/// How elements of the operands meet: NumPy's broadcasting, with neighbouring dimensions merged where possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Length of each dimension of the output, the innermost last; never empty.
    lengths: Vec<usize>,
    /// How far each operand moves for a step along a dimension; zero where it is repeated.
    steps: [Vec<usize>; 2],
}

impl Broadcast {
    /// Prepares the broadcast of two shapes, which are aligned at their ends.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for shapes that cannot be broadcast, are empty or too large, or have too many dimensions.
    pub fn new(a: &[usize], b: &[usize]) -> Result<Self, Error> {
        let rank = a.len().max(b.len());
        let fail = |reason: &str| Error::Parameter {
            what: "shapes",
            reason: format!("{a:?} and {b:?} {reason}"),
        };
        if rank > RANK {
            return Err(fail("have too many dimensions"));
        }
        let padded = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
        let (a_lengths, b_lengths) = (padded(a), padded(b));
        let mut lengths = a_lengths.iter().zip(&b_lengths).map(|(&x, &y)| x.max(y));
        let outputs = lengths.try_fold(1usize, |count, n| count.checked_mul(n));
        if a.contains(&0) || b.contains(&0) || outputs.is_none() {
            return Err(fail("are empty or too large"));
        }
        let mut merged: Vec<(usize, [usize; 2])> = Vec::new();
        let mut sizes = [1usize, 1];
        for (&x, &y) in a_lengths.iter().zip(&b_lengths).rev() {
            if x != y && x != 1 && y != 1 {
                return Err(fail("cannot be broadcast together"));
            }
            let length = x.max(y);
            let steps = [if x == 1 { 0 } else { sizes[0] }, if y == 1 { 0 } else { sizes[1] }];
            sizes = [sizes[0] * x, sizes[1] * y];
            if length == 1 {
                continue;
            }
            // A dimension continues the one inside of it when both operands just move on.
            match merged.last_mut() {
                Some((inner, inner_steps))
                    if (0..2).all(|i| steps[i] == inner_steps[i] * *inner) =>
                {
                    *inner *= length;
                }
                _ => merged.push((length, steps)),
            }
        }
        if merged.is_empty() {
            merged.push((1, [0, 0]));
        }
        merged.reverse();
        let steps = |i: usize| merged.iter().map(|(_, steps)| steps[i]).collect();
        let lengths = merged.iter().map(|(length, _)| *length).collect();
        Ok(Broadcast { lengths, steps: [steps(0), steps(1)] })
    }

    /// Elements of the output.
    fn len(&self) -> usize {
        self.lengths.iter().product()
    }

    /// Elements of an operand.
    fn operand_len(&self, operand: usize) -> usize {
        let repeated = |(&length, &step): (&usize, &usize)| if step == 0 { 1 } else { length };
        self.lengths.iter().zip(&self.steps[operand]).map(repeated).product()
    }

    /// Rows of the output with the operands of each, which are either rows too or one element.
    #[inline(always)]
    fn rows<'a>(
        &self,
        [a, b]: [&'a [u8]; 2],
        output: &'a mut [u8],
    ) -> impl Iterator<Item = ([&'a [u8]; 2], &'a mut [u8])> {
        let last = self.lengths.len() - 1;
        let inner = self.lengths[last];
        let lengths = [0, 1].map(|i: usize| if self.steps[i][last] == 0 { 1 } else { inner });
        let steps = [&self.steps[0][..last], &self.steps[1][..last]];
        let starts = walk(&self.lengths[..last], steps);
        starts.zip(output.chunks_exact_mut(inner)).map(move |([at_a, at_b], output)| {
            ([&a[at_a..][..lengths[0]], &b[at_b..][..lengths[1]]], output)
        })
    }

    #[inline(always)]
    fn run(&self, a: &[u8], b: &[u8], output: &mut [u8], combine: impl Fn(u8, u8) -> u8) {
        for (operands, output) in self.rows([a, b], output) {
            match operands {
                [&[a], &[b]] => output.fill(combine(a, b)),
                [&[a], b] => {
                    for (output, &b) in output.iter_mut().zip(b) {
                        *output = combine(a, b);
                    }
                }
                [a, &[b]] => {
                    for (output, &a) in output.iter_mut().zip(a) {
                        *output = combine(a, b);
                    }
                }
                [a, b] => {
                    for (output, (&a, &b)) in output.iter_mut().zip(a.iter().zip(b)) {
                        *output = combine(a, b);
                    }
                }
            }
        }
    }

    fn check(&self, a: &[u8], b: &[u8], output: &[u8]) -> Result<(), Error> {
        check_length("first operand", a.len(), self.operand_len(0))?;
        check_length("second operand", b.len(), self.operand_len(1))?;
        check_length("output", output.len(), self.len())
    }
}

/// Quantization of both operands and the output, and the activation's range of codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinaryQuantization {
    /// The operands'.
    pub inputs: [CodeQuantization; 2],
    /// The output's.
    pub output: CodeQuantization,
    /// Smallest and largest code of the output.
    pub range: [u8; 2],
}

impl BinaryQuantization {
    #[inline(always)]
    fn finish(&self, quanta: i32) -> u8 {
        let zero_point = i32::from(self.output.zero_point);
        let [least, most] = self.range.map(|code| i32::from(code) - zero_point);
        (quanta.clamp(least, most) + zero_point) as u8
    }

    fn vector_finish(&self) -> Finish {
        Finish { zero_point: self.output.zero_point.into(), range: self.range }
    }

    #[inline(always)]
    fn difference(&self, operand: usize, code: u8) -> i32 {
        i32::from(code) - i32::from(self.inputs[operand].zero_point)
    }
}

/// ADD and SUB, prepared.
#[derive(Clone, Debug)]
pub struct Addition {
    broadcast: Broadcast,
    quantization: BinaryQuantization,
    arithmetic: AdditionArithmetic,
}

#[derive(Clone, Debug)]
enum AdditionArithmetic {
    /// Each operand's codes on a common fine scale, then a fixed-point multiplier to the output's. Vectors compute the former.
    FixedPoint {
        rescaled: Box<[[i32; 256]; 2]>,
        multiplier: i32,
        shift: i32,
        vectors: Option<VectorAddition>,
    },
    /// `(bias + factors * codes) >> shift`.
    Integer { bias: i32, factors: [i32; 2], shift: u32 },
}

/// Fractional bits of the fine scale.
const FRACTION: i32 = 20;

impl Addition {
    /// Whose arithmetic computes operands and an output of these scales: XNNPACK leaves some to TFLite. The activation's
    /// range has to be rounded likewise.
    pub fn numerics(asked: Numerics, inputs: [f32; 2], output: f32) -> Numerics {
        let is_taken = |scale: f32| (1.0 / 1024.0..256.0).contains(&(scale / output));
        if inputs.into_iter().all(is_taken) { asked } else { Numerics::Reference }
    }

    /// Prepares ADD, or SUB when `subtract`.
    ///
    /// TFLite's reference kernel (`reference/integer_ops/add.h`) brings both operands to twice the larger scale with 20 fractional
    /// bits. XNNPACK multiplies both by integers of 20 to 21 bits and shifts; it takes scale ratios from 2^-10 to 2^8 and
    /// leaves others to TFLite's arithmetic, for ADD in 16-bit lanes.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an output scale so small that a quantum of input is over 2^19 of output, or that those lanes
    /// overflow.
    pub fn new(
        numerics: Numerics,
        broadcast: Broadcast,
        quantization: BinaryQuantization,
        subtract: bool,
    ) -> Result<Self, Error> {
        let [a, b] = quantization.inputs.map(|q| q.scale);
        let output = quantization.output.scale;
        let ratios = [a / output, b / output];
        let sign = if subtract { -1 } else { 1 };
        let is_delegated = Addition::numerics(numerics, [a, b], output) == Numerics::Xnnpack;
        let arithmetic = if is_delegated {
            let (_, exponent) = frexp(f64::from(ratios[0].max(ratios[1])));
            let shift = (20 - (exponent - 1)) as u32;
            let factor = |ratio: f32| {
                (f64::from(ratio) * power_of_two(shift as i32)).round_ties_even() as i32
            };
            let factors = [factor(ratios[0]), sign * factor(ratios[1])];
            let zero = |i: usize| factors[i] * i32::from(quantization.inputs[i].zero_point);
            let bias = (1 << (shift - 1)) - zero(0) - zero(1);
            AdditionArithmetic::Integer { bias, factors, shift }
        } else {
            let twice = 2.0 * a.max(b);
            let real = f64::from(twice) / f64::from((1 << FRACTION) as f32 * output);
            if real >= 1.0 {
                return Err(Error::Parameter {
                    what: "output scale",
                    reason: format!("{output} is over 2^19 times smaller than an operand's"),
                });
            }
            if numerics == Numerics::Xnnpack && !subtract {
                check_lanes(255.0 * (ratios[0] + ratios[1]))?;
            }
            let (multiplier, shift) = quantize_multiplier(real)?;
            let inputs = [
                quantize_multiplier(f64::from(a) / f64::from(twice))?,
                quantize_multiplier(f64::from(b) / f64::from(twice))?,
            ];
            let signs = [1, sign];
            let rescaled = |i: usize| -> [i32; 256] {
                let (multiplier, shift) = inputs[i];
                core::array::from_fn(|code| {
                    let fine = quantization.difference(i, code as u8) << FRACTION;
                    multiply_by_quantized_multiplier(fine, signs[i] * multiplier, shift)
                })
            };
            let vectors = VectorAddition::new(&quantization, inputs, signs, (multiplier, shift));
            let rescaled = Box::new([rescaled(0), rescaled(1)]);
            AdditionArithmetic::FixedPoint { rescaled, multiplier, shift, vectors }
        };
        Ok(Addition { broadcast, quantization, arithmetic })
    }

    /// Runs on two operands of the shapes prepared for.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when a slice does not fit its shape.
    pub fn run(
        &self,
        instruction_set: InstructionSet,
        a: &[u8],
        b: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        self.broadcast.check(a, b, output)?;
        let mut run = Run { kernel: self, inputs: [a, b], output };
        if let AdditionArithmetic::FixedPoint { vectors: Some(vectors), .. } = self.arithmetic {
            match run.by_vectors(instruction_set, &self.broadcast, vectors) {
                Ok(()) => return Ok(()),
                Err(back) => run = back,
            }
        }
        instruction_set.run_plain(run);
        Ok(())
    }
}

/// Two vectors of codes to quanta of the output.
trait Combine: Copy {
    fn combine<S: Simd>(self, simd: S, a: S::Integers, b: S::Integers) -> S::Integers;

    fn finish(&self) -> Finish;
}

/// TFLite's fixed-point addition.
#[derive(Clone, Copy, Debug)]
struct VectorAddition {
    /// From codes to fine values: a factor, and what is to be added then.
    fine: [[i32; 2]; 2],
    operands: [Uniform; 2],
    output: Uniform,
    finish: Finish,
}

impl VectorAddition {
    /// `inputs` and `output` are multipliers and shifts; `None` where vectors cannot take these.
    fn new(
        quantization: &BinaryQuantization,
        inputs: [(i32, i32); 2],
        signs: [i32; 2],
        output: (i32, i32),
    ) -> Option<Self> {
        // Exactly one half, without a shift: the same as one shift of the double.
        let doubled = inputs.map(|input| input == (1 << 30, 0));
        let operand = |i: usize| {
            let (multiplier, shift) = inputs[i];
            Uniform::new(multiplier, if doubled[i] { -1 } else { shift }, 1 << 29)
        };
        let fine = |i: usize| {
            let factor = signs[i] << (FRACTION + i32::from(doubled[i]));
            [factor, -factor * i32::from(quantization.inputs[i].zero_point)]
        };
        Some(VectorAddition {
            fine: [fine(0), fine(1)],
            operands: [operand(0)?, operand(1)?],
            output: Uniform::new(output.0, output.1, 1 << 29)?,
            finish: quantization.vector_finish(),
        })
    }
}

impl Combine for VectorAddition {
    #[inline(always)]
    fn combine<S: Simd>(self, simd: S, a: S::Integers, b: S::Integers) -> S::Integers {
        let [[fine_a, zero_a], [fine_b, zero_b]] = self.fine;
        let a = simd.add(simd.multiply(a, simd.splat(fine_a)), simd.splat(zero_a));
        let b = simd.add(simd.multiply(b, simd.splat(fine_b)), simd.splat(zero_b));
        let a = self.operands[0].scale(simd, a);
        let b = self.operands[1].scale(simd, b);
        self.output.scale(simd, simd.add(a, b))
    }

    #[inline(always)]
    fn finish(&self) -> Finish {
        self.finish
    }
}

/// A kernel and what it runs on.
struct Run<'a, K> {
    kernel: &'a K,
    inputs: [&'a [u8]; 2],
    output: &'a mut [u8],
}

impl<'a, K> Run<'a, K> {
    /// Runs in vectors, or gives itself back where there are none.
    fn by_vectors<C: Combine>(
        self,
        instruction_set: InstructionSet,
        broadcast: &'a Broadcast,
        combine: C,
    ) -> Result<(), Self> {
        let Run { kernel, inputs, output } = self;
        instruction_set
            .run(Vectors { broadcast, combine, inputs, output })
            .map_err(|Vectors { inputs, output, .. }| Run { kernel, inputs, output })
    }
}

struct Vectors<'a, C> {
    broadcast: &'a Broadcast,
    combine: C,
    inputs: [&'a [u8]; 2],
    output: &'a mut [u8],
}

impl<C: Combine> Task for Vectors<'_, C> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Vectors { broadcast, combine, inputs, output } = self;
        for ([a, b], output) in broadcast.rows(inputs, output) {
            for at in (0..output.len()).step_by(S::LANES) {
                let count = S::LANES.min(output.len() - at);
                let (a, b) = (operand(simd, a, at, count), operand(simd, b, at, count));
                let quanta = combine.combine(simd, a, b);
                let output = output[at..][..count].as_mut_ptr();
                // SAFETY: `count` bytes, at most a vector's.
                unsafe { simd.store([quanta], combine.finish(), output, count) };
            }
        }
    }
}

/// Codes of an operand from `at` on, or one code throughout.
#[inline(always)]
fn operand<S: Simd>(simd: S, codes: &[u8], at: usize, count: usize) -> S::Integers {
    if let &[code] = codes {
        return simd.splat(code.into());
    }
    let codes = &codes[at..][..count];
    if count == S::LANES {
        // SAFETY: the slice has as many codes.
        return unsafe { simd.widen(codes.as_ptr()) };
    }
    let mut some = [0; 16];
    const { assert!(S::LANES <= 16) };
    some[..count].copy_from_slice(codes);
    // SAFETY: so has the array.
    unsafe { simd.widen(some.as_ptr()) }
}

impl Plain for Run<'_, Addition> {
    #[inline(always)]
    fn run(self) {
        let Run { kernel, inputs: [a, b], output } = self;
        match &kernel.arithmetic {
            AdditionArithmetic::FixedPoint { rescaled, multiplier, shift, .. } => {
                kernel.broadcast.run(a, b, output, |a, b| {
                    let sum = rescaled[0][usize::from(a)] + rescaled[1][usize::from(b)];
                    // The multiplier is below one: `shift` is not positive.
                    let high = saturating_rounding_doubling_high_multiply(sum, *multiplier);
                    kernel.quantization.finish(rounding_divide_by_power_of_two(high, -shift))
                });
            }
            &AdditionArithmetic::Integer { bias, factors, shift } => {
                let zero_point = i32::from(kernel.quantization.output.zero_point);
                let [least, most] = kernel.quantization.range.map(i32::from);
                kernel.broadcast.run(a, b, output, |a, b| {
                    let sum = bias + factors[0] * i32::from(a) + factors[1] * i32::from(b);
                    // Ratios below 2^8 make shifts of 12 and more: the sum of two small numbers does not overflow.
                    let code = (sum >> shift) + zero_point;
                    code.clamp(least, most) as u8
                });
            }
        }
    }
}

/// MUL, prepared.
#[derive(Clone, Debug)]
pub struct Multiplication {
    broadcast: Broadcast,
    quantization: BinaryQuantization,
    arithmetic: MultiplicationArithmetic,
}

#[derive(Clone, Copy, Debug)]
enum MultiplicationArithmetic {
    FixedPoint { multiplier: i32, shift: i32, vectors: Option<VectorMultiplication> },
    Float { ratio: f32, requantization: Float },
}

/// Refuses what TFLite's vector code, which LiteRT's default falls back to, computes modulo 2^16: results that are none.
fn check_lanes(quanta: f32) -> Result<(), Error> {
    let largest = f32::from(i16::MAX) - 255.0;
    if quanta <= largest {
        return Ok(());
    }
    Err(Error::Parameter {
        what: "output scale",
        reason: format!(
            "a result can be {quanta} quanta, and LiteRT's default overflows beyond {largest}; the reference numerics computes it"
        ),
    })
}

impl Multiplication {
    /// Whose arithmetic computes operands and an output of these scales, as [`Addition::numerics`].
    pub fn numerics(asked: Numerics, inputs: [f32; 2], output: f32) -> Numerics {
        let ratio = inputs[0] * inputs[1] / output;
        if (1.0 / 65536.0..256.0).contains(&ratio) { asked } else { Numerics::Reference }
    }

    /// Prepares MUL.
    ///
    /// TFLite's reference kernel requantizes the product in fixed point, XNNPACK in `f32`; the latter takes ratios
    /// `a * b / output` of the scales from 2^-16 to 2^8 and leaves others to TFLite's arithmetic, there in 16-bit lanes.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] when the scales are so far apart that TFLite's arithmetic overflows.
    pub fn new(
        numerics: Numerics,
        broadcast: Broadcast,
        quantization: BinaryQuantization,
    ) -> Result<Self, Error> {
        let [a, b] = quantization.inputs.map(|q| q.scale);
        let output = quantization.output.scale;
        let ratio = a * b / output;
        let is_delegated = Multiplication::numerics(numerics, [a, b], output) == Numerics::Xnnpack;
        let arithmetic = if is_delegated {
            let requantization = Float::new(quantization.output.zero_point, quantization.range);
            MultiplicationArithmetic::Float { ratio, requantization }
        } else {
            if numerics == Numerics::Xnnpack {
                check_lanes(255.0 * 255.0 * ratio)?;
            }
            let (multiplier, shift) = quantize_multiplier(ratio.into())?;
            // Products have 16 bits and a sign.
            if shift > 15 {
                return Err(Error::Parameter {
                    what: "scales",
                    reason: format!(
                        "{a} * {b} / {output} is not below 2^15, where TFLite's 32 bits overflow"
                    ),
                });
            }
            let vectors = Uniform::new(multiplier, shift, 1 << 17).map(|scale| {
                let zero = |i: usize| -i32::from(quantization.inputs[i].zero_point);
                let finish = quantization.vector_finish();
                VectorMultiplication { zeros: [zero(0), zero(1)], scale, finish }
            });
            MultiplicationArithmetic::FixedPoint { multiplier, shift, vectors }
        };
        Ok(Multiplication { broadcast, quantization, arithmetic })
    }

    /// Runs on two operands of the shapes prepared for.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when a slice does not fit its shape.
    pub fn run(
        &self,
        instruction_set: InstructionSet,
        a: &[u8],
        b: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        self.broadcast.check(a, b, output)?;
        let mut run = Run { kernel: self, inputs: [a, b], output };
        if let MultiplicationArithmetic::FixedPoint { vectors: Some(vectors), .. } = self.arithmetic
        {
            match run.by_vectors(instruction_set, &self.broadcast, vectors) {
                Ok(()) => return Ok(()),
                Err(back) => run = back,
            }
        }
        instruction_set.run_plain(run);
        Ok(())
    }
}

/// TFLite's fixed-point multiplication.
#[derive(Clone, Copy, Debug)]
struct VectorMultiplication {
    /// What makes differences of codes.
    zeros: [i32; 2],
    scale: Uniform,
    finish: Finish,
}

impl Combine for VectorMultiplication {
    #[inline(always)]
    fn combine<S: Simd>(self, simd: S, a: S::Integers, b: S::Integers) -> S::Integers {
        let a = simd.add(a, simd.splat(self.zeros[0]));
        let b = simd.add(b, simd.splat(self.zeros[1]));
        self.scale.scale(simd, simd.multiply(a, b))
    }

    #[inline(always)]
    fn finish(&self) -> Finish {
        self.finish
    }
}

impl Plain for Run<'_, Multiplication> {
    #[inline(always)]
    fn run(self) {
        let Run { kernel, inputs: [a, b], output } = self;
        let q = &kernel.quantization;
        let product = |a: u8, b: u8| q.difference(0, a) * q.difference(1, b);
        match kernel.arithmetic {
            MultiplicationArithmetic::FixedPoint { multiplier, shift, .. } => {
                kernel.broadcast.run(a, b, output, |a, b| {
                    q.finish(multiply_by_quantized_multiplier(product(a, b), multiplier, shift))
                });
            }
            MultiplicationArithmetic::Float { ratio, requantization } => {
                kernel
                    .broadcast
                    .run(a, b, output, |a, b| requantization.requantize(product(a, b), ratio));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantization(scales: [f32; 3], zero_points: [u8; 3]) -> BinaryQuantization {
        let at = |i: usize| CodeQuantization { scale: scales[i], zero_point: zero_points[i] };
        BinaryQuantization { inputs: [at(0), at(1)], output: at(2), range: [2, 253] }
    }

    #[test]
    fn broadcasts_merge_what_is_contiguous() {
        let same = Broadcast::new(&[2, 3, 4], &[2, 3, 4]).unwrap();
        assert_eq!((same.lengths.as_slice(), same.len()), (&[24][..], 24));
        let gate = Broadcast::new(&[2, 3, 3, 4], &[2, 1, 1, 4]).unwrap();
        assert_eq!(gate.lengths, [2, 9, 4]);
        assert_eq!(gate.steps, [vec![36, 4, 1], vec![4, 0, 1]]);
        let scalar = Broadcast::new(&[5, 6], &[]).unwrap();
        assert_eq!(scalar.steps, [vec![1], vec![0]]);
        for (a, b) in [
            (&[2][..], &[3][..]),
            (&[0, 4], &[4]),
            (&[1], &[0]),
            (&[1; 9], &[1]),
            (&[usize::MAX, 2], &[1]),
        ] {
            assert!(Broadcast::new(a, b).is_err(), "{a:?} {b:?}");
        }
    }

    #[test]
    fn scales_that_overflow_tflite_are_refused() {
        let broadcast = || Broadcast::new(&[1], &[1]).unwrap();
        let addition = |numerics, scales, subtract| {
            Addition::new(numerics, broadcast(), quantization(scales, [0; 3]), subtract).is_ok()
        };
        let add = |numerics, scales| addition(numerics, scales, false);
        let mul = |numerics, scales| {
            Multiplication::new(numerics, broadcast(), quantization(scales, [0; 3])).is_ok()
        };
        let both = Numerics::ALL;
        // Within XNNPACK's ratios, below them, above them, and beyond everything.
        assert_eq!(both.map(|n| add(n, [255.0, 255.0, 1.0])), [true, true]);
        assert_eq!(both.map(|n| add(n, [1e-4, 1e-3, 1.0])), [true, true]);
        assert_eq!(both.map(|n| add(n, [256.0, 1.0, 1.0])), [false, true]);
        assert_eq!(both.map(|n| addition(n, [256.0, 1.0, 1.0], true)), [true, true]);
        assert_eq!(both.map(|n| add(n, [1e6, 1.0, 1.0])), [false, false]);
        assert_eq!(both.map(|n| mul(n, [255.0, 1.0, 1.0])), [true, true]);
        assert_eq!(both.map(|n| mul(n, [1e-4, 1e-3, 1.0])), [true, true]);
        assert_eq!(both.map(|n| mul(n, [256.0, 1.0, 1.0])), [false, true]);
        assert_eq!(both.map(|n| mul(n, [32767.0, 1.0, 1.0])), [false, true]);
        assert_eq!(both.map(|n| mul(n, [32768.0, 1.0, 1.0])), [false, false]);
    }

    #[test]
    fn broadcasts_meet_the_right_elements() {
        let broadcast = Broadcast::new(&[2, 1, 3], &[4, 1]).unwrap();
        let (a, b) = ([0, 1, 2, 3, 4, 5], [0, 10, 20, 30]);
        let mut output = [0; 24];
        broadcast.run(&a, &b, &mut output, |a, b| a + b);
        for (at, &value) in output.iter().enumerate() {
            let (i, j, k) = (at / 12, at / 3 % 4, at % 3);
            assert_eq!(usize::from(value), i * 3 + k + 10 * j);
        }
    }

    #[test]
    fn all_pairs_are_close_to_real_arithmetic() {
        let cases = [
            ([0.02, 0.03, 0.04], [128, 3, 100]),
            ([0.5, 0.001, 0.4], [0, 255, 128]),
            ([0.003, 0.003, 0.9], [255, 0, 7]),
        ];
        // Miri takes some of them.
        let step = if cfg!(miri) { 509 } else { 1 };
        let pairs = (0..=u16::MAX).step_by(step);
        let (a, b): (Vec<u8>, Vec<u8>) = pairs.map(|pair| ((pair >> 8) as u8, pair as u8)).unzip();
        let mut output = vec![0; a.len()];
        for (scales, zero_points) in cases {
            let q = quantization(scales, zero_points);
            let broadcast = Broadcast::new(&[a.len()], &[a.len()]).unwrap();
            for numerics in Numerics::ALL {
                for operation in ["add", "sub", "mul"] {
                    match operation {
                        "mul" => Multiplication::new(numerics, broadcast.clone(), q)
                            .unwrap()
                            .run(InstructionSet::best(), &a, &b, &mut output)
                            .unwrap(),
                        _ => Addition::new(numerics, broadcast.clone(), q, operation == "sub")
                            .unwrap()
                            .run(InstructionSet::best(), &a, &b, &mut output)
                            .unwrap(),
                    }
                    for ((&a, &b), &code) in a.iter().zip(&b).zip(&output) {
                        let real = |i: usize, code: u8| {
                            f64::from(scales[i])
                                * f64::from(i32::from(code) - i32::from(zero_points[i]))
                        };
                        let (x, y) = (real(0, a), real(1, b));
                        let exact = match operation {
                            "add" => x + y,
                            "sub" => x - y,
                            _ => x * y,
                        };
                        let exact = exact / f64::from(scales[2]) + f64::from(zero_points[2]);
                        let difference = (f64::from(code) - exact.clamp(2.0, 253.0)).abs();
                        assert!(
                            difference < 0.51,
                            "{operation} {numerics} {a} {b}: {code}, {exact}"
                        );
                    }
                }
            }
        }
    }
}
