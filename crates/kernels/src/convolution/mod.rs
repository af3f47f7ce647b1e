//! CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED.
//!
//! Weights come as differences `code - zero point`, which fit in 16 bits for either element type; the input's differences are taken
//! when a patch is gathered. Products of two 9-bit differences are then exact, and padding is zero.

mod columns;
mod dense;
mod depthwise;
mod tiles;

pub use dense::Convolution;
pub use depthwise::DepthwiseConvolution;

use crate::Error;
use crate::error::check_length;

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
/// `weights` gives the differences of an output channel.
fn accumulator_bounds<'a>(
    input_zero_point: u8,
    bias: &[i32],
    weights: impl Fn(usize) -> Box<dyn Iterator<Item = i16> + 'a>,
) -> Result<Vec<u64>, Error> {
    let largest = i64::from(input_zero_point).max(255 - i64::from(input_zero_point));
    let bound = |(channel, &bias): (usize, &i32)| {
        let sum: i64 = weights(channel).map(|w| i64::from(w).abs()).sum();
        let bound = (i64::from(bias).abs() + sum * largest) as u64;
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
