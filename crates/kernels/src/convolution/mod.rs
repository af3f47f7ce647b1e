//! CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED.
//!
//! All arithmetic is on differences of values and their zero points, of 9 bits for either element type: their products are exact, and
//! padding is zero.

use alloc::format;
use alloc::vec::Vec;

mod columns;
mod dense;
mod depthwise;
mod rows;
mod tiles;

pub use dense::Convolution;
pub use depthwise::DepthwiseConvolution;

use crate::Error;
use crate::error::check_length;

/// Packed bytes of each tap of a window whose taps are not beside each other.
pub const GAPPED_TAP_BYTES: u64 = size_of::<tiles::Run>() as u64;

/// The constant weights of a convolution, as a file has them: a byte each.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    bytes: &'a [u8],
    /// Makes unsigned bytes of signed ones, in the order of their values.
    flip: u8,
    /// The zero point among unsigned bytes.
    zero: i16,
}

impl<'a> Weights<'a> {
    /// int8 weights, whose zero point is 0.
    pub fn int8(bytes: &'a [u8]) -> Self {
        Weights { bytes, flip: 0x80, zero: 128 }
    }

    /// uint8 weights.
    pub fn uint8(bytes: &'a [u8], zero_point: u8) -> Self {
        Weights { bytes, flip: 0, zero: zero_point.into() }
    }

    fn len(self) -> usize {
        self.bytes.len()
    }

    /// The bytes that are differences as they are.
    fn as_int8(self) -> Option<&'a [u8]> {
        (self.flip == 0x80 && self.zero == 128).then_some(self.bytes)
    }

    /// The difference of a weight and its zero point.
    #[inline(always)]
    fn at(self, index: usize) -> i16 {
        i16::from(self.bytes[index] ^ self.flip) - self.zero
    }

    /// All differences.
    #[inline(always)]
    fn differences(self) -> impl Iterator<Item = i16> + Clone + 'a {
        self.bytes.iter().map(move |byte| i16::from(byte ^ self.flip) - self.zero)
    }

    /// Some of the weights.
    #[inline(always)]
    fn part(self, range: core::ops::Range<usize>) -> Self {
        Weights { bytes: &self.bytes[range], ..self }
    }

    /// The weights of each output channel where they are together.
    fn rows(self, taps: usize) -> impl Iterator<Item = Weights<'a>> + Clone {
        self.bytes.chunks_exact(taps).map(move |bytes| Weights { bytes, ..self })
    }

    /// The differences of an output channel where channels come last.
    fn column(self, channel: usize, channels: usize) -> impl Iterator<Item = i16> + 'a {
        (channel..self.len()).step_by(channels).map(move |index| self.at(index))
    }

    /// How many differences are less or more than that.
    fn count_beyond(self, least: i16, most: i16) -> usize {
        let is_beyond = |w| u8::from(w < least || w > most);
        // Sums of bytes, which vectors hold the most of.
        let counts = self.bytes.chunks(255).map(|bytes| {
            usize::from(Weights { bytes, ..self }.differences().map(is_beyond).sum::<u8>())
        });
        counts.sum()
    }

    /// The smallest and the largest difference.
    fn extremes(self) -> (i16, i16) {
        let first = (i16::MAX, i16::MIN);
        self.differences().fold(first, |(least, most), w| (least.min(w), most.max(w)))
    }
}

/// The sum of magnitudes. `taps` is their number, below 2^31.
fn magnitudes(taps: usize, differences: impl Iterator<Item = i16>) -> u64 {
    let magnitudes = differences.map(|difference| u32::from(difference.unsigned_abs()));
    if taps < 1 << 23 {
        // These cannot overflow, and vectors hold more of them.
        return magnitudes.sum::<u32>().into();
    }
    magnitudes.map(u64::from).sum()
}

/// Shapes of a convolution. Pairs are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Images.
    pub batch: usize,
    /// Size of an input image.
    pub input: [usize; 2],
    /// Channels of the input.
    pub input_channels: usize,
    /// Size of an output image.
    pub output: [usize; 2],
    /// Channels of the output.
    pub output_channels: usize,
    /// Size of a window.
    pub filter: [usize; 2],
    /// Distance between neighbouring windows.
    pub stride: [usize; 2],
    /// Distance between neighbouring taps.
    pub dilation: [usize; 2],
    /// Rows and columns of padding before the input.
    pub padding: [usize; 2],
}

impl Geometry {
    /// The geometry of a matrix product: `rows` vectors of `input_channels` to vectors of `output_channels`.
    pub fn matrix(rows: usize, input_channels: usize, output_channels: usize) -> Self {
        Geometry {
            batch: 1,
            input: [1, rows],
            input_channels,
            output: [1, rows],
            output_channels,
            filter: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            padding: [0, 0],
        }
    }

    /// Whether each output pixel reads just the input pixel at its place.
    fn is_pointwise(&self) -> bool {
        self.filter == [1, 1] && self.stride == [1, 1] && self.input == self.output
    }

    fn input_length(&self) -> Result<usize, Error> {
        length("input", &[self.batch, self.input[0], self.input[1], self.input_channels])
    }

    fn output_length(&self) -> Result<usize, Error> {
        length("output", &[self.batch, self.output[0], self.output[1], self.output_channels])
    }

    /// Codes of an output row.
    fn output_row(&self) -> usize {
        self.output[1] * self.output_channels
    }

    /// The same geometry, checked, without numbers that mean nothing: the stride of one window, the distance of one tap.
    fn checked(mut self) -> Result<Self, Error> {
        self.check()?;
        for d in 0..2 {
            if self.output[d] == 1 {
                self.stride[d] = 1;
            }
            if self.filter[d] == 1 {
                self.dilation[d] = 1;
            }
        }
        // Vector kernels copy the rows under windows, padding included.
        let columns =
            (self.output[1] - 1) * self.stride[1] + (self.filter[1] - 1) * self.dilation[1] + 1;
        length("rows under a window", &[self.filter[0], columns, self.input_channels])?;
        Ok(self)
    }

    fn check(&self) -> Result<(), Error> {
        let positive = [self.input, self.output, self.filter, self.stride, self.dilation];
        let is_positive = positive.iter().flatten().all(|&value| value > 0)
            && self.batch > 0
            && self.input_channels > 0
            && self.output_channels > 0;
        let fits = |d: usize| {
            // The last window may reach beyond the input by its own extent at most; then no position overflows.
            let taps = (self.filter[d] - 1).checked_mul(self.dilation[d]);
            let steps = (self.output[d] - 1).checked_mul(self.stride[d]);
            let end = taps.zip(steps).and_then(|(taps, steps)| taps.checked_add(steps));
            end.is_some_and(|end| end < 1 << 31) && self.padding[d] < 1 << 31
        };
        if is_positive && fits(0) && fits(1) {
            self.input_length()?;
            self.output_length()?;
            return Ok(());
        }
        Err(Error::Parameter {
            what: "geometry",
            reason: format!("{self:?} has a zero or is too large"),
        })
    }

    /// The input row or column that a tap of a window reads; `None` in the padding.
    #[inline(always)]
    fn source(&self, d: usize, output: usize, tap: usize) -> Option<usize> {
        let position = output * self.stride[d] + tap * self.dilation[d];
        position.checked_sub(self.padding[d]).filter(|&at| at < self.input[d])
    }
}

fn length(what: &'static str, shape: &[usize]) -> Result<usize, Error> {
    let product = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    product
        .filter(|&n| n < 1 << 31)
        .ok_or_else(|| Error::Parameter { what, reason: format!("shape {shape:?} is too large") })
}

/// The largest magnitude of each output channel's accumulator for any input: it must fit in 32 bits.
///
/// `weights` gives the sum of the magnitudes of an output channel's differences.
fn accumulator_bounds(
    input_zero_point: u8,
    bias: &[i32],
    weights: impl Fn(usize) -> u64,
) -> Result<Vec<u64>, Error> {
    let largest = u64::from(input_zero_point.max(255 - input_zero_point));
    let bound = |(channel, &bias): (usize, &i32)| {
        let bound = u64::from(bias.unsigned_abs()) + weights(channel) * largest;
        if bound > i32::MAX as u64 {
            return Err(Error::AccumulatorOverflow { channel, bound });
        }
        Ok(bound)
    };
    bias.iter().enumerate().map(bound).collect()
}

/// Checks the whole input and a part of the output, which starts at a unit and ends at one or at the output's end.
fn check_part(
    geometry: &Geometry,
    unit: usize,
    input: &[u8],
    start: usize,
    output: &[u8],
) -> Result<(), Error> {
    check_length("input", input.len(), geometry.input_length()?)?;
    let whole = geometry.output_length()?;
    let end = start.saturating_add(output.len());
    let is_border = |at: usize| at.is_multiple_of(unit) || at == whole;
    if end <= whole && is_border(start) && is_border(end) {
        return Ok(());
    }
    Err(Error::Parameter {
        what: "part",
        reason: format!("{start}..{end} is not made of units of {unit} within {whole}"),
    })
}

fn check_scratch(scratch: &[u8], expected: usize) -> Result<(), Error> {
    check_length("scratch", scratch.len(), expected)?;
    if scratch.as_ptr().cast::<i32>().is_aligned() {
        return Ok(());
    }
    Err(Error::Parameter { what: "scratch", reason: "is not aligned for i32".into() })
}
