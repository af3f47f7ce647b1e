//! Depthwise convolution in vectors.
//!
//! For each output row, the input rows under the window are interleaved once: the codes of a column, for one channel, lie beside each
//! other, as many as a lane multiplies in one instruction. Each column then serves all windows that it is part of. Lanes stand for
//! consecutive codes of the output row, whatever their pixels: where the channels are no multiple of a vector, lanes and channels
//! come round together after a few blocks, the phases, each with its own copy of the weights.

use super::Geometry;
use crate::arch::{Code, InstructionSet, Simd, Task, Weight};
use crate::bytes::{AlignedBytes, as_bytes, from_bytes_mut};
use crate::requantize::Requantization;
use crate::requantize::vector::{Scaler, VectorRequantization, WIDEST, with_scaler};

/// A depthwise convolution packed for an instruction set.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    instruction_set: InstructionSet,
    geometry: Geometry,
    zero_point: u8,
    /// Lanes of a block, and a lane's codes.
    block: usize,
    group: usize,
    phases: usize,
    /// For each phase and tap the weights of a block.
    weights: AlignedBytes,
    taps: Vec<Tap>,
    /// By lanes of all phases.
    bias: Vec<i32>,
    requantization: VectorRequantization,
    /// Columns under an output row, padding included.
    columns: usize,
    /// Interleaved columns for each group of rows; within, for each residue of the stride (columns so far apart are read together).
    parts: Vec<usize>,
    /// Codes of all parts.
    interleaved: usize,
    code_bytes: usize,
}

/// A column of the window, or a part of its height.
#[derive(Clone, Copy, Debug)]
struct Tap {
    /// Where its interleaved column for the first output pixel is, in codes.
    start: usize,
}

impl Columns {
    /// Packs; `bounds` are the largest magnitudes of the accumulators. `None` when there is no vector code for it.
    pub fn new(
        instruction_set: InstructionSet,
        geometry: Geometry,
        zero_point: u8,
        weights: &[i16],
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

    /// Interleaved columns, and a row of padding.
    pub fn scratch_bytes(&self) -> usize {
        self.interleaved_bytes() + self.geometry.input[1] * self.geometry.input_channels
    }

    fn interleaved_bytes(&self) -> usize {
        (self.interleaved * self.code_bytes).next_multiple_of(WIDEST)
    }

    /// Runs; lengths were checked by the caller.
    pub fn run(&self, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        assert_eq!(scratch.len(), self.scratch_bytes());
        with_scaler!(&self.requantization, |scaler| {
            let task = Multiply { columns: self, scaler, input, output, scratch };
            assert!(self.instruction_set.run(task).is_ok(), "packed on another CPU");
        });
    }
}

struct Pack<'a> {
    instruction_set: InstructionSet,
    geometry: Geometry,
    zero_point: u8,
    weights: &'a [i16],
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
    let block = S::LANES * S::VECTORS;
    let phases = depth / greatest_common_divisor(depth, block);
    let lanes: Vec<Option<usize>> = (0..phases * block).map(|lane| Some(lane % depth)).collect();

    let columns = (g.output[1] - 1) * g.stride[1] + (g.filter[1] - 1) * g.dilation[1] + 1;
    let row_groups = g.filter[0].div_ceil(S::GROUP);
    let mut parts = Vec::new();
    let mut interleaved = 0;
    for _ in 0..row_groups {
        for residue in 0..g.stride[1] {
            parts.push(interleaved);
            let own = columns.saturating_sub(residue).div_ceil(g.stride[1]);
            // Blocks at the end reach beyond it.
            interleaved += (own * depth).next_multiple_of(block) * S::GROUP + block * S::GROUP;
        }
    }
    // Weights beyond the instruction's type are the sum of two.
    let [least, most] = S::Weight::RANGE;
    let is_whole = task.weights.iter().all(|w| (least..=most).contains(w));
    let half = |weight: i16, second: bool| match (is_whole, second) {
        (true, _) => weight,
        (false, false) => weight - (weight >> 1),
        (false, true) => weight >> 1,
    };
    if task.weights.iter().any(|&weight| half(weight, false) > most) {
        return None;
    }
    let halves: &[bool] = if is_whole { &[false] } else { &[false, true] };
    let mut taps = Vec::new();
    let mut sources = Vec::new();
    for row_group in 0..row_groups {
        for tap_x in 0..g.filter[1] {
            for &second in halves {
                let column = tap_x * g.dilation[1];
                let part = parts[row_group * g.stride[1] + column % g.stride[1]];
                let start = part + column / g.stride[1] * depth * S::GROUP;
                taps.push(Tap { start });
                sources.push((row_group, tap_x, second));
            }
        }
    }
    let mut packed: Vec<S::Weight> = Vec::with_capacity(lanes.len() * taps.len() * S::GROUP);
    for phase in 0..phases {
        for &(row_group, tap_x, second) in &sources {
            for lane in 0..block {
                let channel = (phase * block + lane) % depth;
                for tap_y in row_group * S::GROUP..(row_group + 1) * S::GROUP {
                    packed.push(if tap_y < g.filter[0] {
                        let at = (tap_y * g.filter[1] + tap_x) * depth + channel;
                        S::Weight::from_difference(half(task.weights[at], second))
                    } else {
                        S::Weight::default()
                    });
                }
            }
        }
    }
    let mut weights = AlignedBytes::zeroed(size_of_val(packed.as_slice()));
    weights.copy_from_slice(as_bytes(&packed));
    let zero_point = i32::from(task.zero_point);
    let folded = |lane: usize| {
        let channel = lane % depth;
        let weights = task.weights[channel..].iter().step_by(depth);
        let sum = weights.fold(0i32, |sum, &w| sum.wrapping_add(w.into()));
        task.bias[channel].wrapping_sub(zero_point.wrapping_mul(sum))
    };
    Some(Columns {
        instruction_set: task.instruction_set,
        geometry: g,
        zero_point: task.zero_point,
        block,
        group: S::GROUP,
        phases,
        weights,
        taps,
        bias: (0..lanes.len()).map(folded).collect(),
        requantization: VectorRequantization::new(task.requantization, task.bounds, &lanes),
        columns,
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
    output: &'a mut [u8],
    scratch: &'a mut [u8],
}

impl<R: Scaler> Task for Multiply<'_, R> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Multiply { columns, scaler, input, output, scratch } = self;
        let g = &columns.geometry;
        let (interleaved, padding) = scratch.split_at_mut(columns.interleaved_bytes());
        let interleaved = from_bytes_mut::<S::Code>(interleaved).unwrap_or_default();
        padding.fill(columns.zero_point);
        let row_length = g.input[1] * g.input_channels;
        let images = input.chunks_exact(g.input[0] * row_length);
        let output_row = g.output[1] * g.output_channels;
        let outputs = output.chunks_exact_mut(g.output[0] * output_row);
        for (image, output) in images.zip(outputs) {
            for (y, output) in output.chunks_exact_mut(output_row).enumerate() {
                for row_group in 0..g.filter[0].div_ceil(S::GROUP) {
                    let rows: [&[u8]; 4] = core::array::from_fn(|row| {
                        let tap_y = row_group * S::GROUP + row;
                        // What has no weights may be any row.
                        match g.source(0, y, tap_y.min(g.filter[0] - 1)) {
                            Some(at) => &image[at * row_length..][..row_length],
                            None => &*padding,
                        }
                    });
                    columns.interleave(simd, rows, row_group, interleaved);
                }
                // SAFETY: the parts hold all columns under the row, and `output` is the row.
                unsafe {
                    match columns.taps.len() {
                        3 => columns.multiply::<S, R, 3>(simd, scaler, interleaved, output),
                        _ => columns.multiply_any(simd, scaler, interleaved, output),
                    }
                }
            }
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
        let place = |column: usize| parts[column % stride] + column / stride * depth * self.group;
        let zero = S::Code::from_code(self.zero_point);
        for column in 0..before {
            interleaved[place(column)..][..depth * self.group].fill(zero);
        }
        // In one go where columns follow each other, else one by one.
        let (pieces, length) = if stride == 1 { (1, inside * depth) } else { (inside, depth) };
        for piece in 0..pieces {
            let to = place(before + piece);
            for at in (0..length).step_by(self.block) {
                let from = piece * length + at;
                let to = &mut interleaved[to + at * self.group..][..self.block * self.group];
                if from + self.block <= rows[0].len() {
                    let rows = rows.map(|row| row[from..][..self.block].as_ptr());
                    // SAFETY: a block is readable at each row and writable at `to`: both were just sliced.
                    unsafe { simd.interleave(rows, to.as_mut_ptr()) };
                } else {
                    let mut ends = [[0u8; WIDEST]; 4];
                    for (end, row) in ends.iter_mut().zip(rows) {
                        let rest = &row[from..];
                        end[..rest.len()].copy_from_slice(rest);
                    }
                    // SAFETY: `WIDEST` is at least a block.
                    unsafe {
                        simd.interleave(ends.each_ref().map(|end| end.as_ptr()), to.as_mut_ptr())
                    };
                }
            }
        }
        for column in before + inside..self.columns {
            interleaved[place(column)..][..depth * self.group].fill(zero);
        }
    }

    /// The output row from interleaved columns, for a number of taps whose weights stay in registers.
    ///
    /// # Safety
    ///
    /// `interleaved` is as long as it was planned, `output` is a row, and there are `T` taps.
    #[inline(always)]
    unsafe fn multiply<S: Simd, R: Scaler, const T: usize>(
        &self,
        simd: S,
        scaler: R,
        interleaved: &[S::Code],
        output: &mut [u8],
    ) {
        match S::VECTORS {
            // SAFETY: the caller's.
            4 => unsafe { self.blocks::<S, R, T, 4>(simd, scaler, interleaved, output) },
            // SAFETY: the caller's.
            _ => unsafe { self.blocks::<S, R, T, 2>(simd, scaler, interleaved, output) },
        }
    }

    /// # Safety
    ///
    /// As for [`multiply`](Columns::multiply); `V` is the instruction set's number of vectors.
    #[inline(always)]
    unsafe fn blocks<S: Simd, R: Scaler, const T: usize, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        interleaved: &[S::Code],
        output: &mut [u8],
    ) {
        let step = S::LANES * S::GROUP;
        for phase in 0..self.phases {
            let lane = phase * self.block;
            // SAFETY: weights and biases were packed for all phases; a block of columns is readable from each tap on.
            unsafe {
                let weights = self.weights.as_ptr().cast::<S::Weight>().add(phase * T * V * step);
                let weights: [[S::Integers; V]; T] = core::array::from_fn(|t| {
                    core::array::from_fn(|v| simd.load(weights.add((t * V + v) * step)))
                });
                let bias: *const i32 = self.bias[lane..].as_ptr();
                let mut from = lane;
                while from < output.len() {
                    let mut sums: [S::Integers; V] =
                        core::array::from_fn(|v| simd.load(bias.add(v * S::LANES)));
                    for (tap, weights) in self.taps.iter().take(T).zip(&weights) {
                        let codes = interleaved.as_ptr().add(tap.start + from * S::GROUP);
                        for (v, sum) in sums.iter_mut().enumerate() {
                            *sum = simd.dot(*sum, simd.load(codes.add(v * step)), weights[v]);
                        }
                    }
                    let count = (output.len() - from).min(self.block);
                    scaler.finish(simd, sums, lane, output.as_mut_ptr().add(from), count);
                    from += self.phases * self.block;
                }
            }
        }
    }

    /// The same for any number of taps.
    ///
    /// # Safety
    ///
    /// `interleaved` is as long as it was planned, and `output` is a row.
    #[inline(always)]
    unsafe fn multiply_any<S: Simd, R: Scaler>(
        &self,
        simd: S,
        scaler: R,
        interleaved: &[S::Code],
        output: &mut [u8],
    ) {
        match S::VECTORS {
            // SAFETY: the caller's.
            4 => unsafe { self.blocks_any::<S, R, 4>(simd, scaler, interleaved, output) },
            // SAFETY: the caller's.
            _ => unsafe { self.blocks_any::<S, R, 2>(simd, scaler, interleaved, output) },
        }
    }

    /// # Safety
    ///
    /// As for [`multiply_any`](Columns::multiply_any); `V` is the instruction set's number of vectors.
    #[inline(always)]
    unsafe fn blocks_any<S: Simd, R: Scaler, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        interleaved: &[S::Code],
        output: &mut [u8],
    ) {
        let step = S::LANES * S::GROUP;
        for phase in 0..self.phases {
            let lane = phase * self.block;
            // SAFETY: as in `blocks`.
            unsafe {
                let weights = self.weights.as_ptr().cast::<S::Weight>();
                let weights = weights.add(phase * self.taps.len() * V * step);
                let bias: *const i32 = self.bias[lane..].as_ptr();
                let mut from = lane;
                while from < output.len() {
                    let mut sums: [S::Integers; V] =
                        core::array::from_fn(|v| simd.load(bias.add(v * S::LANES)));
                    let mut weights = weights;
                    for tap in &self.taps {
                        let codes = interleaved.as_ptr().add(tap.start + from * S::GROUP);
                        for (v, sum) in sums.iter_mut().enumerate() {
                            let (codes, weights) = (codes.add(v * step), weights.add(v * step));
                            *sum = simd.dot(*sum, simd.load(codes), simd.load(weights));
                        }
                        weights = weights.add(V * step);
                    }
                    let count = (output.len() - from).min(self.block);
                    scaler.finish(simd, sums, lane, output.as_mut_ptr().add(from), count);
                    from += self.phases * self.block;
                }
            }
        }
    }
}
