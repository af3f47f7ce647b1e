//! Vectors of 8 lanes in pairs of registers: everything but the products is the same for all ARM instruction sets.

use core::arch::aarch64::*;
use core::marker::PhantomData;

use super::products::Products;
use crate::arch::{Finish, Simd, Task};

/// The proof that the CPU has NEON, and the products named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon<P>(PhantomData<P>);

impl<P: Products> Neon<P> {
    /// `None` when the CPU lacks an instruction.
    pub fn new() -> Option<Self> {
        P::is_available().then_some(Neon(PhantomData))
    }
}

// SAFETY: only `new` makes a value, after asking the CPU. NEON itself is part of every target of this module.
unsafe impl<P: Products> Simd for Neon<P> {
    const LANES: usize = 8;
    const GROUP: usize = 4;
    const VECTORS: usize = 2;
    const WEIGHTS: [i16; 2] = P::WEIGHTS;
    type Code = P::Code;
    type Integers = int32x4x2_t;

    #[inline(always)]
    fn vectorize<T: Task>(self, task: T) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { P::vectorized(self, task) }
    }

    #[inline(always)]
    unsafe fn load<T>(self, address: *const T) -> int32x4x2_t {
        let address = address.cast::<u8>();
        // SAFETY: the caller's: 32 bytes, at any address.
        unsafe {
            let (low, high) = (vld1q_u8(address), vld1q_u8(address.add(16)));
            int32x4x2_t(vreinterpretq_s32_u8(low), vreinterpretq_s32_u8(high))
        }
    }

    #[inline(always)]
    unsafe fn load_codes(self, codes: *const P::Code) -> int32x4x2_t {
        // SAFETY: the caller's.
        unsafe { P::arrange_codes(self.load(codes)) }
    }

    #[inline(always)]
    fn arrange_weights(weights: &mut [u8]) {
        P::arrange_weights(weights);
    }

    #[inline(always)]
    unsafe fn widen(self, codes: *const u8) -> int32x4x2_t {
        // SAFETY: the caller's: 8 codes.
        unsafe {
            let words = vmovl_u8(vld1_u8(codes));
            let (low, high) = (vmovl_u16(vget_low_u16(words)), vmovl_high_u16(words));
            int32x4x2_t(vreinterpretq_s32_u32(low), vreinterpretq_s32_u32(high))
        }
    }

    #[inline(always)]
    unsafe fn write(self, vector: int32x4x2_t, address: *mut i32) {
        // SAFETY: the caller's: 8 integers.
        unsafe {
            vst1q_s32(address, vector.0);
            vst1q_s32(address.add(4), vector.1);
        }
    }

    #[inline(always)]
    unsafe fn broadcast(self, codes: *const P::Code) -> int32x4x2_t {
        // SAFETY: the caller's: 4 codes.
        unsafe { P::broadcast(codes.cast()) }
    }

    #[inline(always)]
    fn splat(self, value: i32) -> int32x4x2_t {
        // SAFETY: NEON.
        let vector = unsafe { vdupq_n_s32(value) };
        int32x4x2_t(vector, vector)
    }

    #[inline(always)]
    fn dot(self, sums: int32x4x2_t, codes: int32x4x2_t, weights: int32x4x2_t) -> int32x4x2_t {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { P::dot(sums, codes, weights) }
    }

    #[inline(always)]
    unsafe fn dot_many<const N: usize, const V: usize>(
        self,
        sums: &mut [[int32x4x2_t; V]; N],
        codes: *const P::Code,
        pixel: usize,
        weights: *const i8,
        groups: usize,
    ) -> usize {
        // SAFETY: the caller's, and `self` as above.
        unsafe { P::dot_many(sums, codes.cast(), pixel, weights.cast(), groups) }
    }

    #[inline(always)]
    fn add(self, a: int32x4x2_t, b: int32x4x2_t) -> int32x4x2_t {
        // SAFETY: NEON.
        unsafe { int32x4x2_t(vaddq_s32(a.0, b.0), vaddq_s32(a.1, b.1)) }
    }

    #[inline(always)]
    fn multiply(self, a: int32x4x2_t, b: int32x4x2_t) -> int32x4x2_t {
        // SAFETY: NEON.
        unsafe { int32x4x2_t(vmulq_s32(a.0, b.0), vmulq_s32(a.1, b.1)) }
    }

    #[inline(always)]
    fn scale(self, sums: int32x4x2_t, factors: int32x4x2_t) -> int32x4x2_t {
        #[inline(always)]
        fn half(sums: int32x4_t, factors: int32x4_t) -> int32x4_t {
            // SAFETY: NEON.
            unsafe {
                let product = vmulq_f32(vcvtq_f32_s32(sums), vreinterpretq_f32_s32(factors));
                vcvtnq_s32_f32(product)
            }
        }
        int32x4x2_t(half(sums.0, factors.0), half(sums.1, factors.1))
    }

    #[inline(always)]
    fn scale_biased(
        self,
        sums: int32x4x2_t,
        factors: int32x4x2_t,
        offsets: int32x4x2_t,
    ) -> int32x4x2_t {
        #[inline(always)]
        fn half([sums, factors, offsets]: [int32x4_t; 3]) -> int32x4_t {
            // SAFETY: NEON; the multiply-add rounds once.
            unsafe {
                let [sums, factors, offsets] = [
                    vreinterpretq_f32_s32(sums),
                    vreinterpretq_f32_s32(factors),
                    vreinterpretq_f32_s32(offsets),
                ];
                vcvtnq_s32_f32(vfmaq_f32(offsets, sums, factors))
            }
        }
        int32x4x2_t(half([sums.0, factors.0, offsets.0]), half([sums.1, factors.1, offsets.1]))
    }

    /// SQRDMULH is `(2 * a * b + 2^31) >> 32`, gemmlowp's high multiply to the bit: it saturates only where both are -2^31, and mantissas
    /// are positive. SRSHL by minus the shift rounds ties up without overflow; the tie of negative results goes down by the one that is
    /// taken off before.
    #[inline(always)]
    fn scale_fixed(
        self,
        sums: int32x4x2_t,
        mantissas: int32x4x2_t,
        _halves: int32x4x2_t,
        shifts: int32x4x2_t,
    ) -> int32x4x2_t {
        #[inline(always)]
        fn half(sums: int32x4_t, mantissas: int32x4_t, shifts: int32x4_t) -> int32x4_t {
            // SAFETY: NEON.
            unsafe {
                let high = vqrdmulhq_s32(sums, mantissas);
                vrshlq_s32(vsraq_n_s32::<31>(high, high), vnegq_s32(shifts))
            }
        }
        int32x4x2_t(half(sums.0, mantissas.0, shifts.0), half(sums.1, mantissas.1, shifts.1))
    }

    /// As in [`scale_fixed`](Simd::scale_fixed), without the correction; the complement of a shift is minus the shift and one.
    #[inline(always)]
    fn scale_fixed_positive(
        self,
        sums: int32x4x2_t,
        mantissas: int32x4x2_t,
        _halves: int32x4x2_t,
        shifts: int32x4x2_t,
    ) -> int32x4x2_t {
        #[inline(always)]
        fn half(sums: int32x4_t, mantissas: int32x4_t, shifts: int32x4_t) -> int32x4_t {
            // SAFETY: NEON.
            unsafe { vrshlq_s32(vqrdmulhq_s32(sums, mantissas), vmvnq_s32(shifts)) }
        }
        int32x4x2_t(half(sums.0, mantissas.0, shifts.0), half(sums.1, mantissas.1, shifts.1))
    }

    #[inline(always)]
    unsafe fn store<const V: usize>(
        self,
        scaled: [int32x4x2_t; V],
        finish: Finish,
        output: *mut u8,
        count: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let codes = pack(scaled[0], scaled[V - 1], finish);
            match (V, count) {
                (2, 16) => vst1q_u8(output, codes),
                (1, 8) => vst1_u8(output, vget_low_u8(codes)),
                _ => store_some(output, codes, count),
            }
        }
    }

    #[inline(always)]
    unsafe fn store_two<const V: usize>(
        self,
        scaled: [[int32x4x2_t; V]; 2],
        finish: Finish,
        outputs: [*mut u8; 2],
        count: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let codes = pack(scaled[0][0], scaled[1][0], finish);
            if count == 8 {
                vst1_u8(outputs[0], vget_low_u8(codes));
                vst1_u8(outputs[1], vget_high_u8(codes));
            } else {
                store_some(outputs[0], codes, count);
                store_some(outputs[1], vextq_u8::<8>(codes, codes), count);
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave(self, rows: [*const u8; 4], output: *mut P::Code) {
        // SAFETY: the caller's: 16 codes of each row, 64 of the output.
        unsafe {
            let [a, b, c, d] = rows.map(|row| vld1q_u8(row));
            let rows = uint8x16x4_t(P::codes(a), P::codes(b), P::codes(c), P::codes(d));
            vst4q_u8(output.cast(), rows);
        }
    }
}

/// Scaled accumulators to codes, those of the first vector first.
///
/// # Safety
///
/// NEON.
#[inline(always)]
unsafe fn pack(first: int32x4x2_t, second: int32x4x2_t, finish: Finish) -> uint8x16_t {
    // SAFETY: the caller's.
    unsafe {
        let low = vqmovn_high_s32(vqmovn_s32(first.0), first.1);
        let high = vqmovn_high_s32(vqmovn_s32(second.0), second.1);
        if finish.is_saturation() {
            return vqmovun_high_s16(vqmovun_s16(low), high);
        }
        let zero_point = vdupq_n_s16(finish.zero_point);
        let (low, high) = (vqaddq_s16(low, zero_point), vqaddq_s16(high, zero_point));
        let codes = vqmovun_high_s16(vqmovun_s16(low), high);
        let [least, most] = finish.range;
        vminq_u8(vmaxq_u8(codes, vdupq_n_u8(least)), vdupq_n_u8(most))
    }
}

/// Writes the first `count` codes, at most 16.
///
/// # Safety
///
/// NEON, and `count` bytes are writable.
#[inline(always)]
unsafe fn store_some(output: *mut u8, codes: uint8x16_t, count: usize) {
    let mut some = [0u8; 16];
    // SAFETY: the caller's; `some` holds 16 bytes.
    unsafe {
        vst1q_u8(some.as_mut_ptr(), codes);
        output.copy_from_nonoverlapping(some.as_ptr(), count);
    }
}
