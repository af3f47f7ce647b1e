//! Tables of 256 bytes.

use core::arch::aarch64::*;

/// Looks up whole vectors of codes; gives the number of codes done.
pub(crate) fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) -> usize {
    let whole = input.len().min(output.len()) / 16 * 16;
    // SAFETY: NEON is part of every target; the table has sixteen vectors, both slices have `whole` bytes.
    unsafe {
        // TBL picks from 64 bytes, and TBX leaves what it has no byte for.
        let quarter = |at: usize| vld1q_u8_x4(table.as_ptr().add(64 * at));
        let (a, b, c, d) = (quarter(0), quarter(1), quarter(2), quarter(3));
        let quarter = vdupq_n_u8(64);
        for at in (0..whole).step_by(16) {
            let mut places = vld1q_u8(input.as_ptr().add(at));
            let mut found = vqtbl4q_u8(a, places);
            for quarter_table in [b, c, d] {
                places = vsubq_u8(places, quarter);
                found = vqtbx4q_u8(found, quarter_table, places);
            }
            vst1q_u8(output.as_mut_ptr().add(at), found);
        }
    }
    whole
}
