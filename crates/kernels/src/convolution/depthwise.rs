//! Convolution of each channel by itself.

use alloc::format;
use alloc::vec::Vec;

use super::columns::Columns;
use super::{Geometry, Weights, accumulator_bounds, check_part, check_scratch, length, magnitudes};
use crate::arch::{Loops, with_loops};
use crate::error::check_length;
use crate::requantize::{Requantization, Requantize, with_arithmetic};
use crate::{Error, InstructionSet};

/// Output channels accumulated together: their sums stay in registers or the first cache.
const CHANNELS: usize = 64;

/// DEPTHWISE_CONV_2D, prepared.
#[derive(Clone, Debug)]
pub struct DepthwiseConvolution {
    geometry: Geometry,
    kernel: Kernel,
}

#[derive(Clone, Debug)]
enum Kernel {
    Portable(Portable),
    Vector(Columns),
}

/// The portable kernel, the oracle for all others. An instruction set may have [`Loops`] for it.
#[derive(Clone, Debug)]
struct Portable {
    instruction_set: InstructionSet,
    geometry: Geometry,
    multiplier: usize,
    input_zero_point: u8,
    /// Differences in the order height, width, output channel.
    weights: Vec<i16>,
    bias: Vec<i32>,
    requantization: Requantization,
}

impl DepthwiseConvolution {
    /// Prepares a depthwise convolution for an instruction set.
    ///
    /// `weights` are in the order height, width, output channel. Output channel `c` reads
    /// input channel `c / depth multiplier`; `bias` and `requantization` have one entry for each output channel.
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
        let channels = geometry.output_channels;
        if !channels.is_multiple_of(geometry.input_channels) {
            return Err(Error::Parameter {
                what: "geometry",
                reason: format!(
                    "{channels} output channels are no multiple of {} input channels",
                    geometry.input_channels
                ),
            });
        }
        let [height, width] = geometry.filter;
        check_length("weights", weights.len(), length("weights", &[height, width, channels])?)?;
        check_length("bias", bias.len(), channels)?;
        check_length("multipliers", requantization.channels(), channels)?;
        let bounds = accumulator_bounds(input_zero_point, bias, |channel| {
            magnitudes(height * width, weights.column(channel, channels))
        })?;
        let columns = Columns::new(
            instruction_set,
            geometry,
            input_zero_point,
            weights,
            bias,
            &bounds,
            &requantization,
        );
        if let Some(columns) = columns {
            return Ok(DepthwiseConvolution { geometry, kernel: Kernel::Vector(columns) });
        }
        let portable = Portable {
            instruction_set,
            geometry,
            multiplier: channels / geometry.input_channels,
            input_zero_point,
            weights: weights.differences().collect(),
            bias: bias.to_vec(),
            requantization,
        };
        Ok(DepthwiseConvolution { geometry, kernel: Kernel::Portable(portable) })
    }

    /// The instruction set of the kernel that runs.
    pub fn instruction_set(&self) -> InstructionSet {
        match &self.kernel {
            Kernel::Portable(portable) => {
                with_loops!(portable.instruction_set, |loops| loops.instruction_set())
            }
            Kernel::Vector(columns) => columns.instruction_set(),
        }
    }

    /// Bytes of the packed weights, biases and multipliers.
    pub fn packed_bytes(&self) -> usize {
        match &self.kernel {
            Kernel::Portable(portable) => portable.packed_bytes(),
            Kernel::Vector(columns) => columns.packed_bytes(),
        }
    }

    /// Bytes of working memory that [`run`](DepthwiseConvolution::run) takes.
    pub fn scratch_bytes(&self) -> usize {
        match &self.kernel {
            Kernel::Portable(_) => 0,
            Kernel::Vector(columns) => columns.scratch_bytes(),
        }
    }

    /// Bytes of the smallest part of the output that can be computed by itself.
    pub fn unit(&self) -> usize {
        match &self.kernel {
            Kernel::Portable(_) => self.geometry.output_channels,
            Kernel::Vector(columns) => columns.unit(),
        }
    }

    /// Runs on codes in NHWC order. `scratch` is aligned for `i32` and as long as
    /// [`scratch_bytes`](DepthwiseConvolution::scratch_bytes).
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when a slice does not fit, [`Error::Parameter`] for a scratch that is not aligned.
    pub fn run(&self, input: &[u8], output: &mut [u8], scratch: &mut [u8]) -> Result<(), Error> {
        check_length("output", output.len(), self.geometry.output_length()?)?;
        self.run_part(input, 0, output, scratch)
    }

    /// Computes a part of the output, which starts at `start` and is made of whole [`units`](DepthwiseConvolution::unit); its last may be the
    /// output's rest.
    ///
    /// # Errors
    ///
    /// Those of [`run`](DepthwiseConvolution::run), and [`Error::Parameter`] for a part that is none.
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
            Kernel::Portable(portable) => portable.run(input, start, output),
            Kernel::Vector(columns) => columns.run(input, start, output, scratch),
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

    fn run(&self, input: &[u8], start: usize, output: &mut [u8]) {
        let first = start / self.geometry.output_channels;
        with_loops!(self.instruction_set, |loops| {
            with_arithmetic!(self.requantization, |arithmetic, multipliers| {
                self.run_with(loops, *arithmetic, multipliers, input, first, output)
            })
        });
    }

    fn run_with<L: Loops, R: Requantize>(
        &self,
        loops: L,
        requantize: R,
        multipliers: &[R::Multiplier],
        input: &[u8],
        first: usize,
        output: &mut [u8],
    ) {
        let g = &self.geometry;
        let image_length = g.input[0] * g.input[1] * g.input_channels;
        for (pixel, output) in (first..).zip(output.chunks_exact_mut(g.output_channels)) {
            let (row, x) = (pixel / g.output[1], pixel % g.output[1]);
            let image = &input[row / g.output[0] * image_length..][..image_length];
            for (block, codes) in output.chunks_mut(CHANNELS).enumerate() {
                let first = block * CHANNELS;
                let at = [row % g.output[0], x];
                let sums = self.accumulate(loops, image, at, first, codes.len());
                let multipliers = &multipliers[first..][..codes.len()];
                requantize.requantize_all(loops, &sums[..codes.len()], multipliers, codes);
            }
        }
    }

    /// The accumulators of `count` output channels from `first` on, at an output pixel.
    #[inline(always)]
    fn accumulate(
        &self,
        loops: impl Loops,
        image: &[u8],
        at: [usize; 2],
        first: usize,
        count: usize,
    ) -> [i32; CHANNELS] {
        let g = &self.geometry;
        let mut sums = [0i32; CHANNELS];
        sums[..count].copy_from_slice(&self.bias[first..][..count]);
        for tap_y in 0..g.filter[0] {
            let Some(row) = g.source(0, at[0], tap_y) else { continue };
            for tap_x in 0..g.filter[1] {
                let Some(column) = g.source(1, at[1], tap_x) else { continue };
                let codes = &image[(row * g.input[1] + column) * g.input_channels..];
                let tap = (tap_y * g.filter[1] + tap_x) * g.output_channels;
                let weights = &self.weights[tap + first..][..count];
                let product = |code: u8, weight: i16| {
                    i32::from(i16::from(code) - i16::from(self.input_zero_point))
                        * i32::from(weight)
                };
                if self.multiplier == 1 {
                    let codes = &codes[first..][..count];
                    let zero_point = self.input_zero_point;
                    let done = loops.multiply_add(&mut sums, codes, zero_point, weights);
                    let rest = weights[done..].iter().zip(&codes[done..]);
                    for (sum, (&weight, &code)) in sums[done..].iter_mut().zip(rest) {
                        *sum = sum.wrapping_add(product(code, weight));
                    }
                } else {
                    for (channel, (sum, &weight)) in sums.iter_mut().zip(weights).enumerate() {
                        let code = codes[(first + channel) / self.multiplier];
                        *sum = sum.wrapping_add(product(code, weight));
                    }
                }
            }
        }
        sums
    }
}
