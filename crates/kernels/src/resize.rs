//! RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR.

use alloc::format;
use alloc::vec::Vec;

use crate::error::check_length;
#[cfg(not(feature = "std"))]
use crate::math::Math;
use crate::{Error, Numerics};

/// Shapes and sampling of a resize. Pairs are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizeGeometry {
    /// Images.
    pub batch: usize,
    /// Size of an input image.
    pub input: [usize; 2],
    /// Size of an output image.
    pub output: [usize; 2],
    /// Channels.
    pub channels: usize,
    /// Whether the centers of the corner pixels of input and output coincide.
    pub align_corners: bool,
    /// Whether pixels are sampled at their centers.
    pub half_pixel_centers: bool,
}

impl ResizeGeometry {
    fn check(&self) -> Result<(), Error> {
        let lengths = [self.input[0], self.input[1], self.output[0], self.output[1]];
        // Positions are computed in 32 bits with up to eleven fractional ones.
        let fits = lengths.iter().all(|length| (1..1 << 20).contains(length));
        if fits && self.batch > 0 && self.channels > 0 {
            return Ok(());
        }
        Err(Error::Parameter {
            what: "geometry",
            reason: format!("{self:?} has a zero or is too large"),
        })
    }

    fn check_buffers(&self, input: &[u8], output: &[u8]) -> Result<(), Error> {
        let length = |size: [usize; 2]| self.batch * size[0] * size[1] * self.channels;
        check_length("input", input.len(), length(self.input))?;
        check_length("output", output.len(), length(self.output))
    }

    /// Input pixels for an output pixel, in `f32` as TFLite computes it.
    fn scale(&self, d: usize) -> f32 {
        if self.align_corners && self.output[d] > 1 {
            (self.input[d] - 1) as f32 / (self.output[d] - 1) as f32
        } else {
            self.input[d] as f32 / self.output[d] as f32
        }
    }

    fn position(&self, d: usize, at: usize) -> f32 {
        if self.half_pixel_centers {
            (at as f32 + 0.5) * self.scale(d) - 0.5
        } else {
            at as f32 * self.scale(d)
        }
    }
}

/// RESIZE_NEAREST_NEIGHBOR, prepared.
#[derive(Clone, Debug)]
pub struct ResizeNearestNeighbor {
    geometry: ResizeGeometry,
    /// For each output row and column, the input's.
    sources: [Vec<usize>; 2],
}

impl ResizeNearestNeighbor {
    /// Prepares a resize.
    ///
    /// TFLite's reference kernel finds positions in `f32`. XNNPACK has no such operator; the built-in kernel that runs in its place
    /// finds them in fixed point with 16 fractional bits, from a ratio rounded up, unless `align_corners` or
    /// `half_pixel_centers` is set. They differ where a position is a whole number that `f32` misses.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a geometry that is empty or too large.
    pub fn new(numerics: Numerics, geometry: ResizeGeometry) -> Result<Self, Error> {
        geometry.check()?;
        let is_fixed_point = numerics == Numerics::Xnnpack
            && !geometry.align_corners
            && !geometry.half_pixel_centers;
        let sources = [0, 1].map(|d| {
            let nearest = |at: usize| match is_fixed_point {
                true => nearest_fixed_point(&geometry, d, at),
                false => nearest_real(&geometry, d, at),
            };
            (0..geometry.output[d]).map(nearest).collect()
        });
        Ok(ResizeNearestNeighbor { geometry, sources })
    }

    /// Bytes of the tables.
    pub fn packed_bytes(&self) -> usize {
        self.sources.iter().map(|sources| size_of_val(sources.as_slice())).sum()
    }

    /// Runs on codes in NHWC order.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when a slice does not fit the geometry.
    pub fn run(&self, input: &[u8], output: &mut [u8]) -> Result<(), Error> {
        let g = &self.geometry;
        g.check_buffers(input, output)?;
        let mut pixels = output.chunks_exact_mut(g.channels);
        for image in input.chunks_exact(g.input[0] * g.input[1] * g.channels) {
            for &y in &self.sources[0] {
                for &x in &self.sources[1] {
                    let Some(pixel) = pixels.next() else { return Ok(()) };
                    pixel
                        .copy_from_slice(&image[(y * g.input[1] + x) * g.channels..][..g.channels]);
                }
            }
        }
        Ok(())
    }
}

fn nearest_real(geometry: &ResizeGeometry, d: usize, at: usize) -> usize {
    let offset = if geometry.half_pixel_centers { 0.5 } else { 0.0 };
    let position = (at as f32 + offset) * geometry.scale(d);
    let rounded = if geometry.align_corners { position.round() } else { position.floor() };
    (rounded.max(0.0) as usize).min(geometry.input[d] - 1)
}

fn nearest_fixed_point(geometry: &ResizeGeometry, d: usize, at: usize) -> usize {
    // Lengths are below 2^20: products are below 2^57.
    let (input, output) = (geometry.input[d] as u64, geometry.output[d] as u64);
    let ratio = (input << 16) / output + 1;
    ((at as u64 * ratio) >> 16).min(input - 1) as usize
}

/// The two input rows or columns that an output one lies between, and how far it is from the first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Between<T> {
    lower: usize,
    upper: usize,
    distance: T,
}

/// RESIZE_BILINEAR, prepared.
#[derive(Clone, Debug)]
pub struct ResizeBilinear {
    geometry: ResizeGeometry,
    arithmetic: Arithmetic,
}

#[derive(Clone, Debug)]
enum Arithmetic {
    /// TFLite's int8 kernel: ten fractional bits, rounded half away from the element type's zero.
    FixedPoint([Vec<Between<i32>>; 2]),
    /// TFLite's uint8 kernel: `f32`, a half added in `f32`, truncated.
    Float([Vec<Between<f32>>; 2]),
    /// XNNPACK: eleven fractional bits, ties up.
    Xnnpack([Vec<Between<i32>>; 2]),
}

impl ResizeBilinear {
    /// Prepares a resize. `is_uint8` is the element type: TFLite's reference kernels differ in arithmetic
    /// (`ResizeBilinearInteger` for int8, `ResizeBilinear` in `f32` for uint8), XNNPACK's do not.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a geometry that is empty or too large.
    pub fn new(
        numerics: Numerics,
        geometry: ResizeGeometry,
        is_uint8: bool,
    ) -> Result<Self, Error> {
        geometry.check()?;
        let arithmetic = match numerics {
            Numerics::Xnnpack => Arithmetic::Xnnpack([0, 1].map(|d| clamped(&geometry, d))),
            Numerics::Reference if is_uint8 => {
                Arithmetic::Float([0, 1].map(|d| real(&geometry, d)))
            }
            Numerics::Reference => {
                Arithmetic::FixedPoint([0, 1].map(|d| fixed_point(&geometry, d)))
            }
        };
        Ok(ResizeBilinear { geometry, arithmetic })
    }

    /// Bytes of the tables.
    pub fn packed_bytes(&self) -> usize {
        (self.geometry.output[0] + self.geometry.output[1]) * size_of::<Between<i32>>()
    }

    /// Runs on codes in NHWC order.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when a slice does not fit the geometry.
    pub fn run(&self, input: &[u8], output: &mut [u8]) -> Result<(), Error> {
        self.geometry.check_buffers(input, output)?;
        match &self.arithmetic {
            Arithmetic::FixedPoint(between) => {
                self.each(between, input, output, |corners, [y, x]| {
                    // In the values of int8, whose zero is code 128.
                    let [a, b, c, d] = corners.map(|code| i32::from(code) - 128);
                    let sum = blend(blend(a, b, x, 10), blend(c, d, x, 10), y, 10);
                    let half = if sum > 0 { 1 << 19 } else { -(1 << 19) };
                    ((sum + half) / (1 << 20) + 128).clamp(0, 255) as u8
                })
            }
            Arithmetic::Float(between) => self.each(between, input, output, |corners, [y, x]| {
                let [a, b, c, d] = corners.map(f32::from);
                let sum =
                    a * (1.0 - y) * (1.0 - x) + c * y * (1.0 - x) + b * (1.0 - y) * x + d * y * x;
                (sum + 0.5) as u8
            }),
            Arithmetic::Xnnpack(between) => self.each(between, input, output, |corners, [y, x]| {
                let [a, b, c, d] = corners.map(i32::from);
                let sum = blend(blend(a, b, x, 11), blend(c, d, x, 11), y, 11);
                ((sum + (1 << 21)) >> 22) as u8
            }),
        }
        Ok(())
    }

    /// Calls `value` with the codes at top left, top right, bottom left and bottom right, and the distances down and right.
    #[inline(always)]
    fn each<T: Copy>(
        &self,
        between: &[Vec<Between<T>>; 2],
        input: &[u8],
        output: &mut [u8],
        value: impl Fn([u8; 4], [T; 2]) -> u8,
    ) {
        let g = &self.geometry;
        let mut pixels = output.chunks_exact_mut(g.channels);
        for image in input.chunks_exact(g.input[0] * g.input[1] * g.channels) {
            let at = |y: usize, x: usize| &image[(y * g.input[1] + x) * g.channels..][..g.channels];
            for y in &between[0] {
                for x in &between[1] {
                    let Some(pixel) = pixels.next() else { return };
                    let (a, b) = (at(y.lower, x.lower), at(y.lower, x.upper));
                    let (c, d) = (at(y.upper, x.lower), at(y.upper, x.upper));
                    for (channel, code) in pixel.iter_mut().enumerate() {
                        let corners = [a[channel], b[channel], c[channel], d[channel]];
                        *code = value(corners, [y.distance, x.distance]);
                    }
                }
            }
        }
    }
}

/// `from` to `to` by a distance of `bits` fractional bits; the result has as many more.
#[inline(always)]
fn blend(from: i32, to: i32, distance: i32, bits: u32) -> i32 {
    from * ((1 << bits) - distance) + to * distance
}

fn fixed_point(geometry: &ResizeGeometry, d: usize) -> Vec<Between<i32>> {
    let (input, output) = (geometry.input[d] as i64, geometry.output[d] as i64);
    let scale = match geometry.align_corners && output > 1 {
        true => (1024 * (input - 1) + (output - 1) / 2) / (output - 1),
        false => (1024 * input + output / 2) / output,
    };
    let shift = if geometry.half_pixel_centers { scale / 2 - 512 } else { 0 };
    let between = |at: i64| {
        let position = at * scale + shift;
        let lower = (position / 1024).max(0);
        let upper = ((position + 1023) / 1024).min(input - 1);
        // Beyond the last row by rounding: `lower` stays within the image.
        let lower = lower.min(input - 1);
        Between {
            lower: lower as usize,
            upper: upper.max(0) as usize,
            distance: (position - 1024 * lower) as i32,
        }
    };
    (0..output).map(between).collect()
}

fn real(geometry: &ResizeGeometry, d: usize) -> Vec<Between<f32>> {
    let last = geometry.input[d] - 1;
    let between = |at: usize| {
        let position = geometry.position(d, at);
        let lower = (position.floor().max(0.0) as usize).min(last);
        let upper = (position.ceil().max(0.0) as usize).min(last);
        Between { lower, upper, distance: position - lower as f32 }
    };
    (0..geometry.output[d]).map(between).collect()
}

fn clamped(geometry: &ResizeGeometry, d: usize) -> Vec<Between<i32>> {
    let last = geometry.input[d] - 1;
    let scale = geometry.scale(d);
    // XNNPACK adds the half pixels as one offset, which rounds differently from `ResizeGeometry::position` at large sizes.
    let offset = if geometry.half_pixel_centers { 0.5 * scale - 0.5 } else { 0.0 };
    let between = |at: usize| {
        let position = (at as f32 * scale + offset).clamp(0.0, last as f32);
        let lower = position as usize;
        let distance = ((position - lower as f32) * 2048.0).round_ties_even() as i32;
        Between { lower, upper: (lower + 1).min(last), distance }
    };
    (0..geometry.output[d]).map(between).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(
        input: usize,
        output: usize,
        align_corners: bool,
        half_pixel_centers: bool,
    ) -> ResizeGeometry {
        ResizeGeometry {
            batch: 1,
            input: [1, input],
            output: [1, output],
            channels: 1,
            align_corners,
            half_pixel_centers,
        }
    }

    #[test]
    fn ramps_stay_ramps() {
        for numerics in Numerics::ALL {
            for is_uint8 in [true, false] {
                for (align_corners, half_pixel_centers, expected) in [
                    (true, false, [0, 40, 80, 120, 160]),
                    (false, false, [0, 48, 96, 144, 160]),
                    (false, true, [0, 32, 80, 128, 160]),
                ] {
                    let geometry = geometry(3, 5, align_corners, half_pixel_centers);
                    let resize = ResizeBilinear::new(numerics, geometry, is_uint8).unwrap();
                    let mut output = [0; 5];
                    resize.run(&[0, 80, 160], &mut output).unwrap();
                    for (found, expected) in output.iter().zip(expected) {
                        assert!(found.abs_diff(expected) <= 1, "{numerics} {output:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_nearest_is_taken() {
        let mut output = [0; 5];
        for (align_corners, half_pixel_centers, expected) in [
            (true, false, [1, 2, 2, 3, 3]),
            (false, false, [1, 1, 2, 2, 3]),
            (false, true, [1, 1, 2, 3, 3]),
        ] {
            let geometry = geometry(3, 5, align_corners, half_pixel_centers);
            for numerics in Numerics::ALL {
                let resize = ResizeNearestNeighbor::new(numerics, geometry).unwrap();
                resize.run(&[1, 2, 3], &mut output).unwrap();
                assert_eq!(output, expected, "{numerics}");
            }
        }
        let empty = geometry(0, 5, false, false);
        assert!(ResizeNearestNeighbor::new(Numerics::Xnnpack, empty).is_err());
    }

    #[test]
    fn half_pixels_are_one_offset_in_xnnpack() {
        // 166 rows to 327: the distances that tell the two sums apart are those next to a tie of 1/4096.
        let geometry = geometry(166, 327, false, true);
        let scale = 166.0f32 / 327.0;
        let distances = |position: &dyn Fn(f32) -> f32| -> Vec<i32> {
            (0..327)
                .map(|at| position(at as f32).clamp(0.0, 165.0))
                .map(|at| ((at - at.floor()) * 2048.0).round_ties_even() as i32)
                .collect()
        };
        let found: Vec<i32> =
            clamped(&geometry, 1).iter().map(|between| between.distance).collect();
        assert_eq!(found, distances(&|at| at * scale + (0.5 * scale - 0.5)));
        assert_ne!(found, distances(&|at| (at + 0.5) * scale - 0.5));
    }

    #[test]
    fn whole_positions_are_missed_in_f32_only() {
        // Row 11 of 22 is at 13 of 26; 26 / 22 is rounded down in f32.
        let input: Vec<u8> = (0..26).collect();
        let nearest = |numerics, align_corners, half_pixel_centers| {
            let geometry = geometry(26, 22, align_corners, half_pixel_centers);
            let mut output = [0; 22];
            let resize = ResizeNearestNeighbor::new(numerics, geometry).unwrap();
            resize.run(&input, &mut output).unwrap();
            output
        };
        let [fixed, real] = Numerics::ALL.map(|numerics| nearest(numerics, false, false));
        assert_eq!([fixed[11], real[11]], [13, 12]);
        assert_eq!([&fixed[..11], &fixed[12..]], [&real[..11], &real[12..]]);
        for (align_corners, half_pixel_centers) in [(true, false), (false, true)] {
            let [a, b] =
                Numerics::ALL.map(|numerics| nearest(numerics, align_corners, half_pixel_centers));
            assert_eq!(a, b);
        }
    }
}
