//! Depthwise convolution in vectors.
//!
//! The input rows under a band of output rows are interleaved once: the codes of a column, for one channel, lie beside each other, as
//! many as a lane multiplies in one instruction. Each column then serves all windows that it is part of, in all rows of the band: the
//! weights of a lower row are those of an upper one, shifted. Lanes stand for consecutive codes of an output row, whatever their
//! pixels: where the channels are no multiple of a block, lanes and channels come round together after a few blocks, the phases, each
//! with its own copy of the weights.
//!
//! Where the stride leaves each column to less than two windows on average, instruction sets whose groups are pairs interleave the usual
//! window on the way into registers instead ([`rows`](super::rows)): that costs them less than storing and loading.

use alloc::vec::Vec;

use super::rows::{ROW_GROUPS, WINDOW};
use super::{Geometry, Weights};
use crate::arch::{Code, InstructionSet, Simd, Task};
use crate::bytes::{AlignedBytes, as_bytes, as_bytes_mut, from_bytes_mut};
use crate::requantize::Requantization;
use crate::requantize::vector::{Scaler, VectorRequantization, WIDEST, with_scaler};

/// Bytes of a lane's bias and multiplier.
const PER_LANE: usize = 8;

/// A depthwise convolution packed for an instruction set.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    instruction_set: InstructionSet,
    pub(super) geometry: Geometry,
    pub(super) zero_point: u8,
    /// Output rows computed together, one or two.
    band: usize,
    /// Lanes of a block.
    block: usize,
    /// Codes of each row that are interleaved in one go, and a lane's codes.
    chunk: usize,
    group: usize,
    pub(super) phases: Vec<Phase>,
    /// For each phase, tap and row of a band the weights of a block.
    pub(super) weights: AlignedBytes,
    pub(super) taps: Vec<Tap>,
    /// By lanes of all phases.
    pub(super) bias: Vec<i32>,
    requantization: VectorRequantization,
    /// Columns under an output row, padding included.
    columns: usize,
    /// Whether columns are interleaved on the way into registers.
    reads_rows: bool,
    /// Interleaved columns for each group of rows; within, for each residue of the stride (columns so far apart are read together).
    parts: Vec<usize>,
    /// Codes of all parts.
    interleaved: usize,
    code_bytes: usize,
}

/// Some lanes of the output's rows.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub taps: core::ops::Range<usize>,
    /// First byte of its weights.
    pub weights: usize,
}

/// A column of the window, or a part of its height.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    /// Where its interleaved column for the first output pixel is, in codes.
    start: usize,
    /// Its rows, and its column counted from a window's first.
    pub row_group: usize,
    pub column: usize,
}

impl Columns {
    /// Packs; `bounds` are the largest magnitudes of the accumulators. `None` when there is no vector code for it.
    pub fn new(
        instruction_set: InstructionSet,
        geometry: Geometry,
        zero_point: u8,
        weights: Weights<'_>,
        bias: &[i32],
        bounds: &[u64],
        requantization: &Requantization,
    ) -> Option<Self> {
        if geometry.input_channels != geometry.output_channels {
            return None;
        }
        let mut packed = None;
        let pack = Pack {
            instruction_set,
            geometry,
            zero_point,
            weights,
            bias,
            bounds,
            requantization,
            result: &mut packed,
        };
        let _ = instruction_set.run(pack);
        packed
    }

    pub fn instruction_set(&self) -> InstructionSet {
        self.instruction_set
    }

    pub fn packed_bytes(&self) -> usize {
        self.weights.len() + size_of_val(self.bias.as_slice()) + self.requantization.bytes()
    }

    /// Interleaved columns, a row of padding, and one of the output.
    pub fn scratch_bytes(&self) -> usize {
        self.interleaved_bytes() + self.row_bytes() + self.geometry.output_row()
    }

    fn interleaved_bytes(&self) -> usize {
        (self.interleaved * self.code_bytes).next_multiple_of(WIDEST)
    }

    fn row_bytes(&self) -> usize {
        self.geometry.input[1] * self.geometry.input_channels
    }

    /// A band of output rows.
    pub fn unit(&self) -> usize {
        self.band * self.geometry.output_row()
    }

    /// Computes a part of the output; lengths were checked by the caller.
    pub fn run(&self, input: &[u8], start: usize, output: &mut [u8], scratch: &mut [u8]) {
        assert_eq!(scratch.len(), self.scratch_bytes());
        // Rows are counted through all images.
        let first_row = start / self.geometry.output_row();
        with_scaler!(&self.requantization, |scaler| {
            let task = Multiply { columns: self, scaler, input, first_row, output, scratch };
            assert!(self.instruction_set.run(task).is_ok(), "packed on another CPU");
        });
    }
}

struct Pack<'a> {
    instruction_set: InstructionSet,
    geometry: Geometry,
    zero_point: u8,
    weights: Weights<'a>,
    bias: &'a [i32],
    bounds: &'a [u64],
    requantization: &'a Requantization,
    result: &'a mut Option<Columns>,
}

impl Task for Pack<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        *self.result = pack::<S>(&self);
    }
}

fn pack<S: Simd>(task: &Pack<'_>) -> Option<Columns> {
    let g = task.geometry;
    let depth = g.output_channels;
    // Two output rows where their input rows fit into the groups that one needs.
    let height = g.filter[0];
    let row_groups = height.div_ceil(S::GROUP);
    let has_two = g.dilation[0] == 1
        && g.output[0] > 1
        && (g.stride[0] + height).div_ceil(S::GROUP) == row_groups;
    let band = if has_two { 2 } else { 1 };

    let chunk = S::LANES * S::VECTORS;
    let block = chunk / band;
    let phase_count = depth / greatest_common_divisor(depth, block);
    // Out of all proportion: strides of many thousand columns under windows of as many rows, or channels that have so little in common with
    // the lanes that repeating what belongs to them takes megabytes. The portable kernel needs no memory for these.
    let each = (row_groups * g.filter[1]).saturating_mul(S::GROUP).saturating_add(PER_LANE);
    let repeated = (phase_count * block).saturating_mul(each);
    if row_groups.saturating_mul(g.stride[1]) > 1 << 16
        || repeated > (8 * task.weights.len()).max(4 << 20)
    {
        return None;
    }
    let lanes: Vec<Option<usize>> = (0..phase_count * block).map(|at| Some(at % depth)).collect();
    let columns = (g.output[1] - 1) * g.stride[1] + (g.filter[1] - 1) * g.dilation[1] + 1;
    let mut parts = Vec::new();
    let mut interleaved = 0;
    for _ in 0..row_groups {
        for residue in 0..g.stride[1] {
            parts.push(interleaved);
            let own = columns.saturating_sub(residue).div_ceil(g.stride[1]);
            // Chunks and blocks at the end reach beyond it.
            interleaved += (own * depth).next_multiple_of(chunk) * S::GROUP + chunk * S::GROUP;
        }
    }
    // Weights beyond the instruction's type are the sum of two, of which the second is mostly zero.
    let [least, most] = S::WEIGHTS;
    let halves = |weight: i16| {
        let first = weight.clamp(least, most);
        [first, weight - first]
    };
    let (smallest, largest) = task.weights.extremes();
    if halves(smallest)[1] < least || halves(largest)[1] > most {
        return None;
    }
    let reads_rows = S::READS_ROWS
        && g.filter == [WINDOW; 2]
        && g.stride[1] > 1
        && band == 1
        && depth.is_multiple_of(block);
    if reads_rows {
        // Instead, the rows under one window.
        let window = ((g.filter[1] - 1) * g.dilation[1] + 1) * depth;
        interleaved = (row_groups * S::GROUP * window).div_ceil(size_of::<S::Code>());
    }
    let is_whole = smallest >= least && largest <= most;
    let mut taps = Vec::new();
    let mut phases = Vec::new();
    let mut packed: Vec<i8> = Vec::new();
    for phase in 0..phase_count {
        let first_tap = taps.len();
        let first_weight = packed.len();
        let channels = &lanes[phase * block..][..block];
        for half in 0..if is_whole { 1 } else { 2 } {
            for row_group in 0..row_groups {
                for tap_x in 0..g.filter[1] {
                    let start = packed.len();
                    for row in 0..band {
                        for channel in channels.iter().flatten() {
                            for at in row_group * S::GROUP..(row_group + 1) * S::GROUP {
                                let tap_y = at.checked_sub(row * g.stride[0]);
                                let weight = tap_y.filter(|&y| y < height).map_or(0, |tap_y| {
                                    let at = (tap_y * g.filter[1] + tap_x) * depth + channel;
                                    halves(task.weights.at(at))[half]
                                });
                                packed.push(weight as i8);
                            }
                        }
                    }
                    if half == 1 && packed[start..].iter().all(|&weight| weight == 0) {
                        packed.truncate(start);
                        continue;
                    }
                    let column = tap_x * g.dilation[1];
                    let part = parts[row_group * g.stride[1] + column % g.stride[1]];
                    let start = part + column / g.stride[1] * depth * S::GROUP;
                    taps.push(Tap { start, row_group, column });
                }
            }
        }
        phases.push(Phase { taps: first_tap..taps.len(), weights: first_weight });
    }
    let mut weights = AlignedBytes::zeroed(size_of_val(packed.as_slice()));
    weights.copy_from_slice(as_bytes(&packed));
    S::arrange_weights(&mut weights);
    let requantization = VectorRequantization::new(task.requantization, task.bounds, &lanes);
    let zero_point: i32 = S::Code::from_code(task.zero_point).into();
    let folded = |&channel: &usize| {
        let weights = task.weights.column(channel, depth);
        let sum = weights.fold(0i32, |sum, weight| sum.wrapping_add(weight.into()));
        let bias = task.bias[channel].wrapping_add(requantization.bias());
        bias.wrapping_sub(zero_point.wrapping_mul(sum))
    };
    Some(Columns {
        instruction_set: task.instruction_set,
        geometry: g,
        zero_point: task.zero_point,
        band,
        block,
        chunk,
        group: S::GROUP,
        phases,
        weights,
        taps,
        bias: lanes.iter().flatten().map(folded).collect(),
        requantization,
        columns,
        reads_rows,
        parts,
        interleaved,
        code_bytes: size_of::<S::Code>(),
    })
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

struct Multiply<'a, R> {
    columns: &'a Columns,
    scaler: R,
    input: &'a [u8],
    first_row: usize,
    output: &'a mut [u8],
    scratch: &'a mut [u8],
}

impl<R: Scaler> Task for Multiply<'_, R> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match (S::VECTORS, self.columns.band) {
            (4, 1) => self.bands::<S, 1, 4>(simd),
            (4, _) => self.bands::<S, 2, 2>(simd),
            (_, 1) => self.bands::<S, 1, 2>(simd),
            _ => self.bands::<S, 2, 1>(simd),
        }
    }
}

impl<R: Scaler> Multiply<'_, R> {
    /// All bands of `B` rows; `V` vectors make a block.
    #[inline(always)]
    fn bands<S: Simd, const B: usize, const V: usize>(self, simd: S) {
        let Multiply { columns, scaler, input, first_row, output, scratch } = self;
        let g = &columns.geometry;
        let (interleaved, rest) = scratch.split_at_mut(columns.interleaved_bytes());
        let interleaved = from_bytes_mut::<S::Code>(interleaved).unwrap_or_default();
        let (padding, spare) = rest.split_at_mut(columns.row_bytes());
        padding.fill(columns.zero_point);
        let row_length = columns.row_bytes();
        let output_row = g.output_row();
        let rows = output.len() / output_row;
        let mut done = 0;
        while done < rows {
            let (image, y) = ((first_row + done) / g.output[0], (first_row + done) % g.output[0]);
            let image = &input[image * g.input[0] * row_length..][..g.input[0] * row_length];
            // Where the image or what was asked for ends within a band, other rows are computed for nothing.
            let own = B.min(rows - done).min(g.output[0] - y);
            let output = &mut output[done * output_row..][..own * output_row];
            let outputs: [*mut u8; B] = core::array::from_fn(|row| {
                if row < own {
                    output[row * output_row..][..output_row].as_mut_ptr()
                } else {
                    spare[..output_row].as_mut_ptr()
                }
            });
            let row_groups = g.filter[0].div_ceil(S::GROUP);
            let rows_of = |row_group: usize| -> [&[u8]; 4] {
                core::array::from_fn(|row| {
                    let tap_y = row_group * S::GROUP + row;
                    // What has no weights may be any row.
                    match g.source(0, y, tap_y) {
                        Some(at) => &image[at * row_length..][..row_length],
                        None => &*padding,
                    }
                })
            };
            // (Constants first: nothing else has the code.)
            if S::READS_ROWS && B == 1 && columns.reads_rows {
                let rows: [_; ROW_GROUPS] = core::array::from_fn(rows_of);
                let edge = as_bytes_mut(interleaved);
                // SAFETY: the output is a row, and `V` vectors make a block.
                unsafe { columns.multiply_rows::<S, R, V>(simd, scaler, &rows, edge, outputs[0]) };
            } else {
                for row_group in 0..row_groups {
                    columns.interleave(simd, rows_of(row_group), row_group, interleaved);
                }
                // SAFETY: the parts hold all columns under the band, and each output is a row.
                unsafe { columns.multiply::<S, R, B, V>(simd, scaler, interleaved, outputs) };
            }
            done += own;
        }
    }
}

impl Columns {
    /// Interleaves the columns of a group of rows, padding included.
    #[inline(always)]
    fn interleave<S: Simd>(
        &self,
        simd: S,
        rows: [&[u8]; 4],
        row_group: usize,
        interleaved: &mut [S::Code],
    ) {
        let g = &self.geometry;
        let depth = g.input_channels;
        let (stride, before) = (g.stride[1], g.padding[1].min(self.columns));
        let inside = (self.columns - before).min(g.input[1]);
        let parts = &self.parts[row_group * stride..][..stride];
        let zero = S::Code::from_code(self.zero_point);
        let length = depth * self.group;
        for (residue, &part) in parts.iter().enumerate() {
            // Of this residue's columns, those before the end of each: the left padding, the image, the right padding.
            let until = |column: usize| column.saturating_sub(residue).div_ceil(stride);
            let [left, middle, right] = [before, before + inside, self.columns].map(until);
            interleaved[part..][..left * length].fill(zero);
            if left < middle {
                let from = (residue + left * stride - before) * depth;
                // Columns that follow each other are one piece.
                let (count, codes) = match stride {
                    1 => (1, (middle - left) * depth),
                    _ => (middle - left, depth),
                };
                let to = &mut interleaved[part + left * length..];
                self.interleave_pieces(simd, rows.map(|row| &row[from..]), [count, codes], to);
            }
            interleaved[part + middle * length..part + right * length].fill(zero);
        }
    }

    /// Interleaves some pieces of so many codes, a stride apart, in whole chunks.
    #[inline(always)]
    fn interleave_pieces<S: Simd>(
        &self,
        simd: S,
        rows: [&[u8]; 4],
        [count, codes]: [usize; 2],
        to: &mut [S::Code],
    ) {
        let row_length = rows[0].len();
        let rows = rows.map(|row| &row[..row_length]);
        let depth = self.geometry.input_channels;
        let (step, step_to) = (self.geometry.stride[1] * depth, depth * self.group);
        let chunk_to = self.chunk * self.group;
        let to = &mut to[..(count - 1) * step_to + codes.div_ceil(self.chunk) * chunk_to];
        for (from, to_piece) in (0..).step_by(step).zip((0..).step_by(step_to)).take(count) {
            let chunks = (from..from + codes).step_by(self.chunk);
            for (from, at) in chunks.zip((to_piece..).step_by(chunk_to)) {
                // SAFETY: chunks are readable, of the row or of `ends`, whose `WIDEST` is at least one; all are within `to`.
                unsafe {
                    let to = to.as_mut_ptr().add(at);
                    if from + self.chunk <= row_length {
                        simd.interleave(rows.map(|row| row.as_ptr().add(from)), to);
                        continue;
                    }
                    let mut ends = [[0u8; WIDEST]; 4];
                    for (end, row) in ends.iter_mut().zip(rows) {
                        let rest = &row[from..];
                        end[..rest.len()].copy_from_slice(rest);
                    }
                    simd.interleave(ends.each_ref().map(|end| end.as_ptr()), to);
                }
            }
        }
    }

    /// The output rows of a band from interleaved columns.
    ///
    /// # Safety
    ///
    /// `interleaved` is as long as it was planned, each of `outputs` is a row, and `V` vectors make a block.
    #[inline(always)]
    unsafe fn multiply<S: Simd, R: Scaler, const B: usize, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        interleaved: &[S::Code],
        outputs: [*mut u8; B],
    ) {
        debug_assert_eq!((self.block, self.band), (V * S::LANES, B));
        for (phase, at) in self.phases.iter().zip((0..).step_by(self.block)) {
            let taps = &self.taps[phase.taps.clone()];
            // SAFETY: the caller's; a phase's weights were packed for its taps.
            unsafe {
                let weights = self.weights.as_ptr().add(phase.weights).cast::<i8>();
                match taps {
                    [a, b, c] => {
                        let starts = [a, b, c].map(|tap| interleaved.as_ptr().add(tap.start));
                        self.blocks::<S, R, 3, B, V>(simd, scaler, starts, weights, at, outputs);
                    }
                    // Two pairs of rows under a band.
                    [a, b, c, d, e, f] if S::GROUP == 2 && B == 2 => {
                        let starts = [a, b, c, d, e, f];
                        let starts = starts.map(|tap| interleaved.as_ptr().add(tap.start));
                        self.blocks::<S, R, 6, B, V>(simd, scaler, starts, weights, at, outputs);
                    }
                    _ => {
                        let codes = interleaved.as_ptr();
                        self.blocks_of_taps::<S, R, B, V>(
                            simd, scaler, taps, codes, weights, at, outputs,
                        );
                    }
                }
            }
        }
    }

    /// The blocks of a phase, from code `at` of the output rows on, for a number of taps whose weights stay in registers.
    ///
    /// # Safety
    ///
    /// As for [`multiply`](Columns::multiply); a block of columns is readable from each start on, and weights for each tap.
    #[inline(always)]
    unsafe fn blocks<S: Simd, R: Scaler, const T: usize, const B: usize, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        starts: [*const S::Code; T],
        weights: *const i8,
        at: usize,
        outputs: [*mut u8; B],
    ) {
        let step = S::LANES * S::GROUP;
        let length = self.geometry.output_row();
        // SAFETY: the caller's; biases were packed for all phases.
        unsafe {
            let weights: [[[S::Integers; V]; B]; T] = core::array::from_fn(|t| {
                core::array::from_fn(|row| {
                    core::array::from_fn(|v| {
                        simd.weights(weights.add(((t * B + row) * V + v) * step))
                    })
                })
            });
            let bias = self.bias[at..][..self.block].as_ptr();
            for from in (at..length).step_by(self.phases.len() * self.block) {
                let mut sums: [[S::Integers; V]; B] =
                    [core::array::from_fn(|v| simd.load(bias.add(v * S::LANES))); B];
                for t in 0..T {
                    let codes = starts[t].add(from * S::GROUP);
                    for v in 0..V {
                        let codes = simd.load_codes(codes.add(v * step));
                        for row in 0..B {
                            sums[row][v] = simd.dot(sums[row][v], codes, weights[t][row][v]);
                        }
                    }
                }
                let outputs = outputs.map(|output| output.add(from));
                let count = (length - from).min(self.block);
                scaler.finish::<S, B, V>(simd, sums, at, outputs, count);
            }
        }
    }

    /// The same for any number of taps.
    ///
    /// # Safety
    ///
    /// As for [`blocks`](Columns::blocks), for all columns in `codes`.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one place's inner loop")]
    unsafe fn blocks_of_taps<S: Simd, R: Scaler, const B: usize, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        taps: &[Tap],
        codes: *const S::Code,
        weights: *const i8,
        at: usize,
        outputs: [*mut u8; B],
    ) {
        let step = S::LANES * S::GROUP;
        let length = self.geometry.output_row();
        // SAFETY: the caller's; biases were packed for all phases.
        unsafe {
            let bias = self.bias[at..][..self.block].as_ptr();
            for from in (at..length).step_by(self.phases.len() * self.block) {
                let mut sums: [[S::Integers; V]; B] =
                    [core::array::from_fn(|v| simd.load(bias.add(v * S::LANES))); B];
                let mut weights = weights;
                for tap in taps {
                    let codes = codes.add(tap.start + from * S::GROUP);
                    for v in 0..V {
                        let codes = simd.load_codes(codes.add(v * step));
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let weights = simd.weights(weights.add((row * V + v) * step));
                            sums[v] = simd.dot(sums[v], codes, weights);
                        }
                    }
                    weights = weights.add(B * V * step);
                }
                let outputs = outputs.map(|output| output.add(from));
                let count = (length - from).min(self.block);
                scaler.finish::<S, B, V>(simd, sums, at, outputs, count);
            }
        }
    }
}
