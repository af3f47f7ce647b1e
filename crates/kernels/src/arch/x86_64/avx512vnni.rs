//! AVX-512 VNNI: 16 lanes, four bytes each.

use core::arch::x86_64::*;

use crate::arch::{Finish, Simd, Task};

/// The proof that the CPU has AVX-512 F, BW, VL and VNNI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Vnni(());

impl Avx512Vnni {
    /// `None` when the CPU lacks an instruction.
    pub fn new() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        has_all.then_some(Avx512Vnni(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn vectorized<T: Task>(simd: Avx512Vnni, task: T) {
    task.run(simd);
}

// SAFETY: only `new` makes a value, after asking the CPU.
unsafe impl Simd for Avx512Vnni {
    const LANES: usize = 16;
    const GROUP: usize = 4;
    const VECTORS: usize = 4;
    type Code = u8;
    type Integers = __m512i;

    #[inline(always)]
    fn vectorize<T: Task>(self, task: T) {
        // SAFETY: `self` proves that the CPU has the features; here and below.
        unsafe { vectorized(self, task) }
    }

    #[inline(always)]
    unsafe fn load<T>(self, address: *const T) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_loadu_si512(address.cast()) }
    }

    #[inline(always)]
    unsafe fn widen(self, codes: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(codes.cast())) }
    }

    #[inline(always)]
    unsafe fn write(self, vector: __m512i, address: *mut i32) {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_si512(address.cast(), vector) }
    }

    #[inline(always)]
    unsafe fn broadcast(self, codes: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_set1_epi32(codes.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn splat(self, value: i32) -> __m512i {
        // SAFETY: see `vectorize`.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, codes: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: see `vectorize`.
        unsafe { _mm512_dpbusd_epi32(sums, codes, weights) }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see `vectorize`.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see `vectorize`.
        unsafe { _mm512_mullo_epi32(a, b) }
    }

    #[inline(always)]
    fn scale(self, sums: __m512i, factors: __m512i) -> __m512i {
        // SAFETY: see `vectorize`; the conversion rounds to nearest even, which is Rust's fixed rounding mode.
        unsafe {
            let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_castsi512_ps(factors));
            _mm512_cvtps_epi32(product)
        }
    }

    #[inline(always)]
    fn scale_biased(self, sums: __m512i, factors: __m512i, offsets: __m512i) -> __m512i {
        // SAFETY: as for `scale`.
        unsafe {
            let (sums, factors) = (_mm512_castsi512_ps(sums), _mm512_castsi512_ps(factors));
            _mm512_cvtps_epi32(_mm512_fmadd_ps(sums, factors, _mm512_castsi512_ps(offsets)))
        }
    }

    #[inline(always)]
    fn scale_fixed(
        self,
        sums: __m512i,
        mantissas: __m512i,
        halves: __m512i,
        shifts: __m512i,
    ) -> __m512i {
        // SAFETY: see `vectorize`.
        unsafe {
            // Bits 31 to 62 of the products are the result.
            let [even, odd] = products(sums, mantissas);
            let (even, odd) = (_mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
            let high = _mm512_mask_blend_epi32(0xAAAA, even, odd);
            let rounded = _mm512_add_epi32(high, halves);
            let rounded = _mm512_add_epi32(rounded, _mm512_srai_epi32(high, 31));
            _mm512_srav_epi32(rounded, shifts)
        }
    }

    #[inline(always)]
    fn scale_fixed_positive(
        self,
        sums: __m512i,
        mantissas: __m512i,
        halves: __m512i,
        shifts: __m512i,
    ) -> __m512i {
        // SAFETY: see `vectorize`.
        unsafe {
            let [even, odd] = products(sums, mantissas);
            let (even, odd) = (_mm512_castsi512_ps(even), _mm512_castsi512_ps(odd));
            let high = _mm512_castps_si512(_mm512_mask_movehdup_ps(odd, 0x5555, even));
            _mm512_srav_epi32(_mm512_add_epi32(high, halves), shifts)
        }
    }

    #[inline(always)]
    unsafe fn store<const V: usize>(
        self,
        scaled: [__m512i; V],
        finish: Finish,
        output: *mut u8,
        count: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            // Packing works within quarters: quarter q, word v holds codes 16 v + 4 q and on.
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let codes = _mm512_permutexvar_epi32(order, pack(scaled, finish));
            match (V, count) {
                (4, 64) => _mm512_storeu_si512(output.cast(), codes),
                (2, 32) => _mm256_storeu_si256(output.cast(), _mm512_castsi512_si256(codes)),
                (1, 16) => _mm_storeu_si128(output.cast(), _mm512_castsi512_si128(codes)),
                _ => store_some(output, codes, count),
            }
        }
    }

    #[inline(always)]
    unsafe fn store_two<const V: usize>(
        self,
        scaled: [[__m512i; V]; 2],
        finish: Finish,
        outputs: [*mut u8; 2],
        count: usize,
    ) {
        // SAFETY: the caller's: `V` is 2.
        unsafe {
            let [[a, b], [c, d]] = [0, 1].map(|at| [scaled[at][0], scaled[at][1 % V]]);
            // As in `store`; what goes to the second address is the second half.
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let codes = _mm512_permutexvar_epi32(order, pack([a, b, c, d], finish));
            let low = _mm512_castsi512_si256(codes);
            let high = _mm512_extracti64x4_epi64(codes, 1);
            if count == 32 {
                _mm256_storeu_si256(outputs[0].cast(), low);
                _mm256_storeu_si256(outputs[1].cast(), high);
            } else {
                store_some(outputs[0], codes, count);
                store_some(outputs[1], _mm512_castsi256_si512(high), count);
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave(self, rows: [*const u8; 4], output: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            // Unpacking works within quarters: spread the words so that the result is in order.
            let spread = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let [a, b, c, d] =
                rows.map(|row| _mm512_permutexvar_epi32(spread, _mm512_loadu_si512(row.cast())));
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (ab2, cd2) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            let groups = [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(ab2, cd2),
                _mm512_unpackhi_epi16(ab2, cd2),
            ];
            for (v, group) in groups.into_iter().enumerate() {
                _mm512_storeu_si512(output.add(64 * v).cast(), group);
            }
        }
    }
}

/// The 64-bit products of the even and of the odd lanes, plus half a unit of bit 31.
///
/// # Safety
///
/// AVX-512 F.
#[inline(always)]
unsafe fn products(sums: __m512i, mantissas: __m512i) -> [__m512i; 2] {
    // SAFETY: the caller's.
    unsafe {
        let half = _mm512_set1_epi64(1 << 30);
        let even = _mm512_mul_epi32(sums, mantissas);
        let odd = _mm512_mul_epi32(odd_lanes(sums), odd_lanes(mantissas));
        [_mm512_add_epi64(even, half), _mm512_add_epi64(odd, half)]
    }
}

/// The odd lanes in the places of the even ones.
///
/// # Safety
///
/// AVX-512 F.
#[inline(always)]
unsafe fn odd_lanes(vector: __m512i) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_castps_si512(_mm512_movehdup_ps(_mm512_castsi512_ps(vector))) }
}

/// Scaled accumulators to codes: of each vector the first quarter, then of each the second, and so on.
///
/// # Safety
///
/// AVX-512 BW.
#[inline(always)]
unsafe fn pack<const V: usize>(scaled: [__m512i; V], finish: Finish) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        let low = _mm512_packs_epi32(scaled[0], scaled[1 % V]);
        let high = if V > 2 { _mm512_packs_epi32(scaled[2 % V], scaled[3 % V]) } else { low };
        if finish.is_saturation() {
            return _mm512_packus_epi16(low, high);
        }
        let zero_point = _mm512_set1_epi16(finish.zero_point);
        let low = _mm512_adds_epi16(low, zero_point);
        let high = if V > 2 { _mm512_adds_epi16(high, zero_point) } else { low };
        let least = _mm512_set1_epi8(finish.range[0] as i8);
        let most = _mm512_set1_epi8(finish.range[1] as i8);
        _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(low, high), least), most)
    }
}

/// Writes the first `count` codes, at most 64.
///
/// # Safety
///
/// AVX-512 BW; `count` bytes are writable, and what is masked out is not written.
#[inline(always)]
unsafe fn store_some(output: *mut u8, codes: __m512i, count: usize) {
    let mask = u64::MAX >> (64 - count.clamp(1, 64));
    // SAFETY: the caller's.
    unsafe { _mm512_mask_storeu_epi8(output.cast(), mask, codes) }
}
