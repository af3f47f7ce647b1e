//! 128-bit vectors: 4 lanes, pairs of 16-bit codes and weights. Modules have them or not as a whole: there is nothing to ask.

use core::arch::wasm32::*;

use crate::arch::{BIAS, Finish, Simd, Task};

/// The proof that the module is compiled for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Simd128(());

impl Simd128 {
    /// Always there.
    pub fn new() -> Option<Self> {
        Some(Simd128(()))
    }
}

// SAFETY: this module is compiled for targets with the instructions only.
unsafe impl Simd for Simd128 {
    const LANES: usize = 4;
    const GROUP: usize = 2;
    const VECTORS: usize = 2;
    type Code = i16;
    type Integers = v128;

    #[inline(always)]
    fn vectorize<T: Task>(self, task: T) {
        task.run(self);
    }

    #[inline(always)]
    unsafe fn load<T>(self, address: *const T) -> v128 {
        // SAFETY: the caller's.
        unsafe { v128_load(address.cast()) }
    }

    #[inline(always)]
    unsafe fn weights(self, address: *const i8) -> v128 {
        // SAFETY: the caller's: 8 weights.
        unsafe { i16x8_load_extend_i8x8(address) }
    }

    #[inline(always)]
    unsafe fn widen(self, codes: *const u8) -> v128 {
        // SAFETY: the caller's: 4 codes.
        let codes = unsafe { v128_load32_zero(codes.cast()) };
        u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(codes))
    }

    #[inline(always)]
    unsafe fn write(self, vector: v128, address: *mut i32) {
        // SAFETY: the caller's.
        unsafe { v128_store(address.cast(), vector) }
    }

    #[inline(always)]
    unsafe fn broadcast(self, codes: *const i16) -> v128 {
        // SAFETY: the caller's.
        unsafe { v128_load32_splat(codes.cast()) }
    }

    #[inline(always)]
    fn splat(self, value: i32) -> v128 {
        i32x4_splat(value)
    }

    #[inline(always)]
    fn dot(self, sums: v128, codes: v128, weights: v128) -> v128 {
        i32x4_add(sums, i32x4_dot_i16x8(codes, weights))
    }

    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        i32x4_add(a, b)
    }

    #[inline(always)]
    fn multiply(self, a: v128, b: v128) -> v128 {
        i32x4_mul(a, b)
    }

    #[inline(always)]
    fn scale(self, sums: v128, factors: v128) -> v128 {
        let product = f32x4_mul(f32x4_convert_i32x4(sums), factors);
        i32x4_trunc_sat_f32x4(f32x4_nearest(product))
    }

    /// There is no fused multiply-add that would round once.
    #[inline(always)]
    fn scale_biased(self, sums: v128, factors: v128, _offsets: v128) -> v128 {
        self.scale(i32x4_sub(sums, i32x4_splat(BIAS)), factors)
    }

    #[inline(always)]
    fn scale_fixed(self, sums: v128, mantissas: v128, halves: v128, shifts: v128) -> v128 {
        let half = i64x2_splat(1 << 30);
        let low = i64x2_add(i64x2_extmul_low_i32x4(sums, mantissas), half);
        let high = i64x2_add(i64x2_extmul_high_i32x4(sums, mantissas), half);
        let high = low_halves(i64x2_shr(low, 31), i64x2_shr(high, 31));
        let rounded = i32x4_add(i32x4_add(high, halves), i32x4_shr(high, 31));
        shift_right(rounded, shifts)
    }

    /// The correction of negative results does not matter.
    #[inline(always)]
    fn scale_fixed_positive(self, sums: v128, mantissas: v128, halves: v128, shifts: v128) -> v128 {
        let shifts = i32x4_add(shifts, i32x4_splat(1));
        self.scale_fixed(sums, mantissas, i32x4_shl(halves, 1), shifts)
    }

    #[inline(always)]
    unsafe fn store<const V: usize>(
        self,
        scaled: [v128; V],
        finish: Finish,
        output: *mut u8,
        count: usize,
    ) {
        let codes = pack(scaled[0], scaled[V - 1], finish);
        // SAFETY: the caller's.
        unsafe {
            match (V, count) {
                (2, 8) => v128_store64_lane::<0>(codes, output.cast()),
                (1, 4) => v128_store32_lane::<0>(codes, output.cast()),
                _ => store_some(output, codes, count),
            }
        }
    }

    #[inline(always)]
    unsafe fn store_two<const V: usize>(
        self,
        scaled: [[v128; V]; 2],
        finish: Finish,
        outputs: [*mut u8; 2],
        count: usize,
    ) {
        let codes = pack(scaled[0][0], scaled[1][0], finish);
        // SAFETY: the caller's.
        unsafe {
            if count == 4 {
                v128_store32_lane::<0>(codes, outputs[0].cast());
                v128_store32_lane::<1>(codes, outputs[1].cast());
            } else {
                store_some(outputs[0], codes, count);
                store_some(outputs[1], u32x4_shuffle::<1, 0, 0, 0>(codes, codes), count);
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave(self, rows: [*const u8; 4], output: *mut i16) {
        // SAFETY: the caller's: 8 codes of each row, 16 of the output.
        unsafe {
            let [a, b, ..] = rows.map(|row| v128_load64_zero(row.cast()));
            let (a, b) = (u16x8_extend_low_u8x16(a), u16x8_extend_low_u8x16(b));
            let output = output.cast::<v128>();
            v128_store(output, i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b));
            v128_store(output.add(1), i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b));
        }
    }
}

/// The low halves of 64-bit lanes.
#[inline(always)]
fn low_halves(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<0, 2, 4, 6>(a, b)
}

/// Each lane by a number of bits of its own, 1 to 30, for which there is no instruction: bits 31 on of the product with `2^(31 - shift)`,
/// whose `f32` has that exponent.
#[inline(always)]
fn shift_right(values: v128, shifts: v128) -> v128 {
    let exponents = i32x4_sub(i32x4_splat(127 + 31), shifts);
    let factors = i32x4_trunc_sat_f32x4(i32x4_shl(exponents, 23));
    let low = i64x2_shr(i64x2_extmul_low_i32x4(values, factors), 31);
    let high = i64x2_shr(i64x2_extmul_high_i32x4(values, factors), 31);
    low_halves(low, high)
}

/// Scaled accumulators to codes in the low half, those of the first vector first.
#[inline(always)]
fn pack(first: v128, second: v128, finish: Finish) -> v128 {
    let words = i16x8_narrow_i32x4(first, second);
    if finish.is_saturation() {
        return u8x16_narrow_i16x8(words, words);
    }
    let words = i16x8_add_sat(words, i16x8_splat(finish.zero_point));
    let codes = u8x16_narrow_i16x8(words, words);
    let [least, most] = finish.range;
    u8x16_min(u8x16_max(codes, u8x16_splat(least)), u8x16_splat(most))
}

/// Writes the first `count` codes, at most 16.
///
/// # Safety
///
/// `count` bytes are writable.
#[inline(always)]
unsafe fn store_some(output: *mut u8, codes: v128, count: usize) {
    let mut some = [0u8; 16];
    // SAFETY: the caller's; `some` holds 16 bytes.
    unsafe {
        v128_store(some.as_mut_ptr().cast(), codes);
        output.copy_from_nonoverlapping(some.as_ptr(), count);
    }
}

/// Looks up whole vectors of codes; gives the number of codes done.
pub(crate) fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) -> usize {
    let (input, _) = input.as_chunks::<16>();
    let (output, _) = output.as_chunks_mut::<16>();
    let (parts, _) = table.as_chunks::<16>();
    for (input, output) in input.iter().zip(output.iter_mut()) {
        // SAFETY: 16 bytes each, here and below.
        let codes = unsafe { v128_load(input.as_ptr().cast()) };
        let mut found = i8x16_splat(0);
        for (part, bytes) in parts.iter().enumerate() {
            // Below 16 for codes of this part; others pick zeros.
            let places = v128_xor(codes, u8x16_splat((part << 4) as u8));
            // SAFETY: as above.
            let bytes = unsafe { v128_load(bytes.as_ptr().cast()) };
            found = v128_or(found, i8x16_swizzle(bytes, places));
        }
        // SAFETY: as above.
        unsafe { v128_store(output.as_mut_ptr().cast(), found) };
    }
    16 * input.len().min(output.len())
}
