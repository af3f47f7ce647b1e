//! Requantization of vectors of accumulators.

use alloc::vec::Vec;

use super::{Arithmetic, Requantization, Requantize, with_arithmetic};
use crate::arch::{BIAS, Finish, Simd};

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
    /// For [`Simd::scale_biased`], where no negative result survives the clamp: the factors, and -2^23 times each.
    Biased(Vec<f32>, Vec<f32>),
    /// For [`Simd::scale_fixed`]: mantissas, halves and shifts.
    Fixed([Vec<i32>; 3]),
    /// The same for [`Simd::scale_fixed_positive`].
    FixedPositive([Vec<i32>; 3]),
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
                let factors: Vec<f32> = by_lane().map(factor).collect();
                let is_positive = float.bounds[0] >= 0.0;
                let factors = if is_positive && bounds.iter().all(|&bound| bound < 1 << 23) {
                    let offsets = factors.iter().map(|factor| -8_388_608.0 * factor).collect();
                    Factors::Biased(factors, offsets)
                } else {
                    Factors::Float(factors)
                };
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
                // Where negative results do not survive the clamp, one shift does, if it goes far enough.
                let is_positive = fixed.range[0] >= fixed.zero_point
                    && multipliers.iter().all(|multiplier| multiplier.shift <= -2);
                let mantissas = of(|multiplier| multiplier.mantissa, 0);
                let factors = if is_positive {
                    let halves = of(|multiplier| 1 << (-multiplier.shift - 2), 1);
                    let shifts = of(|multiplier| -multiplier.shift - 1, 1);
                    Factors::FixedPositive([mantissas, halves, shifts])
                } else {
                    let halves = of(|multiplier| 1 << (-multiplier.shift - 1), 1);
                    Factors::Fixed([mantissas, halves, of(|multiplier| -multiplier.shift, 1)])
                };
                VectorRequantization { factors, finish }
            }
            Arithmetic::Double(double, _) => scalar(Finish {
                zero_point: double.0.zero_point as i16,
                range: double.0.range.map(|code| code as u8),
            }),
        }
    }

    /// What is to be added to each bias.
    pub fn bias(&self) -> i32 {
        if matches!(self.factors, Factors::Biased(..)) { BIAS } else { 0 }
    }

    /// Bytes of the factors.
    pub fn bytes(&self) -> usize {
        match &self.factors {
            Factors::Float(factors) => size_of_val(factors.as_slice()),
            Factors::Biased(factors, _) => 2 * size_of_val(factors.as_slice()),
            Factors::Fixed([mantissas, ..]) | Factors::FixedPositive([mantissas, ..]) => {
                3 * size_of_val(mantissas.as_slice())
            }
            Factors::Scalar { requantization, channels } => {
                requantization.bytes() + size_of_val(channels.as_slice())
            }
        }
    }
}

/// Sums of vectors, a row of them for each output address.
pub(crate) type Sums<S, const P: usize, const V: usize> = [[<S as Simd>::Integers; V]; P];

/// How sums become codes in an inner loop.
pub(crate) trait Scaler: Copy {
    /// Writes the codes of `count` sums to each output; the first belongs to lane `lane`.
    ///
    /// # Safety
    ///
    /// The factors have lanes up to `lane + V * LANES`; `count` bytes, at most `V * LANES`, are writable at each output.
    unsafe fn finish<S: Simd, const P: usize, const V: usize>(
        self,
        simd: S,
        sums: Sums<S, P, V>,
        lane: usize,
        outputs: [*mut u8; P],
        count: usize,
    );
}

/// How a vector of sums is scaled. (A trait and no closures: those do not get the instruction set of where they stand.)
pub(crate) trait Scale: Copy {
    /// Scales the sums of the lanes from `lane` on.
    ///
    /// # Safety
    ///
    /// There are factors up to `lane + LANES`.
    unsafe fn scale<S: Simd>(self, simd: S, sums: S::Integers, lane: usize) -> S::Integers;

    /// What is left to do.
    fn rest(self) -> Finish;
}

/// Does something for each row. Spelled out, because in a loop that the compiler leaves a loop, the rows go through memory.
macro_rules! for_each_row {
    ($rows:expr, |$at:ident| $do:expr) => {
        for_each_row!($rows, |$at| $do, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    ($rows:expr, |$at:ident| $do:expr, $($index:literal)*) => {
        const { assert!($rows <= 12) };
        $(if $index < $rows {
            let $at: usize = $index;
            $do
        })*
    };
}

impl<T: Scale> Scaler for T {
    #[inline(always)]
    unsafe fn finish<S: Simd, const P: usize, const V: usize>(
        self,
        simd: S,
        mut sums: Sums<S, P, V>,
        lane: usize,
        outputs: [*mut u8; P],
        count: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            // All before anything is written: then factors are loaded once for all rows.
            for_each_row!(P, |p| {
                for (v, sum) in sums[p].iter_mut().enumerate() {
                    *sum = self.scale(simd, *sum, lane + v * S::LANES);
                }
            });
            if P == 2 && 2 * V == S::VECTORS {
                let outputs = [outputs[0], outputs[1 % P]];
                simd.store_two([sums[0], sums[1 % P]], self.rest(), outputs, count);
                return;
            }
            for_each_row!(P, |p| simd.store(sums[p], self.rest(), outputs[p], count));
        }
    }
}

/// [`Factors::Float`].
#[derive(Clone, Copy)]
pub(crate) struct FloatScaler<'a>(pub &'a [f32], pub Finish);

impl Scale for FloatScaler<'_> {
    #[inline(always)]
    unsafe fn scale<S: Simd>(self, simd: S, sums: S::Integers, lane: usize) -> S::Integers {
        debug_assert!(lane + S::LANES <= self.0.len());
        // SAFETY: the caller's.
        unsafe { simd.scale(sums, simd.load(self.0.as_ptr().add(lane))) }
    }

    #[inline(always)]
    fn rest(self) -> Finish {
        self.1
    }
}

/// [`Factors::Biased`].
#[derive(Clone, Copy)]
pub(crate) struct BiasedScaler<'a>(pub [&'a [f32]; 2], pub Finish);

impl Scale for BiasedScaler<'_> {
    #[inline(always)]
    unsafe fn scale<S: Simd>(self, simd: S, sums: S::Integers, lane: usize) -> S::Integers {
        debug_assert!(lane + S::LANES <= self.0[0].len());
        // SAFETY: the caller's.
        unsafe {
            let factors = simd.load(self.0[0].as_ptr().add(lane));
            simd.scale_biased(sums, factors, simd.load(self.0[1].as_ptr().add(lane)))
        }
    }

    #[inline(always)]
    fn rest(self) -> Finish {
        self.1
    }
}

/// [`Factors::Fixed`], or [`Factors::FixedPositive`].
#[derive(Clone, Copy)]
pub(crate) struct FixedScaler<'a, const POSITIVE: bool>(pub &'a [Vec<i32>; 3], pub Finish);

impl<const POSITIVE: bool> Scale for FixedScaler<'_, POSITIVE> {
    #[inline(always)]
    unsafe fn scale<S: Simd>(self, simd: S, sums: S::Integers, lane: usize) -> S::Integers {
        debug_assert!(lane + S::LANES <= self.0[0].len());
        // SAFETY: the caller's.
        unsafe {
            let mantissas = simd.load(self.0[0].as_ptr().add(lane));
            let halves = simd.load(self.0[1].as_ptr().add(lane));
            let shifts = simd.load(self.0[2].as_ptr().add(lane));
            match POSITIVE {
                true => simd.scale_fixed_positive(sums, mantissas, halves, shifts),
                false => simd.scale_fixed(sums, mantissas, halves, shifts),
            }
        }
    }

    #[inline(always)]
    fn rest(self) -> Finish {
        self.1
    }
}

/// [`Factors::Scalar`].
#[derive(Clone, Copy)]
pub(crate) struct ScalarScaler<'a>(pub &'a Requantization, pub &'a [usize]);

impl Scaler for ScalarScaler<'_> {
    #[inline(always)]
    unsafe fn finish<S: Simd, const P: usize, const V: usize>(
        self,
        simd: S,
        sums: Sums<S, P, V>,
        lane: usize,
        outputs: [*mut u8; P],
        count: usize,
    ) {
        for (sums, output) in sums.into_iter().zip(outputs) {
            let mut all = [0i32; WIDEST];
            // SAFETY: `V * LANES` is at most `WIDEST`; the output is the caller's.
            let output = unsafe {
                for (v, sums) in sums.into_iter().enumerate() {
                    simd.write(sums, all.as_mut_ptr().add(v * S::LANES));
                }
                core::slice::from_raw_parts_mut(output, count)
            };
            let channels = &self.1[lane..][..count];
            requantize_each(self.0, channels, &all, output);
        }
    }
}

/// One multiplier for all lanes, for [`Simd::scale_fixed`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uniform {
    mantissa: i32,
    shift: i32,
}

impl Uniform {
    /// `None` where the shift is none that vectors take, or where values up to `bound` could overflow.
    pub fn new(mantissa: i32, shift: i32, bound: u64) -> Option<Self> {
        let fits = (-30..0).contains(&shift) && bound + (1 << (-shift - 1)) < 1 << 31;
        fits.then_some(Uniform { mantissa, shift: -shift })
    }

    /// Scales a vector.
    #[inline(always)]
    pub fn scale<S: Simd>(self, simd: S, values: S::Integers) -> S::Integers {
        let half = simd.splat(1 << (self.shift - 1));
        simd.scale_fixed(values, simd.splat(self.mantissa), half, simd.splat(self.shift))
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
            v::Factors::Biased(factors, offsets) => {
                let $scaler = v::BiasedScaler([factors, offsets], requantization.finish);
                $value
            }
            v::Factors::Fixed(factors) => {
                let $scaler = v::FixedScaler::<false>(factors, requantization.finish);
                $value
            }
            v::Factors::FixedPositive(factors) => {
                let $scaler = v::FixedScaler::<true>(factors, requantization.finish);
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
