//! NEON. Stable Rust has neither its vectors in 32 bits nor a way to ask for it: the inner loops of the convolutions are written in
//! assembly, and Linux says what the CPU has.

use core::arch::global_asm;
use std::sync::OnceLock;

use crate::InstructionSet;
use crate::arch::Loops;
use crate::requantize::{FixedPoint, FixedPointMultiplier, Float};

global_asm!(include_str!("neon.s"), options(raw));

// What each reads and writes is said in neon.s.
unsafe extern "C" {
    fn mobileight_neon_differences(codes: *const u8, to: *mut i16, count: usize, zero_point: u32);
    fn mobileight_neon_products(
        patches: *const i16,
        weights: *const i16,
        row_bytes: usize,
        sums: *mut i32,
        bias: i32,
        stride_bytes: usize,
    );
    fn mobileight_neon_multiply_add(
        sums: *mut i32,
        codes: *const u8,
        weights: *const i16,
        count: usize,
        zero_point: u32,
    );
    fn mobileight_neon_requantize_float(
        sums: *const i32,
        multipliers: *const f32,
        codes: *mut u8,
        count: usize,
        constants: *const [u32; 4],
    );
    fn mobileight_neon_requantize_fixed(
        sums: *const i32,
        multipliers: *const FixedPointMultiplier,
        codes: *mut u8,
        count: usize,
        constants: *const [i32; 3],
    );
}

/// Numbers that one turn of a loop takes.
const TURN: usize = 8;

/// The proof that the CPU has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

impl Loops for Neon {
    fn new() -> Option<Self> {
        static IS_AVAILABLE: OnceLock<bool> = OnceLock::new();
        IS_AVAILABLE.get_or_init(|| has_neon().unwrap_or(false)).then_some(Neon(()))
    }

    fn instruction_set(self) -> InstructionSet {
        InstructionSet::Neon
    }

    fn differences(self, codes: &[u8], zero_point: u8, to: &mut [i16]) -> usize {
        let count = whole([codes.len(), to.len()]);
        if count > 0 {
            let (codes, to) = (codes.as_ptr(), to.as_mut_ptr());
            // SAFETY: `self` proves the instructions; both slices have `count` numbers.
            unsafe { mobileight_neon_differences(codes, to, count, zero_point.into()) };
        }
        count
    }

    fn products<const PIXELS: usize>(
        self,
        patches: &[i16],
        weights: &[i16],
        bias: i32,
        sums: &mut [i32],
        stride: usize,
    ) -> bool {
        let row = weights.len();
        let fits = patches.len() == PIXELS * row && sums.len() > (PIXELS - 1) * stride;
        if PIXELS != TURN || row == 0 || !row.is_multiple_of(TURN) || !fits {
            return false;
        }
        let (row, stride) = (size_of_val(weights), size_of::<i32>() * stride);
        let (patches, weights, sums) = (patches.as_ptr(), weights.as_ptr(), sums.as_mut_ptr());
        // SAFETY: `self` proves the instructions; the lengths were just checked.
        unsafe { mobileight_neon_products(patches, weights, row, sums, bias, stride) };
        true
    }

    fn multiply_add(
        self,
        sums: &mut [i32],
        codes: &[u8],
        zero_point: u8,
        weights: &[i16],
    ) -> usize {
        let count = whole([sums.len(), codes.len(), weights.len()]);
        if count > 0 {
            let (sums, codes, weights) = (sums.as_mut_ptr(), codes.as_ptr(), weights.as_ptr());
            let zero_point = zero_point.into();
            // SAFETY: `self` proves the instructions; all slices have `count` numbers.
            unsafe { mobileight_neon_multiply_add(sums, codes, weights, count, zero_point) };
        }
        count
    }

    fn requantize_float(
        self,
        float: Float,
        sums: &[i32],
        multipliers: &[f32],
        codes: &mut [u8],
    ) -> usize {
        let count = whole([sums.len(), multipliers.len(), codes.len()]);
        if count > 0 {
            let [least, most] = float.bounds.map(f32::to_bits);
            let magic = Float::MAGIC.to_bits();
            let constants = [least, most, magic, magic.wrapping_sub(float.zero_point as u32)];
            let (sums, multipliers) = (sums.as_ptr(), multipliers.as_ptr());
            let codes = codes.as_mut_ptr();
            // SAFETY: `self` proves the instructions; all slices have `count` numbers.
            unsafe {
                mobileight_neon_requantize_float(sums, multipliers, codes, count, &constants)
            };
        }
        count
    }

    fn requantize_fixed(
        self,
        fixed: FixedPoint,
        sums: &[i32],
        multipliers: &[FixedPointMultiplier],
        codes: &mut [u8],
    ) -> usize {
        let count = whole([sums.len(), multipliers.len(), codes.len()]);
        if count > 0 {
            let constants = [fixed.zero_point, fixed.range[0], fixed.range[1]];
            let (sums, multipliers) = (sums.as_ptr(), multipliers.as_ptr());
            let codes = codes.as_mut_ptr();
            // SAFETY: `self` proves the instructions; all slices have `count` numbers.
            unsafe {
                mobileight_neon_requantize_fixed(sums, multipliers, codes, count, &constants)
            };
        }
        count
    }
}

/// The numbers that fill whole turns in the shortest of some slices.
fn whole<const N: usize>(lengths: [usize; N]) -> usize {
    lengths.into_iter().min().unwrap_or(0) / TURN * TURN
}

/// What the system says of the CPU: pairs of a number and a value, each a word.
fn has_neon() -> Option<bool> {
    const AT_HWCAP: usize = 16;
    const HWCAP_NEON: usize = 1 << 12;
    let bytes = std::fs::read("/proc/self/auxv").ok()?;
    let (words, _) = bytes.as_chunks::<{ size_of::<usize>() }>();
    let mut words = words.iter().map(|&word| usize::from_ne_bytes(word));
    while let (Some(what), Some(value)) = (words.next(), words.next()) {
        if what == AT_HWCAP {
            return Some(value & HWCAP_NEON != 0);
        }
    }
    None
}
