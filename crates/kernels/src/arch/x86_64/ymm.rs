//! What AVX2 and AVX-VNNI have in common: 256-bit vectors of 8 lanes, all in AVX2 instructions.
//!
//! Every function here is unsafe for the same reason: the CPU must have AVX2. They are inlined into code compiled for it.

use core::arch::x86_64::*;

use crate::arch::Finish;

/// See [`Simd::scale`](crate::arch::Simd::scale).
///
/// # Safety
///
/// AVX2, and 8 factors at the address.
#[inline(always)]
pub unsafe fn scale(sums: __m256i, factors: *const f32) -> __m256i {
    // SAFETY: the caller's; the conversion rounds to nearest even, which is Rust's fixed rounding mode.
    unsafe {
        let factors = _mm256_loadu_ps(factors);
        _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), factors))
    }
}

/// See [`Simd::scale_fixed`](crate::arch::Simd::scale_fixed).
///
/// # Safety
///
/// AVX2, and 8 integers at each address.
#[inline(always)]
pub unsafe fn scale_fixed(
    sums: __m256i,
    [mantissas, halves, shifts]: [*const i32; 3],
    is_positive_only: bool,
) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let mantissas = _mm256_loadu_si256(mantissas.cast());
        let half = _mm256_set1_epi64x(1 << 30);
        // 64-bit products of the even and of the odd lanes; bits 31 to 62 are the result.
        let even = _mm256_mul_epi32(sums, mantissas);
        let odd = _mm256_mul_epi32(_mm256_srli_epi64(sums, 32), _mm256_srli_epi64(mantissas, 32));
        let even = _mm256_srli_epi64(_mm256_add_epi64(even, half), 31);
        let odd = _mm256_slli_epi64(_mm256_add_epi64(odd, half), 1);
        let high = _mm256_blend_epi32(even, odd, 0xAA);
        let mut rounded = _mm256_add_epi32(high, _mm256_loadu_si256(halves.cast()));
        if !is_positive_only {
            rounded = _mm256_add_epi32(rounded, _mm256_srai_epi32(high, 31));
        }
        _mm256_srav_epi32(rounded, _mm256_loadu_si256(shifts.cast()))
    }
}

/// See [`Simd::store`](crate::arch::Simd::store).
///
/// # Safety
///
/// AVX2, and `count` writable bytes, of which there are at most `8 * V`; `V` is at most 2.
#[inline(always)]
pub unsafe fn store<const V: usize>(
    scaled: [__m256i; V],
    finish: Finish,
    output: *mut u8,
    count: usize,
) {
    // SAFETY: the caller's; `codes` holds 16 bytes, of which at most `count` are written.
    unsafe {
        let second = if V > 1 { scaled[1] } else { scaled[0] };
        let words = _mm256_packs_epi32(scaled[0], second);
        let words = _mm256_adds_epi16(words, _mm256_set1_epi16(finish.zero_point));
        let bytes = _mm256_packus_epi16(words, words);
        // Packing works within halves.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
        let bytes = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order));
        let [least, most] = finish.range.map(|code| _mm_set1_epi8(code as i8));
        let codes = _mm_min_epu8(_mm_max_epu8(bytes, least), most);
        match (V, count) {
            (2, 16) => _mm_storeu_si128(output.cast(), codes),
            (1, 8) => _mm_storel_epi64(output.cast(), codes),
            _ => {
                let mut some = [0u8; 16];
                _mm_storeu_si128(some.as_mut_ptr().cast(), codes);
                output.copy_from_nonoverlapping(some.as_ptr(), count);
            }
        }
    }
}

/// Implements [`Simd`](crate::arch::Simd)'s methods by AVX2 alone.
macro_rules! by_avx2 {
    () => {
        #[inline(always)]
        unsafe fn load<T>(self, address: *const T) -> __m256i {
            // SAFETY: the caller's; `self` proves that the CPU has AVX2, here and below.
            unsafe { _mm256_loadu_si256(address.cast()) }
        }

        #[inline(always)]
        unsafe fn write(self, vector: __m256i, address: *mut i32) {
            // SAFETY: the caller's.
            unsafe { _mm256_storeu_si256(address.cast(), vector) }
        }

        #[inline(always)]
        unsafe fn broadcast(self, codes: *const Self::Code) -> __m256i {
            // SAFETY: the caller's: a group of codes is 4 bytes.
            unsafe { _mm256_set1_epi32(codes.cast::<i32>().read_unaligned()) }
        }

        #[inline(always)]
        fn splat(self, value: i32) -> __m256i {
            // SAFETY: see `load`.
            unsafe { _mm256_set1_epi32(value) }
        }

        #[inline(always)]
        fn add(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: see `load`.
            unsafe { _mm256_add_epi32(a, b) }
        }

        #[inline(always)]
        unsafe fn scale(self, sums: __m256i, factors: *const f32) -> __m256i {
            // SAFETY: the caller's.
            unsafe { ymm::scale(sums, factors) }
        }

        #[inline(always)]
        unsafe fn scale_fixed(
            self,
            sums: __m256i,
            mantissas: *const i32,
            halves: *const i32,
            shifts: *const i32,
            is_positive_only: bool,
        ) -> __m256i {
            // SAFETY: the caller's.
            unsafe { ymm::scale_fixed(sums, [mantissas, halves, shifts], is_positive_only) }
        }

        #[inline(always)]
        unsafe fn store<const V: usize>(
            self,
            scaled: [__m256i; V],
            finish: Finish,
            output: *mut u8,
            count: usize,
        ) {
            // SAFETY: the caller's.
            unsafe { ymm::store(scaled, finish, output, count) }
        }
    };
}
pub(super) use by_avx2;
