//! Convolution over all input channels, as products of gathered patches and weight rows.

use alloc::vec;
use alloc::vec::Vec;

use super::tiles::Tiles;
use super::{Geometry, Weights, accumulator_bounds, check_part, check_scratch, length, magnitudes};
use crate::arch::{Loops, with_loops};
use crate::bytes;
use crate::error::check_length;
use crate::requantize::{Requantization, Requantize, with_arithmetic};
use crate::{Error, InstructionSet};

/// Output pixels computed together: each weight loaded serves all of them.
const PIXELS: usize = 8;
/// Output channels computed together: their sums stay in the first cache.
const CHANNELS: usize = 64;
/// Rows of weights and patches are padded with zeros to a multiple of this.
const STEP: usize = 16;

/// CONV_2D and FULLY_CONNECTED, prepared.
#[derive(Clone, Debug)]
pub struct Convolution {
    geometry: Geometry,
    kernel: Kernel,
}

#[derive(Clone, Debug)]
enum Kernel {
    Portable(Portable),
    Vector(Tiles),
}

/// The portable kernel, the oracle for all others. An instruction set may have [`Loops`](crate::arch::Loops) for it.
#[derive(Clone, Debug)]
struct Portable {
    instruction_set: InstructionSet,
    geometry: Geometry,
    input_zero_point: u8,
    /// A row of differences for each output channel.
    weights: Vec<i16>,
    /// Length of a row.
    row: usize,
    bias: Vec<i32>,
    requantization: Requantization,
}

impl Convolution {
    /// Packs the weights of a convolution for an instruction set.
    ///
    /// `weights` are in the order output channel, height, width, input channel; `bias` and `requantization` have one entry for each output channel.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for slices that do not fit the geometry, [`Error::AccumulatorOverflow`] when some input could
    /// overflow the accumulator.
    pub fn new(
        instruction_set: InstructionSet,
        geometry: Geometry,
        input_zero_point: u8,
        weights: Weights<'_>,
        bias: &[i32],
        requantization: Requantization,
    ) -> Result<Self, Error> {
        let geometry = geometry.checked()?;
        let [height, width] = geometry.filter;
        let channels = geometry.output_channels;
        let taps = length("weights", &[height, width, geometry.input_channels])?;
        check_length("weights", weights.len(), length("weights", &[channels, taps])?)?;
        check_length("bias", bias.len(), channels)?;
        check_length("multipliers", requantization.channels(), channels)?;
        let bounds = accumulator_bounds(input_zero_point, bias, |channel| {
            magnitudes(taps, weights.part(channel * taps..(channel + 1) * taps).differences())
        })?;
        let tiles = Tiles::new(
            instruction_set,
            geometry,
            input_zero_point,
            weights,
            bias,
            &bounds,
            &requantization,
        );
        if let Some(tiles) = tiles {
            return Ok(Convolution { geometry, kernel: Kernel::Vector(tiles) });
        }
        let row = taps.next_multiple_of(STEP);
        let mut packed = vec![0; length("weights", &[channels, row])?];
        for (packed, weights) in packed.chunks_exact_mut(row).zip(weights.rows(taps)) {
            packed.iter_mut().zip(weights.differences()).for_each(|(packed, w)| *packed = w);
        }
        let portable = Portable {
            instruction_set,
            geometry,
            input_zero_point,
            weights: packed,
            row,
            bias: bias.to_vec(),
            requantization,
        };
        Ok(Convolution { geometry, kernel: Kernel::Portable(portable) })
    }

    /// The instruction set of the kernel that runs.
    pub fn instruction_set(&self) -> InstructionSet {
        match &self.kernel {
            Kernel::Portable(portable) => {
                with_loops!(portable.instruction_set, |loops| loops.instruction_set())
            }
            Kernel::Vector(tiles) => tiles.instruction_set(),
        }
    }

    /// Bytes of the packed weights, biases and multipliers.
    pub fn packed_bytes(&self) -> usize {
        match &self.kernel {
            Kernel::Portable(portable) => portable.packed_bytes(),
            Kernel::Vector(tiles) => tiles.packed_bytes(),
        }
    }

    /// Bytes of working memory that [`run`](Convolution::run) takes.
    pub fn scratch_bytes(&self) -> usize {
        match &self.kernel {
            Kernel::Portable(portable) => portable.scratch_bytes(),
            Kernel::Vector(tiles) => tiles.scratch_bytes(),
        }
    }

    /// Bytes of the smallest part of the output that can be computed by itself.
    pub fn unit(&self) -> usize {
        match &self.kernel {
            Kernel::Portable(_) => self.geometry.output_channels,
            Kernel::Vector(tiles) => tiles.unit(),
        }
    }

    /// Runs on codes in NHWC order. `scratch` is aligned for `i32` and as long as
    /// [`scratch_bytes`](Convolution::scratch_bytes).
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when a slice does not fit, [`Error::Parameter`] for a scratch that is not aligned.
    pub fn run(&self, input: &[u8], output: &mut [u8], scratch: &mut [u8]) -> Result<(), Error> {
        check_length("output", output.len(), self.geometry.output_length()?)?;
        self.run_part(input, 0, output, scratch)
    }

    /// Computes a part of the output, which starts at `start` and is made of whole [`units`](Convolution::unit); its last may be the
    /// output's rest.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Convolution::run), and [`Error::Parameter`] for a part that is none.
    pub fn run_part(
        &self,
        input: &[u8],
        start: usize,
        output: &mut [u8],
        scratch: &mut [u8],
    ) -> Result<(), Error> {
        check_part(&self.geometry, self.unit(), input, start, output)?;
        check_scratch(scratch, self.scratch_bytes())?;
        match &self.kernel {
            Kernel::Portable(portable) => portable.run(input, start, output, scratch),
            Kernel::Vector(tiles) => tiles.run(input, start, output, scratch),
        }
        Ok(())
    }
}

impl Portable {
    fn packed_bytes(&self) -> usize {
        size_of_val(self.weights.as_slice())
            + size_of_val(self.bias.as_slice())
            + self.requantization.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        PIXELS * self.row * size_of::<i16>()
    }

    fn run(&self, input: &[u8], start: usize, output: &mut [u8], scratch: &mut [u8]) {
        let first = start / self.geometry.output_channels;
        let patches = bytes::from_bytes_mut::<i16>(scratch).unwrap_or_default();
        with_loops!(self.instruction_set, |loops| {
            with_arithmetic!(self.requantization, |arithmetic, multipliers| {
                self.run_with(loops, *arithmetic, multipliers, input, first, output, patches)
            })
        });
    }

    #[expect(clippy::too_many_arguments)]
    fn run_with<L: Loops, R: Requantize>(
        &self,
        loops: L,
        requantize: R,
        multipliers: &[R::Multiplier],
        input: &[u8],
        first: usize,
        output: &mut [u8],
        patches: &mut [i16],
    ) {
        // What lies beyond the taps is multiplied by zeros, but was left there by another operator: keep it small.
        patches.fill(0);
        let channels = self.geometry.output_channels;
        for (tile, output) in output.chunks_mut(PIXELS * channels).enumerate() {
            for at in 0..output.len() / channels {
                let patch = &mut patches[at * self.row..][..self.row];
                self.gather(loops, input, first + tile * PIXELS + at, patch);
            }
            let weights = self.weights.chunks(CHANNELS * self.row);
            let blocks = weights.zip(self.bias.chunks(CHANNELS)).zip(multipliers.chunks(CHANNELS));
            for (block, ((weights, bias), multipliers)) in blocks.enumerate() {
                let mut sums = [[0; CHANNELS]; PIXELS];
                for (channel, (weights, &bias)) in
                    weights.chunks_exact(self.row).zip(bias).enumerate()
                {
                    let sums = &mut sums.as_flattened_mut()[channel..];
                    products(loops, patches, weights, bias, sums);
                }
                for (sums, output) in sums.iter().zip(output.chunks_exact_mut(channels)) {
                    let output = &mut output[block * CHANNELS..][..bias.len()];
                    requantize.requantize_all(loops, &sums[..bias.len()], multipliers, output);
                }
            }
        }
    }

    /// The differences under the window of an output pixel, in the order of the weights; padding is zero.
    #[inline]
    fn gather(&self, loops: impl Loops, input: &[u8], pixel: usize, patch: &mut [i16]) {
        let g = &self.geometry;
        let depth = g.input_channels;
        let copy = |patch: &mut [i16], codes: &[u8]| {
            let done = loops.differences(codes, self.input_zero_point, patch);
            for (difference, &code) in patch[done..].iter_mut().zip(&codes[done..]) {
                *difference = i16::from(code) - i16::from(self.input_zero_point);
            }
        };
        if g.is_pointwise() {
            return copy(patch, &input[pixel * depth..][..depth]);
        }
        let (x, y) = (pixel % g.output[1], pixel / g.output[1] % g.output[0]);
        let image = pixel / (g.output[0] * g.output[1]);
        for tap_y in 0..g.filter[0] {
            for tap_x in 0..g.filter[1] {
                let patch = &mut patch[(tap_y * g.filter[1] + tap_x) * depth..][..depth];
                match (g.source(0, y, tap_y), g.source(1, x, tap_x)) {
                    (Some(row), Some(column)) => {
                        let at = (image * g.input[0] + row) * g.input[1] + column;
                        copy(patch, &input[at * depth..][..depth]);
                    }
                    _ => patch.fill(0),
                }
            }
        }
    }
}

/// The products of [`PIXELS`] patches and a row of weights, and the bias, to every [`CHANNELS`]-th sum. Sums may wrap on the way; the whole
/// fits.
#[inline(always)]
fn products(loops: impl Loops, patches: &[i16], weights: &[i16], bias: i32, to: &mut [i32]) {
    if loops.products::<PIXELS>(patches, weights, bias, to, CHANNELS) {
        return;
    }
    // One loop over the row with a sum for each patch: the shape that compilers vectorize with a multiply-add of pairs.
    let mut sums = [bias; PIXELS];
    let patches: [&[i16]; PIXELS] =
        core::array::from_fn(|at| &patches[at * weights.len()..][..weights.len()]);
    for (at, &weight) in weights.iter().enumerate() {
        for (sum, patch) in sums.iter_mut().zip(&patches) {
            *sum = sum.wrapping_add(i32::from(patch[at]) * i32::from(weight));
        }
    }
    to.iter_mut().step_by(CHANNELS).zip(sums).for_each(|(to, sum)| *to = sum);
}
