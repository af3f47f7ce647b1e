//! How the ARM instruction sets multiply.

use core::arch::aarch64::*;
use core::arch::asm;
#[cfg(feature = "std")]
use std::arch::is_aarch64_feature_detected;

use super::vectors::Neon;
use crate::arch::{Code, Task};

/// Dot products of four bytes in each of eight lanes.
pub(crate) trait Products: Copy + 'static {
    /// See [`Simd::Code`](crate::arch::Simd::Code).
    type Code: Code;
    /// See [`Simd::WEIGHTS`](crate::arch::Simd::WEIGHTS).
    const WEIGHTS: [i16; 2] = [-128, 127];

    /// Whether the CPU has the instructions.
    fn is_available() -> bool;

    /// Runs a task compiled for them.
    ///
    /// # Safety
    ///
    /// They are available.
    unsafe fn vectorized<T: Task>(simd: Neon<Self>, task: T);

    /// See [`Simd::dot`](crate::arch::Simd::dot).
    ///
    /// # Safety
    ///
    /// The instructions are available.
    unsafe fn dot(sums: int32x4x2_t, codes: int32x4x2_t, weights: int32x4x2_t) -> int32x4x2_t;

    /// [`Simd::dot_many`](crate::arch::Simd::dot_many) for a tile: some pixels at a time, as many as the registers hold with all that is
    /// multiplied.
    ///
    /// # Safety
    ///
    /// As there, and as for [`dot`](Products::dot).
    unsafe fn dot_many<const P: usize, const V: usize>(
        sums: &mut [[int32x4x2_t; V]; P],
        codes: *const u8,
        pixel: usize,
        weights: *const u8,
        groups: usize,
    ) -> usize;

    /// The same for `N` pixels at once.
    ///
    /// # Safety
    ///
    /// As for [`dot_many`](Products::dot_many).
    unsafe fn pass<const N: usize, const V: usize>(
        sums: &mut [[int32x4x2_t; V]; N],
        codes: *const u8,
        pixel: usize,
        weights: *const u8,
        groups: usize,
    ) -> usize;

    /// Codes as the products take them.
    fn codes(codes: uint8x16_t) -> uint8x16_t;

    /// A group of codes in each lane.
    ///
    /// # Safety
    ///
    /// Four codes are readable.
    #[inline(always)]
    unsafe fn broadcast(codes: *const u8) -> int32x4x2_t {
        // SAFETY: the caller's.
        let group = unsafe { vdupq_n_s32(codes.cast::<i32>().read_unaligned()) };
        int32x4x2_t(group, group)
    }

    /// From groups beside each other to the order of the products.
    #[inline(always)]
    fn arrange_codes(codes: int32x4x2_t) -> int32x4x2_t {
        codes
    }

    /// The same for the weights of whole vectors.
    fn arrange_weights(_weights: &mut [u8]) {}
}

/// Codes less 128, as signed bytes.
#[inline(always)]
fn signed(codes: uint8x16_t) -> uint8x16_t {
    // SAFETY: NEON.
    unsafe { veorq_u8(codes, vdupq_n_u8(0x80)) }
}

/// NEON alone: two products of bytes fit in 16 bits, and are added in pairs to the sums.
///
/// In registers the first two codes of all lanes' groups come before the last two, and so do weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes;

impl Products for Bytes {
    type Code = i8;
    // -128 * -128 twice is 2^15.
    const WEIGHTS: [i16; 2] = [-127, 127];

    fn is_available() -> bool {
        true
    }

    #[inline(always)]
    unsafe fn vectorized<T: Task>(simd: Neon<Self>, task: T) {
        #[target_feature(enable = "neon")]
        fn run<T: Task>(simd: Neon<Bytes>, task: T) {
            task.run(simd);
        }
        // SAFETY: the caller's.
        unsafe { run(simd, task) }
    }

    #[inline(always)]
    unsafe fn dot(sums: int32x4x2_t, codes: int32x4x2_t, weights: int32x4x2_t) -> int32x4x2_t {
        // SAFETY: NEON.
        unsafe {
            let [c0, c1, w0, w1] =
                [codes.0, codes.1, weights.0, weights.1].map(|v| vreinterpretq_s8_s32(v));
            let low = vmull_s8(vget_low_s8(c0), vget_low_s8(w0));
            let low = vmlal_s8(low, vget_low_s8(c1), vget_low_s8(w1));
            let high = vmlal_high_s8(vmull_high_s8(c0, w0), c1, w1);
            int32x4x2_t(vpadalq_s16(sums.0, low), vpadalq_s16(sums.1, high))
        }
    }

    #[inline(always)]
    unsafe fn dot_many<const P: usize, const V: usize>(
        sums: &mut [[int32x4x2_t; V]; P],
        codes: *const u8,
        pixel: usize,
        weights: *const u8,
        groups: usize,
    ) -> usize {
        // SAFETY: the caller's.
        unsafe {
            match V {
                1 => passes::<Self, P, V, 6>(sums, codes, pixel, weights, groups),
                _ => passes::<Self, P, V, 3>(sums, codes, pixel, weights, groups),
            }
        }
    }

    #[inline(always)]
    unsafe fn pass<const N: usize, const V: usize>(
        sums: &mut [[int32x4x2_t; V]; N],
        codes: *const u8,
        pixel: usize,
        weights: *const u8,
        groups: usize,
    ) -> usize {
        for group in 0..groups {
            // SAFETY: the caller's.
            unsafe {
                let weights: [int32x4x2_t; V] = core::array::from_fn(|v| {
                    let weights = weights.add(32 * (group * V + v));
                    int32x4x2_t(load(weights), load(weights.add(16)))
                });
                for (p, sums) in sums.iter_mut().enumerate() {
                    let codes = Self::broadcast(codes.add(p * pixel + 4 * group));
                    for (sum, &weights) in sums.iter_mut().zip(&weights) {
                        *sum = Self::dot(*sum, codes, weights);
                    }
                }
            }
        }
        groups
    }

    #[inline(always)]
    fn codes(codes: uint8x16_t) -> uint8x16_t {
        signed(codes)
    }

    #[inline(always)]
    unsafe fn broadcast(codes: *const u8) -> int32x4x2_t {
        let pairs = codes.cast::<i16>();
        // SAFETY: the caller's.
        unsafe {
            let [first, last] =
                [pairs, pairs.add(1)].map(|pair| vdupq_n_s16(pair.read_unaligned()));
            int32x4x2_t(vreinterpretq_s32_s16(first), vreinterpretq_s32_s16(last))
        }
    }

    #[inline(always)]
    fn arrange_codes(codes: int32x4x2_t) -> int32x4x2_t {
        // SAFETY: NEON.
        unsafe {
            let [a, b] = [codes.0, codes.1].map(|v| vreinterpretq_s16_s32(v));
            let (first, last) = (vuzp1q_s16(a, b), vuzp2q_s16(a, b));
            int32x4x2_t(vreinterpretq_s32_s16(first), vreinterpretq_s32_s16(last))
        }
    }

    fn arrange_weights(weights: &mut [u8]) {
        for vector in weights.chunks_exact_mut(32) {
            let mut arranged = [0; 32];
            for (lane, group) in vector.chunks_exact(4).enumerate() {
                arranged[2 * lane..][..2].copy_from_slice(&group[..2]);
                arranged[16 + 2 * lane..][..2].copy_from_slice(&group[2..]);
            }
            vector.copy_from_slice(&arranged);
        }
    }
}

/// [`Products::pass`] for `N` pixels after `N` others, and one by one for the rest.
///
/// # Safety
///
/// As for [`Products::dot_many`].
#[inline(always)]
unsafe fn passes<D: Products, const P: usize, const V: usize, const N: usize>(
    sums: &mut [[int32x4x2_t; V]; P],
    mut codes: *const u8,
    pixel: usize,
    weights: *const u8,
    groups: usize,
) -> usize {
    let mut done = 0;
    let (passes, rest) = sums.as_chunks_mut::<N>();
    // SAFETY: the caller's.
    unsafe {
        for sums in passes {
            // A copy of their own is in registers.
            let mut own = *sums;
            done = D::pass(&mut own, codes, pixel, weights, groups);
            *sums = own;
            codes = codes.add(N * pixel);
        }
        for sums in rest {
            let mut own = [*sums];
            done = D::pass(&mut own, codes, pixel, weights, groups);
            [*sums] = own;
            codes = codes.add(pixel);
        }
    }
    done
}

/// Defines functions for instructions without stable intrinsics.
macro_rules! instructions {
    ($($(#[$doc:meta])* $name:ident $(::<$at:ident>)?: $text:literal;)*) => {
        $($(#[$doc])*
        ///
        /// # Safety
        ///
        /// The CPU has the instruction, and so has what this is inlined into.
        #[inline(always)]
        unsafe fn $name$(<const $at: usize>)?(
            mut sums: int32x4_t,
            a: int32x4_t,
            b: int32x4_t,
        ) -> int32x4_t {
            // SAFETY: the caller's; registers in, a register out.
            unsafe {
                asm!(
                    $text,
                    $(at = const $at,)?
                    s = inout(vreg) sums,
                    a = in(vreg) a,
                    b = in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            sums
        })*
    };
}

instructions! {
    /// Signed bytes by signed bytes.
    sdot: "sdot {s:v}.4s, {a:v}.16b, {b:v}.16b";
    /// Signed bytes by one group of signed bytes.
    sdot_group::<AT>: "sdot {s:v}.4s, {a:v}.16b, {b:v}.4b[{at}]";
    /// Unsigned bytes by signed bytes.
    usdot: "usdot {s:v}.4s, {a:v}.16b, {b:v}.16b";
    /// Two rows of eight unsigned bytes by two of signed ones: four sums.
    usmmla: "usmmla {s:v}.4s, {a:v}.16b, {b:v}.16b";
    /// Signed bytes by one group of unsigned bytes.
    sudot_group::<AT>: "sudot {s:v}.4s, {a:v}.16b, {b:v}.4b[{at}]";
}

/// Products by groups of a register: nothing is broadcast.
trait Groups: Products {
    /// Adds the products of weights and group `AT` of the codes.
    ///
    /// # Safety
    ///
    /// The instructions are available.
    unsafe fn dot_group<const AT: usize>(
        sums: int32x4_t,
        weights: int32x4_t,
        codes: int32x4_t,
    ) -> int32x4_t;
}

/// [`Products::pass`] in fours of groups.
///
/// # Safety
///
/// As there.
#[inline(always)]
unsafe fn fours<G: Groups, const P: usize, const V: usize>(
    sums: &mut [[int32x4x2_t; V]; P],
    codes: *const u8,
    pixel: usize,
    weights: *const u8,
    groups: usize,
) -> usize {
    // SAFETY: the caller's.
    unsafe {
        for block in 0..groups / 4 {
            let rows: [int32x4_t; P] =
                core::array::from_fn(|p| load(codes.add(p * pixel + 16 * block)));
            let weights = weights.add(128 * V * block);
            one_of_four::<G, 0, P, V>(sums, &rows, weights);
            one_of_four::<G, 1, P, V>(sums, &rows, weights);
            one_of_four::<G, 2, P, V>(sums, &rows, weights);
            one_of_four::<G, 3, P, V>(sums, &rows, weights);
        }
    }
    groups / 4 * 4
}

/// Group `AT` of four.
///
/// # Safety
///
/// As for [`fours`].
#[inline(always)]
unsafe fn one_of_four<G: Groups, const AT: usize, const P: usize, const V: usize>(
    sums: &mut [[int32x4x2_t; V]; P],
    rows: &[int32x4_t; P],
    weights: *const u8,
) {
    for v in 0..V {
        // SAFETY: the caller's.
        unsafe {
            let weights = weights.add(32 * (AT * V + v));
            let (low, high) = (load(weights), load(weights.add(16)));
            for (sums, &row) in sums.iter_mut().zip(rows) {
                sums[v].0 = G::dot_group::<AT>(sums[v].0, low, row);
                sums[v].1 = G::dot_group::<AT>(sums[v].1, high, row);
            }
        }
    }
}

/// [`Products::pass`] in pairs of groups, by products of two pixels and two channels.
///
/// # Safety
///
/// As there, for [`Unsigned`].
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "a column of the sums at a time")]
unsafe fn squares<const V: usize>(
    sums: &mut [[int32x4x2_t; V]; 6],
    codes: *const u8,
    pixel: usize,
    weights: *const u8,
    groups: usize,
) -> usize {
    // A vector at a time: its squares, and what they are made of, are what the registers hold.
    for v in 0..V {
        // SAFETY: the caller's.
        unsafe {
            // For each two pixels and half of the vector: the sums of two channels, and of the next two.
            let mut squares: [[[int32x4_t; 2]; 2]; 3] = core::array::from_fn(|pair| {
                let (a, b) = (sums[2 * pair][v], sums[2 * pair + 1][v]);
                [zip_halves(a.0, b.0), zip_halves(a.1, b.1)]
            });
            for block in 0..groups / 2 {
                let rows: [int32x4_t; 3] = core::array::from_fn(|pair| {
                    let codes = codes.add(2 * pair * pixel + 8 * block);
                    let (a, b) = (vld1_u8(codes), vld1_u8(codes.add(pixel)));
                    vreinterpretq_s32_u8(vcombine_u8(a, b))
                });
                let weights = weights.add(32 * (2 * V * block + v));
                for half in 0..2 {
                    let first = weights.add(16 * half);
                    let (first, second) = (load(first), load(first.add(32 * V)));
                    let channels = [vzip1q_s32(first, second), vzip2q_s32(first, second)];
                    for (squares, &rows) in squares.iter_mut().zip(&rows) {
                        let squares = &mut squares[half];
                        squares[0] = usmmla(squares[0], rows, channels[0]);
                        squares[1] = usmmla(squares[1], rows, channels[1]);
                    }
                }
            }
            for (pair, &[low, high]) in squares.iter().enumerate() {
                let (low, high) = (zip_halves(low[0], low[1]), zip_halves(high[0], high[1]));
                sums[2 * pair][v] = int32x4x2_t(low[0], high[0]);
                sums[2 * pair + 1][v] = int32x4x2_t(low[1], high[1]);
            }
        }
    }
    groups / 2 * 2
}

/// The first halves of two registers, and the second halves.
#[inline(always)]
fn zip_halves(a: int32x4_t, b: int32x4_t) -> [int32x4_t; 2] {
    // SAFETY: NEON.
    unsafe {
        let (a, b) = (vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b));
        [vzip1q_s64(a, b), vzip2q_s64(a, b)].map(|v| vreinterpretq_s32_s64(v))
    }
}

/// Implements [`Products`] by dot products of bytes.
macro_rules! by_dot_products {
    ($type:ident, $features:literal, $dot:ident) => {
        #[inline(always)]
        unsafe fn vectorized<T: Task>(simd: Neon<Self>, task: T) {
            #[target_feature(enable = $features)]
            fn run<T: Task>(simd: Neon<$type>, task: T) {
                task.run(simd);
            }
            // SAFETY: the caller's.
            unsafe { run(simd, task) }
        }

        #[inline(always)]
        unsafe fn dot(sums: int32x4x2_t, codes: int32x4x2_t, weights: int32x4x2_t) -> int32x4x2_t {
            // SAFETY: the caller's.
            unsafe {
                int32x4x2_t($dot(sums.0, codes.0, weights.0), $dot(sums.1, codes.1, weights.1))
            }
        }

        #[inline(always)]
        unsafe fn dot_many<const P: usize, const V: usize>(
            sums: &mut [[int32x4x2_t; V]; P],
            codes: *const u8,
            pixel: usize,
            weights: *const u8,
            groups: usize,
        ) -> usize {
            // SAFETY: the caller's.
            unsafe { passes::<Self, P, V, 6>(sums, codes, pixel, weights, groups) }
        }
    };
}

/// A register's bytes.
///
/// # Safety
///
/// 16 bytes are readable.
#[inline(always)]
unsafe fn load(address: *const u8) -> int32x4_t {
    // SAFETY: the caller's.
    unsafe { vreinterpretq_s32_u8(vld1q_u8(address)) }
}

/// Dot products of signed bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed;

impl Products for Signed {
    type Code = i8;

    fn is_available() -> bool {
        is_aarch64_feature_detected!("dotprod")
    }

    by_dot_products!(Signed, "neon,dotprod", sdot);

    #[inline(always)]
    unsafe fn pass<const N: usize, const V: usize>(
        sums: &mut [[int32x4x2_t; V]; N],
        codes: *const u8,
        pixel: usize,
        weights: *const u8,
        groups: usize,
    ) -> usize {
        // SAFETY: the caller's.
        unsafe { fours::<Self, N, V>(sums, codes, pixel, weights, groups) }
    }

    #[inline(always)]
    fn codes(codes: uint8x16_t) -> uint8x16_t {
        signed(codes)
    }
}

/// Dot products of unsigned and signed bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsigned;

impl Products for Unsigned {
    type Code = u8;

    fn is_available() -> bool {
        is_aarch64_feature_detected!("i8mm")
    }

    by_dot_products!(Unsigned, "neon,dotprod,i8mm", usdot);

    #[inline(always)]
    unsafe fn pass<const N: usize, const V: usize>(
        sums: &mut [[int32x4x2_t; V]; N],
        codes: *const u8,
        pixel: usize,
        weights: *const u8,
        groups: usize,
    ) -> usize {
        // SAFETY: the caller's.
        unsafe {
            // Short runs are not worth the way to squares and back.
            match sums.as_chunks_mut::<6>() {
                ([sums], []) if groups >= 12 => squares(sums, codes, pixel, weights, groups),
                _ => fours::<Self, N, V>(sums, codes, pixel, weights, groups),
            }
        }
    }

    #[inline(always)]
    fn codes(codes: uint8x16_t) -> uint8x16_t {
        codes
    }
}

/// Implements [`Groups`] by an instruction.
macro_rules! groups {
    ($type:ident, $dot_group:ident) => {
        impl Groups for $type {
            #[inline(always)]
            unsafe fn dot_group<const AT: usize>(
                sums: int32x4_t,
                weights: int32x4_t,
                codes: int32x4_t,
            ) -> int32x4_t {
                // SAFETY: the caller's.
                unsafe { $dot_group::<AT>(sums, weights, codes) }
            }
        }
    };
}
groups!(Signed, sdot_group);
groups!(Unsigned, sudot_group);
