//! AVX-VNNI: 8 lanes, four bytes each.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::ymm::{self, by_avx2};
use crate::arch::{Finish, Simd, Task};

/// The proof that the CPU has AVX2, FMA and 256-bit dot products of bytes, in one of their two encodings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AvxVnni<E>(PhantomData<E>);

/// How the dot product is encoded: AVX-VNNI's way, or AVX-512's for 256-bit vectors. It is the same operation.
pub(crate) trait Encoding: Copy + 'static {
    /// Whether the CPU has it.
    fn is_available() -> bool;

    /// Runs a task compiled for it.
    ///
    /// # Safety
    ///
    /// It is available.
    unsafe fn vectorized<T: Task>(simd: AvxVnni<Self>, task: T);

    /// The instruction.
    ///
    /// # Safety
    ///
    /// It is available.
    unsafe fn dot(sums: __m256i, codes: __m256i, weights: __m256i) -> __m256i;
}

/// AVX-VNNI's own encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vex;

/// AVX-512's encoding.
#[cfg(feature = "evex")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evex;

impl Encoding for Vex {
    fn is_available() -> bool {
        is_x86_feature_detected!("avxvnni")
    }

    #[target_feature(enable = "avx2,fma,avxvnni")]
    unsafe fn vectorized<T: Task>(simd: AvxVnni<Self>, task: T) {
        task.run(simd);
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, codes: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_dpbusd_avx_epi32(sums, codes, weights) }
    }
}

#[cfg(feature = "evex")]
impl Encoding for Evex {
    fn is_available() -> bool {
        is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512vnni")
    }

    #[target_feature(enable = "avx2,fma,avx512vl,avx512vnni")]
    unsafe fn vectorized<T: Task>(simd: AvxVnni<Self>, task: T) {
        task.run(simd);
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, codes: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_dpbusd_epi32(sums, codes, weights) }
    }
}

impl<E: Encoding> AvxVnni<E> {
    /// `None` when the CPU lacks an instruction.
    pub fn new() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && E::is_available();
        has_all.then_some(AvxVnni(PhantomData))
    }
}

// SAFETY: only `new` makes a value, after asking the CPU.
unsafe impl<E: Encoding> Simd for AvxVnni<E> {
    const LANES: usize = 8;
    const GROUP: usize = 4;
    const VECTORS: usize = 2;
    type Code = u8;
    type Integers = __m256i;

    by_avx2!();

    #[inline(always)]
    fn vectorize<T: Task>(self, task: T) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { E::vectorized(self, task) }
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, codes: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: see `vectorize`.
        unsafe { E::dot(sums, codes, weights) }
    }

    #[inline(always)]
    unsafe fn interleave(self, rows: [*const u8; 4], output: *mut u8) {
        // SAFETY: the caller's: 16 codes of each row, 64 of the output.
        unsafe {
            let [a, b, c, d] = rows.map(|row| _mm_loadu_si128(row.cast()));
            let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
            let (ab2, cd2) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
            let groups = [
                _mm_unpacklo_epi16(ab, cd),
                _mm_unpackhi_epi16(ab, cd),
                _mm_unpacklo_epi16(ab2, cd2),
                _mm_unpackhi_epi16(ab2, cd2),
            ];
            for (v, group) in groups.into_iter().enumerate() {
                _mm_storeu_si128(output.add(16 * v).cast(), group);
            }
        }
    }
}
