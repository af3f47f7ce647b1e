//! What AVX2 and AVX-VNNI have in common: 256-bit vectors of 8 lanes, all in AVX2 instructions.
//!
//! Every function here is unsafe for the same reason: the CPU must have AVX2 and FMA. They are inlined into code compiled for them.

use core::arch::x86_64::*;

use crate::arch::Finish;

/// See [`Simd::scale`](crate::arch::Simd::scale).
///
/// # Safety
///
/// AVX2.
#[inline(always)]
pub unsafe fn scale(sums: __m256i, factors: __m256i) -> __m256i {
    // SAFETY: the caller's; the conversion rounds to nearest even, which is Rust's fixed rounding mode.
    unsafe {
        let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_castsi256_ps(factors));
        _mm256_cvtps_epi32(product)
    }
}

/// See [`Simd::scale_biased`](crate::arch::Simd::scale_biased).
///
/// # Safety
///
/// AVX2 and FMA.
#[inline(always)]
pub unsafe fn scale_biased(vectors: [__m256i; 3]) -> __m256i {
    // SAFETY: as for `scale`.
    unsafe {
        let [sums, factors, offsets] = vectors;
        let (sums, factors) = (_mm256_castsi256_ps(sums), _mm256_castsi256_ps(factors));
        _mm256_cvtps_epi32(_mm256_fmadd_ps(sums, factors, _mm256_castsi256_ps(offsets)))
    }
}

/// See [`Simd::scale_fixed`](crate::arch::Simd::scale_fixed).
///
/// # Safety
///
/// AVX2.
#[inline(always)]
pub unsafe fn scale_fixed([sums, mantissas, halves, shifts]: [__m256i; 4]) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        // Bits 31 to 62 of the products are the result.
        let [even, odd] = products(sums, mantissas);
        let (even, odd) = (_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1));
        let high = _mm256_blend_epi32(even, odd, 0xAA);
        let rounded = _mm256_add_epi32(high, halves);
        let rounded = _mm256_add_epi32(rounded, _mm256_srai_epi32(high, 31));
        _mm256_srav_epi32(rounded, shifts)
    }
}

/// See [`Simd::scale_fixed_positive`](crate::arch::Simd::scale_fixed_positive).
///
/// # Safety
///
/// AVX2.
#[inline(always)]
pub unsafe fn scale_fixed_positive([sums, mantissas, halves, shifts]: [__m256i; 4]) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let [even, odd] = products(sums, mantissas);
        let high = _mm256_blend_epi32(odd_lanes(even), odd, 0xAA);
        _mm256_srav_epi32(_mm256_add_epi32(high, halves), shifts)
    }
}

/// The 64-bit products of the even and of the odd lanes, plus half a unit of bit 31.
///
/// # Safety
///
/// AVX2.
#[inline(always)]
unsafe fn products(sums: __m256i, mantissas: __m256i) -> [__m256i; 2] {
    // SAFETY: the caller's.
    unsafe {
        let half = _mm256_set1_epi64x(1 << 30);
        let even = _mm256_mul_epi32(sums, mantissas);
        let odd = _mm256_mul_epi32(odd_lanes(sums), odd_lanes(mantissas));
        [_mm256_add_epi64(even, half), _mm256_add_epi64(odd, half)]
    }
}

/// The odd lanes in the places of the even ones.
///
/// # Safety
///
/// AVX2.
#[inline(always)]
unsafe fn odd_lanes(vector: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_castps_si256(_mm256_movehdup_ps(_mm256_castsi256_ps(vector))) }
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
    // SAFETY: the caller's.
    unsafe {
        let codes = pack(scaled[0], scaled[V - 1], finish);
        match (V, count) {
            (2, 16) => _mm_storeu_si128(output.cast(), codes),
            (1, 8) => _mm_storel_epi64(output.cast(), codes),
            _ => store_some(output, codes, count),
        }
    }
}

/// See [`Simd::store_two`](crate::arch::Simd::store_two).
///
/// # Safety
///
/// AVX2, and `count` writable bytes at either address, at most 8.
#[inline(always)]
pub unsafe fn store_two<const V: usize>(
    scaled: [[__m256i; V]; 2],
    finish: Finish,
    outputs: [*mut u8; 2],
    count: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let codes = pack(scaled[0][0], scaled[1][0], finish);
        let high = _mm_unpackhi_epi64(codes, codes);
        if count == 8 {
            _mm_storel_epi64(outputs[0].cast(), codes);
            _mm_storel_epi64(outputs[1].cast(), high);
        } else {
            store_some(outputs[0], codes, count);
            store_some(outputs[1], high, count);
        }
    }
}

/// Scaled accumulators to codes, those of the first vector first.
///
/// # Safety
///
/// AVX2.
#[inline(always)]
unsafe fn pack(first: __m256i, second: __m256i, finish: Finish) -> __m128i {
    // SAFETY: the caller's.
    unsafe {
        // Packing works within halves: put them in order between the two steps.
        let words = _mm256_permute4x64_epi64(_mm256_packs_epi32(first, second), 0b11_01_10_00);
        let (low, high) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        if finish.is_saturation() {
            return _mm_packus_epi16(low, high);
        }
        let zero_point = _mm_set1_epi16(finish.zero_point);
        let (low, high) = (_mm_adds_epi16(low, zero_point), _mm_adds_epi16(high, zero_point));
        let least = _mm_set1_epi8(finish.range[0] as i8);
        let most = _mm_set1_epi8(finish.range[1] as i8);
        _mm_min_epu8(_mm_max_epu8(_mm_packus_epi16(low, high), least), most)
    }
}

/// Writes the first `count` codes, at most 16.
///
/// # Safety
///
/// `count` bytes are writable.
#[inline(always)]
unsafe fn store_some(output: *mut u8, codes: __m128i, count: usize) {
    let mut some = [0u8; 16];
    // SAFETY: the caller's; `some` holds 16 bytes.
    unsafe {
        _mm_storeu_si128(some.as_mut_ptr().cast(), codes);
        output.copy_from_nonoverlapping(some.as_ptr(), count);
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
        unsafe fn widen(self, codes: *const u8) -> __m256i {
            // SAFETY: the caller's.
            unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(codes.cast())) }
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
        fn multiply(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: see `load`.
            unsafe { _mm256_mullo_epi32(a, b) }
        }

        #[inline(always)]
        fn scale(self, sums: __m256i, factors: __m256i) -> __m256i {
            // SAFETY: see `load`.
            unsafe { ymm::scale(sums, factors) }
        }

        #[inline(always)]
        fn scale_biased(self, sums: __m256i, factors: __m256i, offsets: __m256i) -> __m256i {
            // SAFETY: see `load`.
            unsafe { ymm::scale_biased([sums, factors, offsets]) }
        }

        #[inline(always)]
        fn scale_fixed(
            self,
            sums: __m256i,
            mantissas: __m256i,
            halves: __m256i,
            shifts: __m256i,
        ) -> __m256i {
            // SAFETY: see `load`.
            unsafe { ymm::scale_fixed([sums, mantissas, halves, shifts]) }
        }

        #[inline(always)]
        fn scale_fixed_positive(
            self,
            sums: __m256i,
            mantissas: __m256i,
            halves: __m256i,
            shifts: __m256i,
        ) -> __m256i {
            // SAFETY: see `load`.
            unsafe { ymm::scale_fixed_positive([sums, mantissas, halves, shifts]) }
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

        #[inline(always)]
        unsafe fn store_two<const V: usize>(
            self,
            scaled: [[__m256i; V]; 2],
            finish: Finish,
            outputs: [*mut u8; 2],
            count: usize,
        ) {
            // SAFETY: the caller's.
            unsafe { ymm::store_two(scaled, finish, outputs, count) }
        }
    };
}
pub(super) use by_avx2;
