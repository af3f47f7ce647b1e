//! AVX2: 8 lanes, pairs of 16-bit numbers.
//!
//! The byte products of AVX2 saturate, so codes and weights are widened, weights when they are loaded; sums of pairs are then
//! exact.

use core::arch::x86_64::*;

use super::ymm::{self, by_avx2};
use crate::arch::{Finish, Simd, Task};

/// The proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// `None` when the CPU lacks it.
    pub fn new() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        has_all.then_some(Avx2(()))
    }
}

#[target_feature(enable = "avx2,fma")]
fn vectorized<T: Task>(simd: Avx2, task: T) {
    task.run(simd);
}

// SAFETY: only `new` makes a value, after asking the CPU.
unsafe impl Simd for Avx2 {
    const LANES: usize = 8;
    const GROUP: usize = 2;
    const VECTORS: usize = 2;
    const READS_ROWS: bool = true;
    type Code = i16;
    type Integers = __m256i;

    by_avx2!();

    #[inline(always)]
    fn vectorize<T: Task>(self, task: T) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { vectorized(self, task) }
    }

    #[inline(always)]
    unsafe fn weights(self, address: *const i8) -> __m256i {
        // SAFETY: the caller's: 16 weights.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(address.cast())) }
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, codes: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: see `vectorize`.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(codes, weights)) }
    }

    #[inline(always)]
    unsafe fn interleaved(self, rows: [*const u8; 4]) -> __m256i {
        // SAFETY: the caller's: 8 codes of each row.
        unsafe {
            let [a, b] = [rows[0], rows[1]].map(|row| _mm_loadl_epi64(row.cast()));
            _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b))
        }
    }

    #[inline(always)]
    unsafe fn interleave(self, rows: [*const u8; 4], output: *mut i16) {
        // SAFETY: the caller's: 16 codes of each row, 32 of the output.
        unsafe {
            let [a, b] = [rows[0], rows[1]].map(|row| _mm_loadu_si128(row.cast()));
            let output = output.cast::<__m256i>();
            let (low, high) = (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b));
            _mm256_storeu_si256(output, _mm256_cvtepu8_epi16(low));
            _mm256_storeu_si256(output.add(1), _mm256_cvtepu8_epi16(high));
        }
    }
}
