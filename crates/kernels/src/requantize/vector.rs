//! Requantization of vectors of accumulators.

use super::{Arithmetic, Requantization, Requantize, with_arithmetic};
use crate::arch::{Finish, Simd};

/// The widest panel of any instruction set, in lanes.
pub(crate) const WIDEST: usize = 64;

/// A [`Requantization`] with its factors in the order of a kernel's lanes.
#[derive(Clone, Debug)]
pub(crate) struct VectorRequantization {
    pub factors: Factors,
    pub finish: Finish,
}

/// The factors of all lanes.
#[derive(Clone, Debug)]
pub(crate) enum Factors {
    Float(Vec<f32>),
    Fixed {
        mantissas: Vec<i32>,
        halves: Vec<i32>,
        shifts: Vec<i32>,
        /// No negative result survives the clamp.
        is_positive_only: bool,
    },
    /// What vectors have no instructions for, or what could leave the range in which they are exact: one by one.
    Scalar {
        requantization: Requantization,
        /// The channel of each lane; 0 for those that stand for none.
        channels: Vec<usize>,
    },
}

impl VectorRequantization {
    /// `lanes` are the channels that lanes compute, `None` for lanes without one; `bounds` the largest magnitude of each channel's accumulator.
    pub fn new(requantization: &Requantization, bounds: &[u64], lanes: &[Option<usize>]) -> Self {
        let by_lane = || lanes.iter().copied();
        let scalar = |finish| VectorRequantization {
            factors: Factors::Scalar {
                requantization: requantization.clone(),
                channels: by_lane().map(|channel| channel.unwrap_or(0)).collect(),
            },
            finish,
        };
        match &requantization.arithmetic {
            Arithmetic::Float(float, multipliers) => {
                let code = |bound: f32| (bound as i32 + float.zero_point) as u8;
                let finish =
                    Finish { zero_point: float.zero_point as i16, range: float.bounds.map(code) };
                let fits = |(&bound, &multiplier): (&u64, &f32)| {
                    bound as f32 * multiplier < 2_000_000_000.0
                };
                if !bounds.iter().zip(multipliers).all(fits) {
                    return scalar(finish);
                }
                let factor = |channel: Option<usize>| channel.map_or(0.0, |at| multipliers[at]);
                let factors = Factors::Float(by_lane().map(factor).collect());
                VectorRequantization { factors, finish }
            }
            Arithmetic::FixedPoint(fixed, multipliers) => {
                let finish = Finish {
                    zero_point: fixed.zero_point as i16,
                    range: fixed.range.map(|code| code as u8),
                };
                // A left shift, no shift, or a sum that wraps are for the scalar code.
                let fits = |(&bound, multiplier): (&u64, &super::FixedPointMultiplier)| {
                    multiplier.shift < 0
                        && multiplier.shift >= -30
                        && bound + (1 << (-multiplier.shift - 1)) < 1 << 31
                };
                if !bounds.iter().zip(multipliers).all(fits) {
                    return scalar(finish);
                }
                let of = |value: fn(&super::FixedPointMultiplier) -> i32, other: i32| {
                    by_lane().map(|lane| lane.map_or(other, |at| value(&multipliers[at]))).collect()
                };
                let factors = Factors::Fixed {
                    mantissas: of(|multiplier| multiplier.mantissa, 0),
                    halves: of(|multiplier| 1 << (-multiplier.shift - 1), 1),
                    shifts: of(|multiplier| -multiplier.shift, 1),
                    is_positive_only: fixed.range[0] >= fixed.zero_point,
                };
                VectorRequantization { factors, finish }
            }
            Arithmetic::Double(double, _) => scalar(Finish {
                zero_point: double.0.zero_point as i16,
                range: double.0.range.map(|code| code as u8),
            }),
        }
    }

    /// Bytes of the factors.
    pub fn bytes(&self) -> usize {
        match &self.factors {
            Factors::Float(factors) => size_of_val(factors.as_slice()),
            Factors::Fixed { mantissas, .. } => 3 * size_of_val(mantissas.as_slice()),
            Factors::Scalar { requantization, channels } => {
                requantization.bytes() + size_of_val(channels.as_slice())
            }
        }
    }
}

/// How sums become codes in an inner loop.
pub(crate) trait Scaler: Copy {
    /// Writes the codes of `count` sums; the first belongs to lane `lane`.
    ///
    /// # Safety
    ///
    /// The factors have lanes up to `lane + V * LANES`; `count` bytes, at most `V * LANES`, are writable at `output`.
    unsafe fn finish<S: Simd, const V: usize>(
        self,
        simd: S,
        sums: [S::Integers; V],
        lane: usize,
        output: *mut u8,
        count: usize,
    );
}

/// [`Factors::Float`].
#[derive(Clone, Copy)]
pub(crate) struct FloatScaler<'a>(pub &'a [f32], pub Finish);

impl Scaler for FloatScaler<'_> {
    #[inline(always)]
    unsafe fn finish<S: Simd, const V: usize>(
        self,
        simd: S,
        mut sums: [S::Integers; V],
        lane: usize,
        output: *mut u8,
        count: usize,
    ) {
        debug_assert!(lane + V * S::LANES <= self.0.len());
        // SAFETY: the caller's.
        unsafe {
            let factors = self.0.as_ptr().add(lane);
            for (v, sums) in sums.iter_mut().enumerate() {
                *sums = simd.scale(*sums, factors.add(v * S::LANES));
            }
            simd.store(sums, self.1, output, count);
        }
    }
}

/// [`Factors::Fixed`].
#[derive(Clone, Copy)]
pub(crate) struct FixedScaler<'a> {
    pub mantissas: &'a [i32],
    pub halves: &'a [i32],
    pub shifts: &'a [i32],
    pub is_positive_only: bool,
    pub finish: Finish,
}

impl Scaler for FixedScaler<'_> {
    #[inline(always)]
    unsafe fn finish<S: Simd, const V: usize>(
        self,
        simd: S,
        mut sums: [S::Integers; V],
        lane: usize,
        output: *mut u8,
        count: usize,
    ) {
        debug_assert!(lane + V * S::LANES <= self.mantissas.len());
        // SAFETY: the caller's.
        unsafe {
            for (v, sums) in sums.iter_mut().enumerate() {
                let at = lane + v * S::LANES;
                *sums = simd.scale_fixed(
                    *sums,
                    self.mantissas.as_ptr().add(at),
                    self.halves.as_ptr().add(at),
                    self.shifts.as_ptr().add(at),
                    self.is_positive_only,
                );
            }
            simd.store(sums, self.finish, output, count);
        }
    }
}

/// [`Factors::Scalar`].
#[derive(Clone, Copy)]
pub(crate) struct ScalarScaler<'a>(pub &'a Requantization, pub &'a [usize]);

impl Scaler for ScalarScaler<'_> {
    #[inline(always)]
    unsafe fn finish<S: Simd, const V: usize>(
        self,
        simd: S,
        sums: [S::Integers; V],
        lane: usize,
        output: *mut u8,
        count: usize,
    ) {
        let mut all = [0i32; WIDEST];
        // SAFETY: `V * LANES` is at most `WIDEST`; the output is the caller's.
        let output = unsafe {
            for (v, sums) in sums.into_iter().enumerate() {
                simd.write(sums, all.as_mut_ptr().add(v * S::LANES));
            }
            core::slice::from_raw_parts_mut(output, count)
        };
        requantize_each(self.0, &self.1[lane..][..count], &all, output);
    }
}

/// Not inlined: the one place that does not need to be fast.
#[inline(never)]
fn requantize_each(
    requantization: &Requantization,
    channels: &[usize],
    sums: &[i32],
    output: &mut [u8],
) {
    with_arithmetic!(requantization, |arithmetic, multipliers| {
        for ((code, &channel), &sum) in output.iter_mut().zip(channels).zip(sums) {
            *code = arithmetic.requantize(sum, multipliers[channel]);
        }
    });
}

/// Evaluates an expression with the [`Scaler`] of a [`VectorRequantization`], whatever its type.
macro_rules! with_scaler {
    ($requantization:expr, |$scaler:ident| $value:expr) => {{
        use $crate::requantize::vector as v;
        let requantization: &v::VectorRequantization = $requantization;
        match &requantization.factors {
            v::Factors::Float(factors) => {
                let $scaler = v::FloatScaler(factors, requantization.finish);
                $value
            }
            v::Factors::Fixed { mantissas, halves, shifts, is_positive_only } => {
                let $scaler = v::FixedScaler {
                    mantissas,
                    halves,
                    shifts,
                    is_positive_only: *is_positive_only,
                    finish: requantization.finish,
                };
                $value
            }
            v::Factors::Scalar { requantization, channels } => {
                let $scaler = v::ScalarScaler(requantization, channels);
                $value
            }
        }
    }};
}
pub(crate) use with_scaler;
