//! AVERAGE_POOL_2D and MAX_POOL_2D.

use alloc::format;
use core::ops::Range;

use crate::arch::Plain;
use crate::error::check_length;
use crate::{Error, InstructionSet};

/// Channels pooled together.
const CHANNELS: usize = 64;

/// Shapes of a pooling. Pairs are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Images.
    pub batch: usize,
    /// Size of an input image.
    pub input: [usize; 2],
    /// Size of an output image.
    pub output: [usize; 2],
    /// Channels.
    pub channels: usize,
    /// Size of a window.
    pub filter: [usize; 2],
    /// Distance between neighbouring windows.
    pub stride: [usize; 2],
    /// Rows and columns of padding before the input; padding is not counted.
    pub padding: [usize; 2],
}

impl PoolGeometry {
    /// The rows or columns of the input under a window.
    #[inline(always)]
    fn under(&self, d: usize, output: usize) -> Range<usize> {
        let start = output * self.stride[d];
        let end = (start + self.filter[d]).saturating_sub(self.padding[d]);
        start.saturating_sub(self.padding[d])..end.min(self.input[d])
    }
}

/// How a window becomes a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean, rounded half away from zero in the file's own element type: `zero` is the code of that type's zero, 128 for int8.
    Average {
        /// The code of the element type's zero.
        zero: u8,
    },
    /// The largest.
    Maximum,
}

/// A pooling, prepared. The same in both numerics: integers only.
#[derive(Clone, Debug)]
pub struct Pool {
    geometry: PoolGeometry,
    pooling: Pooling,
    range: [u8; 2],
}

impl Pool {
    /// Prepares a pooling; `range` is the activation's smallest and largest code.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] when a window would lie in the padding altogether, or sums could leave 32 bits.
    pub fn new(geometry: PoolGeometry, pooling: Pooling, range: [u8; 2]) -> Result<Self, Error> {
        let fail = |reason: &str| {
            Err(Error::Parameter { what: "geometry", reason: format!("{geometry:?} {reason}") })
        };
        for d in 0..2 {
            let positive =
                [geometry.input[d], geometry.output[d], geometry.filter[d], geometry.stride[d]];
            if positive.contains(&0) || geometry.batch == 0 || geometry.channels == 0 {
                return fail("has a zero");
            }
            let last = (geometry.output[d] - 1).checked_mul(geometry.stride[d]);
            let fits = last
                .and_then(|last| last.checked_add(geometry.filter[d]))
                .is_some_and(|end| end < 1 << 31);
            if !fits || geometry.filter[d] <= geometry.padding[d] {
                return fail("has windows beyond the input");
            }
            if geometry.under(d, geometry.output[d] - 1).is_empty() {
                return fail("has windows that hold padding only");
            }
        }
        // Sums of codes must fit in 32 bits.
        if geometry.filter[0].min(geometry.input[0]) * geometry.filter[1].min(geometry.input[1])
            > 1 << 22
        {
            return fail("has windows that are too large");
        }
        Ok(Pool { geometry, pooling, range })
    }

    /// Runs on codes in NHWC order.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when a slice does not fit the geometry.
    pub fn run(
        &self,
        instruction_set: InstructionSet,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        let g = &self.geometry;
        check_length("input", input.len(), g.batch * g.input[0] * g.input[1] * g.channels)?;
        check_length("output", output.len(), g.batch * g.output[0] * g.output[1] * g.channels)?;
        instruction_set.run_plain(Run { pool: self, input, output });
        Ok(())
    }

    #[inline(always)]
    fn pool(&self, image: &[u8], window: &[Range<usize>; 2], first: usize, codes: &mut [u8]) {
        let g = &self.geometry;
        let taps =
            window[0].clone().flat_map(|y| window[1].clone().map(move |x| (y, x))).map(|(y, x)| {
                let start = (y * g.input[1] + x) * g.channels + first;
                &image[start..start + codes.len()]
            });
        let clamp = |code: u8| code.clamp(self.range[0], self.range[1]);
        match self.pooling {
            Pooling::Average { zero } => {
                let mut sums = [0i32; CHANNELS];
                for tap in taps {
                    for (sum, &code) in sums.iter_mut().zip(tap) {
                        *sum += i32::from(code);
                    }
                }
                let count = (window[0].len() * window[1].len()) as i32;
                let zero = i32::from(zero);
                for (code, sum) in codes.iter_mut().zip(sums) {
                    let sum = sum - zero * count;
                    let half = if sum > 0 { count / 2 } else { -(count / 2) };
                    *code = clamp(((sum + half) / count + zero) as u8);
                }
            }
            Pooling::Maximum => {
                let mut largest = [0u8; CHANNELS];
                for tap in taps {
                    for (largest, &code) in largest.iter_mut().zip(tap) {
                        *largest = code.max(*largest);
                    }
                }
                for (code, largest) in codes.iter_mut().zip(largest) {
                    *code = clamp(largest);
                }
            }
        }
    }
}

/// A pooling and what it runs on.
struct Run<'a> {
    pool: &'a Pool,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl Plain for Run<'_> {
    #[inline(always)]
    fn run(self) {
        let Run { pool, input, output } = self;
        let g = &pool.geometry;
        let mut pixels = output.chunks_exact_mut(g.channels);
        for image in input.chunks_exact(g.input[0] * g.input[1] * g.channels) {
            for y in 0..g.output[0] {
                for x in 0..g.output[1] {
                    let Some(pixel) = pixels.next() else { return };
                    let window = [g.under(0, y), g.under(1, x)];
                    for (block, codes) in pixel.chunks_mut(CHANNELS).enumerate() {
                        pool.pool(image, &window, block * CHANNELS, codes);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: PoolGeometry = PoolGeometry {
        batch: 1,
        input: [2, 2],
        output: [1, 1],
        channels: 1,
        filter: [2, 2],
        stride: [1, 1],
        padding: [0, 0],
    };

    fn pool(pooling: Pooling, input: [u8; 4]) -> u8 {
        let mut output = [0];
        Pool::new(GEOMETRY, pooling, [1, 254])
            .unwrap()
            .run(InstructionSet::best(), &input, &mut output)
            .unwrap();
        output[0]
    }

    #[test]
    fn ties_round_away_from_the_types_zero() {
        assert_eq!(pool(Pooling::Average { zero: 0 }, [1, 1, 2, 2]), 2);
        // int8 -1, -1, -2, -2.
        assert_eq!(pool(Pooling::Average { zero: 128 }, [127, 127, 126, 126]), 126);
        assert_eq!(pool(Pooling::Average { zero: 128 }, [129, 129, 130, 130]), 130);
        assert_eq!(pool(Pooling::Average { zero: 0 }, [255; 4]), 254);
        assert_eq!(pool(Pooling::Maximum, [0, 9, 3, 8]), 9);
        assert_eq!(pool(Pooling::Maximum, [0; 4]), 1);
    }

    #[test]
    fn padding_is_not_counted() {
        let geometry = PoolGeometry { output: [3, 3], padding: [1, 1], ..GEOMETRY };
        let mut output = [0; 9];
        let pool = Pool::new(geometry, Pooling::Average { zero: 0 }, [0, 255]).unwrap();
        pool.run(InstructionSet::best(), &[10, 20, 30, 40], &mut output).unwrap();
        assert_eq!(output, [10, 15, 20, 20, 25, 30, 30, 35, 40]);
        assert!(pool.run(InstructionSet::best(), &[0; 3], &mut output).is_err());
    }

    #[test]
    fn windows_of_padding_alone_are_refused() {
        for geometry in [
            PoolGeometry { padding: [2, 0], ..GEOMETRY },
            PoolGeometry { output: [4, 1], ..GEOMETRY },
            PoolGeometry { stride: [0, 1], ..GEOMETRY },
        ] {
            assert!(Pool::new(geometry, Pooling::Maximum, [0, 255]).is_err());
        }
    }
}
