//! Depthwise convolution of 3 x 3 in vectors straight from the rows: codes of a column are interleaved on the way into registers.
//!
//! Where a window reaches into the padding, what is under it is copied first, padding included. All else is read in place, some pixels
//! of a block of channels at a time: their rows stay in the first cache until the next block needs its channels of them.

use super::columns::Columns;
use crate::arch::Simd;
use crate::requantize::vector::Scaler;

/// Pixels of a block of channels that are computed in one go.
const STRIP: usize = 16;

/// Rows and columns of the window.
pub(super) const WINDOW: usize = 3;

/// Groups of rows under a window: pairs, of which the last has one row.
pub(super) const ROW_GROUPS: usize = 2;

const TAPS: usize = ROW_GROUPS * WINDOW;

/// Rows under an output row, by groups: each row's first code under the first pixel.
type Rows = [[*const u8; 4]; ROW_GROUPS];

/// Some pixels of a block of channels.
struct Strip {
    rows: Rows,
    output: *mut u8,
    /// Pixels.
    count: usize,
}

impl Columns {
    /// An output row from its input rows; `edge` is room for those under a window.
    ///
    /// # Safety
    ///
    /// `output` is a row, and `V` vectors make a block.
    #[inline(always)]
    pub(super) unsafe fn multiply_rows<S: Simd, R: Scaler, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        rows: &[[&[u8]; 4]; ROW_GROUPS],
        edge: &mut [u8],
        output: *mut u8,
    ) {
        let g = &self.geometry;
        let (depth, stride, padding) = (g.input_channels, g.stride[1], g.padding[1]);
        let extent = self.window_columns();
        // The output columns whose windows are all inside.
        let first = padding.div_ceil(stride).min(g.output[1]);
        let last = (g.input[1] + padding).checked_sub(extent).map_or(0, |room| room / stride + 1);
        let last = last.clamp(first, g.output[1]);
        for x in (0..first).chain(last..g.output[1]) {
            let rows = self.copy_window(S::GROUP, rows, x, edge);
            // SAFETY: each row under the window was copied; the output is the caller's.
            unsafe {
                let output = output.add(x * depth);
                self.strip::<S, R, V>(simd, scaler, Strip { rows, output, count: 1 });
            }
        }
        for x in (first..last).step_by(STRIP) {
            // SAFETY: all windows from `first` to `last` are within the rows; the output is the caller's.
            unsafe {
                let from = (x * stride - padding) * depth;
                let rows = rows.map(|group| group.map(|row| row.as_ptr().add(from)));
                let (output, count) = (output.add(x * depth), STRIP.min(last - x));
                self.strip::<S, R, V>(simd, scaler, Strip { rows, output, count });
            }
        }
    }

    /// Columns under a window, those between its own included.
    fn window_columns(&self) -> usize {
        (WINDOW - 1) * self.geometry.dilation[1] + 1
    }

    /// The rows under the window of output column `x`, `group` rows of each group, with what is there of padding.
    fn copy_window(
        &self,
        group: usize,
        rows: &[[&[u8]; 4]; ROW_GROUPS],
        x: usize,
        copies: &mut [u8],
    ) -> Rows {
        let g = &self.geometry;
        let depth = g.input_channels;
        let mut under = [[core::ptr::null(); 4]; ROW_GROUPS];
        let wanted = rows.iter().flat_map(|rows| &rows[..group]);
        let places = under.iter_mut().flat_map(|rows| &mut rows[..group]);
        let copies = copies.chunks_exact_mut(self.window_columns() * depth);
        for ((row, place), copy) in wanted.zip(places).zip(copies) {
            for (column, copy) in copy.chunks_exact_mut(depth).enumerate() {
                let at = (x * g.stride[1] + column).checked_sub(g.padding[1]);
                match at.filter(|&at| at < g.input[1]) {
                    Some(at) => copy.copy_from_slice(&row[at * depth..][..depth]),
                    None => copy.fill(self.zero_point),
                }
            }
            *place = copy.as_ptr();
        }
        under
    }

    /// All channels of some pixels, block by block, whose weights stay in registers or close.
    ///
    /// # Safety
    ///
    /// The rows of each group are readable as far as the pixels' windows reach, and the pixels are writable.
    #[inline(always)]
    unsafe fn strip<S: Simd, R: Scaler, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        Strip { rows, output, count }: Strip,
    ) {
        let depth = self.geometry.input_channels;
        let (step, dilation) = (self.geometry.stride[1] * depth, self.geometry.dilation[1] * depth);
        for (phase, at) in self.phases.iter().zip((0..).step_by(V * S::LANES)) {
            let taps = &self.taps[phase.taps.clone()];
            let weight_step = S::LANES * S::GROUP;
            // SAFETY: the caller's; weights and biases were packed for all phases, which are the channels here, and all taps.
            unsafe {
                let packed = self.weights.as_ptr().add(phase.weights).cast::<i8>();
                let bias = self.bias[at..][..V * S::LANES].as_ptr();
                // (No closures: what they do may not be inlined.)
                let mut weights = [[[simd.splat(0); V]; WINDOW]; ROW_GROUPS];
                let all = weights.as_flattened_mut().as_flattened_mut();
                for (index, weights) in all.iter_mut().enumerate() {
                    *weights = simd.weights(packed.add(index * weight_step));
                }
                // Second parts of weights make more taps.
                let (more, packed) = (&taps[TAPS..], packed.add(TAPS * V * weight_step));
                for pixel in 0..count {
                    let rows =
                        rows.map(|group| group.map(|row| row.wrapping_add(at + pixel * step)));
                    let mut sums = [simd.splat(0); V];
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.load(bias.add(v * S::LANES));
                    }
                    for (rows, weights) in rows.iter().zip(&weights) {
                        for (column, weights) in weights.iter().enumerate() {
                            for v in 0..V {
                                let from = column * dilation + v * S::LANES;
                                let codes =
                                    S::interleaved(simd, rows.map(|row| row.wrapping_add(from)));
                                sums[v] = simd.dot(sums[v], codes, weights[v]);
                            }
                        }
                    }
                    for (index, tap) in more.iter().enumerate() {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            let from = tap.column * depth + v * S::LANES;
                            let rows = rows[tap.row_group].map(|row| row.wrapping_add(from));
                            let weights = simd.weights(packed.add((index * V + v) * weight_step));
                            *sum = simd.dot(*sum, S::interleaved(simd, rows), weights);
                        }
                    }
                    let output = output.add(at + pixel * depth);
                    scaler.finish::<S, 1, V>(simd, [sums], at, [output], V * S::LANES);
                }
            }
        }
    }
}
