//! Tables of 256 bytes.

use core::arch::x86_64::*;

use crate::InstructionSet;

/// Looks up whole vectors of codes; gives the number of codes done.
pub(crate) fn look_up(
    set: InstructionSet,
    table: &[u8; 256],
    input: &[u8],
    output: &mut [u8],
) -> usize {
    let length = input.len().min(output.len());
    let is_wide = set == InstructionSet::Avx512Vnni;
    if is_wide && is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: the CPU has the instructions; both pointers are good for `length` bytes.
        unsafe { permute(table, input.as_ptr(), output.as_mut_ptr(), length) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: as above.
        unsafe { shuffle(table, input.as_ptr(), output.as_mut_ptr(), length) }
    } else {
        0
    }
}

/// Permutations pick from 128 bytes, and the code's highest bit from two of them.
///
/// # Safety
///
/// `length` bytes are readable and writable.
#[target_feature(enable = "avx512bw,avx512vbmi")]
unsafe fn permute(table: &[u8; 256], input: *const u8, output: *mut u8, length: usize) -> usize {
    let whole = length / 64 * 64;
    // SAFETY: the caller's; the table has four vectors.
    unsafe {
        let part = |at: usize| _mm512_loadu_si512(table.as_ptr().add(64 * at).cast());
        let (a, b, c, d) = (part(0), part(1), part(2), part(3));
        for at in (0..whole).step_by(64) {
            let codes = _mm512_loadu_si512(input.add(at).cast());
            let low = _mm512_permutex2var_epi8(a, codes, b);
            let high = _mm512_permutex2var_epi8(c, codes, d);
            let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high);
            _mm512_storeu_si512(output.add(at).cast(), found);
        }
    }
    whole
}

/// Shuffles pick from 16 bytes: the sixteen parts one after another, where codes of other parts pick zeros.
///
/// # Safety
///
/// `length` bytes are readable and writable.
#[target_feature(enable = "avx2")]
unsafe fn shuffle(table: &[u8; 256], input: *const u8, output: *mut u8, length: usize) -> usize {
    let whole = length / 32 * 32;
    // SAFETY: the caller's; the table has sixteen parts.
    unsafe {
        for at in (0..whole).step_by(32) {
            let codes = _mm256_loadu_si256(input.add(at).cast());
            let mut found = _mm256_setzero_si256();
            for part in 0..16 {
                let bytes = _mm_loadu_si128(table.as_ptr().add(16 * part).cast());
                // Below 16 for codes of this part; saturation sets the highest bit of others.
                let place = _mm256_xor_si256(codes, _mm256_set1_epi8((part << 4) as i8));
                let place = _mm256_adds_epu8(place, _mm256_set1_epi8(0x70));
                let picked = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), place);
                found = _mm256_or_si256(found, picked);
            }
            _mm256_storeu_si256(output.add(at).cast(), found);
        }
    }
    whole
}
