//! What a machine can do at best, measured: the roofs that kernels' speeds are compared with.

use core::hint::black_box;
use std::time::{Duration, Instant};

use crate::InstructionSet;
use crate::arch::{Simd, Task};

/// The multiply-adds a second of one thread that does nothing else, with all operands in registers; `None` for the portable kernels, whose
/// instructions are the compiler's choice. Takes some milliseconds.
pub fn multiply_adds_per_second(set: InstructionSet) -> Option<f64> {
    const ROUNDS: usize = 20_000;
    best_rate(|| {
        let mut count = 0;
        set.run(Products { rounds: ROUNDS, count: &mut count }).ok()?;
        Some(count as f64)
    })
}

/// The bytes a second that one thread copies within its nearer caches, read and written ones counted. Takes some milliseconds.
pub fn copied_bytes_per_second() -> f64 {
    // A typical activation; two of them fit into the second cache.
    let from = vec![1u8; 128 << 10];
    let mut to = vec![0u8; from.len()];
    let copied = best_rate(|| {
        for _ in 0..100 {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
        }
        Some(200.0 * from.len() as f64)
    });
    copied.unwrap_or(f64::INFINITY)
}

/// The highest of some measurements of what is done a second: others were disturbed.
fn best_rate(mut run: impl FnMut() -> Option<f64>) -> Option<f64> {
    let mut best = 0f64;
    let begin = Instant::now();
    loop {
        let start = Instant::now();
        let done = run()?;
        best = best.max(done / start.elapsed().as_secs_f64());
        // At least once, however busy the machine is.
        if begin.elapsed() >= Duration::from_millis(20) {
            return Some(best);
        }
    }
}

struct Products<'a> {
    rounds: usize,
    count: &'a mut usize,
}

impl Task for Products<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Enough sums that none waits for its last product, few enough for the registers of all sets. No product is the same as another:
        // compilers would compute it once.
        const SUMS: usize = 12;
        let mut sums = [simd.splat(black_box(0)); SUMS];
        let mut weights = [simd.splat(0); SUMS];
        for (weights, at) in weights.iter_mut().zip(0x0102_0304..) {
            *weights = simd.splat(black_box(at));
        }
        let mut codes = simd.splat(black_box(0x0101_0101));
        let step = simd.splat(black_box(0x0001_0001));
        for _ in 0..self.rounds {
            for (sum, &weights) in sums.iter_mut().zip(&weights) {
                *sum = simd.dot(*sum, codes, weights);
            }
            codes = simd.add(codes, step);
        }
        let mut result = [0i32; 16];
        const { assert!(S::LANES <= 16) };
        for sum in sums {
            // SAFETY: the array has a vector's lanes.
            unsafe { simd.write(sum, result.as_mut_ptr()) };
            black_box(&result);
        }
        *self.count = self.rounds * SUMS * S::LANES * S::GROUP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "measures time")]
    fn wider_instructions_have_higher_roofs() {
        assert_eq!(multiply_adds_per_second(InstructionSet::Portable), None);
        let best = multiply_adds_per_second(InstructionSet::best()).unwrap_or(1e12);
        assert!((1e8..1e14).contains(&best), "{best}");
        assert!(copied_bytes_per_second() > 1e7);
    }
}
