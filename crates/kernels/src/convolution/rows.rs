//! Depthwise convolution in vectors straight from the rows: codes of a column are interleaved on the way into registers.
//!
//! Where a window reaches into the padding, what is under it is copied first, padding included. All else is read in place, some pixels
//! of a block of channels at a time: their rows stay in the first cache until the next block needs its channels of them.

use super::columns::{Columns, MOST_ROW_GROUPS, Tap};
use crate::arch::Simd;
use crate::requantize::vector::Scaler;

/// Pixels of a block of channels that are computed in one go.
const STRIP: usize = 16;

/// Rows under a band, by groups: each row's first code under the first pixel.
type Rows = [[*const u8; 4]; MOST_ROW_GROUPS];

impl Columns {
    /// The output rows of a band from its input rows; `edge` is room for those under a window.
    ///
    /// # Safety
    ///
    /// Each of `outputs` is a row, and `V` vectors make a block.
    #[inline(always)]
    pub(super) unsafe fn multiply_rows<S: Simd, R: Scaler, const B: usize, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        rows: &[[&[u8]; 4]; MOST_ROW_GROUPS],
        edge: &mut [u8],
        outputs: [*mut u8; B],
    ) {
        let g = &self.geometry;
        let (depth, stride, padding) = (g.input_channels, g.stride[1], g.padding[1]);
        let extent = (g.filter[1] - 1) * g.dilation[1] + 1;
        // The output columns whose windows are all inside.
        let first = padding.div_ceil(stride).min(g.output[1]);
        let last = (g.input[1] + padding).checked_sub(extent).map_or(0, |room| room / stride + 1);
        let last = last.clamp(first, g.output[1]);
        let window = extent * depth;
        for x in (0..first).chain(last..g.output[1]) {
            let copies = edge.chunks_exact_mut(window);
            let mut under = [[core::ptr::null(); 4]; MOST_ROW_GROUPS];
            let wanted = rows.iter().flat_map(|group| &group[..S::GROUP]);
            let places = under.iter_mut().flat_map(|group| &mut group[..S::GROUP]);
            for ((row, place), copy) in wanted.zip(places).zip(copies) {
                for (column, copy) in copy.chunks_exact_mut(depth).enumerate() {
                    let at = (x * stride + column).checked_sub(padding);
                    match at.filter(|&at| at < g.input[1]) {
                        Some(at) => copy.copy_from_slice(&row[at * depth..][..depth]),
                        None => copy.fill(self.zero_point),
                    }
                }
                *place = copy.as_ptr();
            }
            // SAFETY: each row under the window was copied; the output is the caller's.
            unsafe {
                let outputs = outputs.map(|output| output.add(x * depth));
                self.pixels::<S, R, B, V>(simd, scaler, &under, outputs, 1);
            }
        }
        for x in (first..last).step_by(STRIP) {
            // SAFETY: all windows from `first` to `last` are within the rows; the output is the caller's.
            unsafe {
                let from = (x * stride - padding) * depth;
                let under = rows.map(|group| group.map(|row| row.as_ptr().add(from)));
                let outputs = outputs.map(|output| output.add(x * depth));
                let count = STRIP.min(last - x);
                self.pixels::<S, R, B, V>(simd, scaler, &under, outputs, count);
            }
        }
    }

    /// Some pixels.
    ///
    /// # Safety
    ///
    /// The rows of each group are readable as far as the pixels' windows reach, and the pixels are writable in each output.
    #[inline(always)]
    unsafe fn pixels<S: Simd, R: Scaler, const B: usize, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        rows: &Rows,
        outputs: [*mut u8; B],
        count: usize,
    ) {
        for (phase, at) in self.phases.iter().zip((0..).step_by(V * S::LANES)) {
            let taps = &self.taps[phase.taps.clone()];
            let [height, width] = self.geometry.filter;
            // Second parts of weights make more taps.
            let filter = (height.div_ceil(S::GROUP), width, taps.len());
            // SAFETY: the caller's; weights and biases were packed for all phases, which are the channels here.
            unsafe {
                let weights = self.weights.as_ptr().add(phase.weights).cast::<i8>();
                let bias = self.bias[at..][..V * S::LANES].as_ptr();
                let rows = rows.map(|group| group.map(|row| row.wrapping_add(at)));
                let outputs = outputs.map(|output| output.add(at));
                let block = Block { simd, scaler, weights, bias, at, outputs, count };
                match filter {
                    (2, 3, 6) => self.block::<S, R, 2, 3, B, V>(block, rows),
                    _ => self.block_of_taps::<S, R, B, V>(block, rows, taps),
                }
            }
        }
    }

    /// A block of channels of some pixels, for `G` groups of rows by `K` columns, whose weights stay in registers or close.
    ///
    /// # Safety
    ///
    /// As for [`pixels`](Columns::pixels), with rows and outputs from the block's first channel on.
    #[inline(always)]
    unsafe fn block<
        S: Simd,
        R: Scaler,
        const G: usize,
        const K: usize,
        const B: usize,
        const V: usize,
    >(
        &self,
        block: Block<S, R, B>,
        rows: Rows,
    ) {
        const { assert!(G <= MOST_ROW_GROUPS) };
        let Block { simd, scaler, weights, bias, at, outputs, count } = block;
        let depth = self.geometry.input_channels;
        let (step, dilation) = (self.geometry.stride[1] * depth, self.geometry.dilation[1] * depth);
        // SAFETY: the caller's.
        unsafe {
            let mut loaded = [[[[simd.splat(0); V]; B]; K]; G];
            for (tap, loaded) in loaded.as_flattened_mut().iter_mut().enumerate() {
                *loaded = load_weights::<S, B, V>(simd, weights, tap);
            }
            for pixel in 0..count {
                let mut sums: [[S::Integers; V]; B] =
                    [core::array::from_fn(|v| simd.load(bias.add(v * S::LANES))); B];
                for (rows, loaded) in rows.iter().zip(&loaded) {
                    for (column, weights) in loaded.iter().enumerate() {
                        let from = pixel * step + column * dilation;
                        let rows = rows.map(|row| row.wrapping_add(from));
                        multiply::<S, B, V>(simd, &mut sums, rows, weights);
                    }
                }
                let outputs = outputs.map(|output| output.add(pixel * depth));
                scaler.finish::<S, B, V>(simd, sums, at, outputs, V * S::LANES);
            }
        }
    }

    /// The same for any taps.
    ///
    /// # Safety
    ///
    /// As for [`block`](Columns::block).
    #[inline(always)]
    unsafe fn block_of_taps<S: Simd, R: Scaler, const B: usize, const V: usize>(
        &self,
        block: Block<S, R, B>,
        rows: Rows,
        taps: &[Tap],
    ) {
        let Block { simd, scaler, weights, bias, at, outputs, count } = block;
        let depth = self.geometry.input_channels;
        let step = self.geometry.stride[1] * depth;
        // SAFETY: the caller's.
        unsafe {
            for pixel in 0..count {
                let mut sums: [[S::Integers; V]; B] =
                    [core::array::from_fn(|v| simd.load(bias.add(v * S::LANES))); B];
                for (index, tap) in taps.iter().enumerate() {
                    let from = pixel * step + tap.column * depth;
                    let rows = rows[tap.row_group].map(|row| row.wrapping_add(from));
                    let weights = load_weights::<S, B, V>(simd, weights, index);
                    multiply::<S, B, V>(simd, &mut sums, rows, &weights);
                }
                let outputs = outputs.map(|output| output.add(pixel * depth));
                scaler.finish::<S, B, V>(simd, sums, at, outputs, V * S::LANES);
            }
        }
    }
}

/// What a block of channels is computed with.
#[derive(Clone, Copy)]
struct Block<S, R, const B: usize> {
    simd: S,
    scaler: R,
    /// Weights and biases of the block, and its first channel.
    weights: *const i8,
    bias: *const i32,
    at: usize,
    outputs: [*mut u8; B],
    /// Pixels.
    count: usize,
}

/// The weights of a tap for each output row of a band.
///
/// # Safety
///
/// They are readable.
#[inline(always)]
unsafe fn load_weights<S: Simd, const B: usize, const V: usize>(
    simd: S,
    weights: *const i8,
    tap: usize,
) -> [[S::Integers; V]; B] {
    let step = S::LANES * S::GROUP;
    // (No closures: what they do may not be inlined.)
    let mut loaded = [[simd.splat(0); V]; B];
    for (at, loaded) in loaded.as_flattened_mut().iter_mut().enumerate() {
        // SAFETY: the caller's.
        *loaded = unsafe { simd.weights(weights.add((tap * B * V + at) * step)) };
    }
    loaded
}

/// Adds the products of a tap.
///
/// # Safety
///
/// A block's channels are readable from each row on.
#[inline(always)]
unsafe fn multiply<S: Simd, const B: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::Integers; V]; B],
    rows: [*const u8; 4],
    weights: &[[S::Integers; V]; B],
) {
    for v in 0..V {
        // SAFETY: the caller's.
        let codes = unsafe { S::interleaved(simd, rows.map(|row| row.wrapping_add(v * S::LANES))) };
        for (sums, weights) in sums.iter_mut().zip(weights) {
            sums[v] = simd.dot(sums[v], codes, weights[v]);
        }
    }
}
