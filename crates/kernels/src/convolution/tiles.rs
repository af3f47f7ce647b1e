//! Convolution over all input channels in vectors.
//!
//! Output pixels times output channels are cut into tiles whose accumulators stay in registers. Weights are packed so that a tile
//! reads them in order; codes are read from the input in place where windows are single pixels, else from a few rows that are copied
//! beside each other, padding included. The zero point and the sum of the weights are folded into the bias: `sum((code - zero) *
//! weight) = sum(code * weight) - zero * sum(weight)`. Weights beyond the instruction's type are the sum of two, where the second is
//! rarely not zero: what of it is not, is one more group of weights at the end. Where that is too often, all weights are moved into the
//! type by a constant, which then multiplies the sum of the codes under the window.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Geometry, Weights};
use crate::arch::{Code, InstructionSet, Simd, Task};
use crate::bytes::{AlignedBytes, from_bytes_mut};
use crate::requantize::Requantization;
use crate::requantize::vector::{Scaler, Sums, VectorRequantization, with_scaler};

/// Bytes of codes that are worked on together: they stay in the first cache beside the weights of a panel.
const STRIP_BYTES: usize = 24 << 10;
/// Readable bytes beyond copied rows: a group may reach over the end.
const SLACK: usize = 64;

/// A convolution packed for an instruction set.
#[derive(Clone, Debug)]
pub(super) struct Tiles {
    instruction_set: InstructionSet,
    geometry: Geometry,
    zero_point: u8,
    /// Codes of a window are these contiguous runs.
    runs: Vec<Run>,
    /// Output channels in groups as wide as a tile.
    panels: Vec<Panel>,
    weights: AlignedBytes,
    /// By lanes.
    bias: Vec<i32>,
    requantization: VectorRequantization,
    /// Groups of codes whose weights have a second part.
    extras: Vec<Extra>,
    /// What was taken off all weights.
    offset: i32,
    /// Whether codes are read where they are.
    is_direct: bool,
    /// Output pixels of a strip.
    strip: usize,
    /// Codes of a copied row.
    row: usize,
    code_bytes: usize,
}

/// Codes that are contiguous in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Row of the window.
    tap_y: usize,
    /// First code, counted from a pixel's first.
    start: usize,
    length: usize,
    /// The length in groups, rounded up.
    groups: usize,
}

/// A group of codes once more.
#[derive(Clone, Debug)]
struct Extra {
    /// Row of the window.
    tap_y: usize,
    /// First code, counted from a pixel's first.
    start: usize,
    /// Its weights among those of an output channel.
    taps: core::ops::Range<usize>,
}

#[derive(Clone, Debug)]
struct Panel {
    channel: usize,
    channels: usize,
    vectors: usize,
    extras: core::ops::Range<usize>,
    /// First lane of the panel in biases and factors.
    lane: usize,
    /// First byte of its weights.
    weights: usize,
}

impl Tiles {
    /// Packs; `bounds` are the largest magnitudes of the accumulators. `None` when the instruction set has no vector code here.
    pub fn new(
        instruction_set: InstructionSet,
        geometry: Geometry,
        zero_point: u8,
        weights: Weights<'_>,
        bias: &[i32],
        bounds: &[u64],
        requantization: &Requantization,
    ) -> Option<Self> {
        // Rows of a matrix are one row of pixels.
        let geometry = if geometry.is_pointwise() {
            let pixels = geometry.batch * geometry.output[0] * geometry.output[1];
            Geometry::matrix(pixels, geometry.input_channels, geometry.output_channels)
        } else {
            geometry
        };
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
        self.weights.len()
            + size_of_val(self.bias.as_slice())
            + size_of_val(self.runs.as_slice())
            + size_of_val(self.extras.as_slice())
            + self.requantization.bytes()
    }

    pub fn scratch_bytes(&self) -> usize {
        let copied = self.geometry.filter[0] * self.row * self.code_bytes + SLACK;
        self.sums_bytes() + if self.is_direct { 0 } else { copied }
    }

    /// A row of output pixels; where they are one row anyway, a pixel; where it is one pixel, a panel.
    pub fn unit(&self) -> usize {
        let g = &self.geometry;
        match g.is_pointwise() {
            true if g.output[1] == 1 => self.panels[0].channels,
            true => g.output_channels,
            false => g.output_row(),
        }
    }

    /// Computes a part of the output; lengths were checked by the caller.
    pub fn run(&self, input: &[u8], start: usize, output: &mut [u8], scratch: &mut [u8]) {
        assert_eq!(scratch.len(), self.scratch_bytes());
        with_scaler!(&self.requantization, |scaler| {
            let task = Multiply { tiles: self, scaler, input, start, output, scratch };
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
    result: &'a mut Option<Tiles>,
}

impl Task for Pack<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        *self.result = pack::<S>(&self);
    }
}

fn pack<S: Simd>(task: &Pack<'_>) -> Option<Tiles> {
    let g = task.geometry;
    let depth = g.input_channels;
    let run = |tap_y, tap_x: usize, length: usize| Run {
        tap_y,
        start: tap_x * g.dilation[1] * depth,
        length,
        groups: length.div_ceil(S::GROUP),
    };
    let mut runs = Vec::new();
    for tap_y in 0..g.filter[0] {
        if g.dilation[1] == 1 {
            runs.push(run(tap_y, 0, g.filter[1] * depth));
        } else {
            runs.extend((0..g.filter[1]).map(|tap_x| run(tap_y, tap_x, depth)));
        }
    }
    let groups: usize = runs.iter().map(|run| run.groups).sum();
    let taps: usize = runs.iter().map(|run| run.length).sum();

    let widest = S::LANES * S::VECTORS;
    let panels = g.output_channels.div_ceil(widest);
    let [least, most] = S::WEIGHTS;
    let (smallest, largest) = task.weights.extremes();
    let is_as_is = smallest >= least && largest <= most;
    let clamp = |weight: i16| weight.clamp(least, most);
    let excess = |weight: i16| weight - clamp(weight);
    // Groups of weights beyond the type, of all panels at most this many: as counted, they may be fewer.
    let is_split = is_as_is
        || (excess(smallest) >= least
            && excess(largest) <= most
            && task.weights.count_beyond(least, most) <= (groups * panels).div_ceil(8));
    // Else as little as possible is taken off.
    let offset = match (is_split, largest > most) {
        (true, _) => 0,
        (false, true) => largest - most,
        (false, false) => smallest - least,
    };
    // A type without -128 may not hold all of them even so: the last are split.
    let part = |weight: i16| clamp(weight - offset);
    let excess = |weight: i16| excess(weight - offset);
    let is_whole = excess(smallest) == 0 && excess(largest) == 0;
    if excess(smallest) < least || excess(largest) > most {
        return None;
    }

    let mut panels = Vec::new();
    let mut extras = Vec::new();
    let mut lanes: Vec<Option<usize>> = Vec::new();
    let mut bytes = 0;
    for channel in (0..g.output_channels).step_by(widest) {
        let channels = (g.output_channels - channel).min(widest);
        let vectors = channels.div_ceil(S::LANES);
        let first_extra = extras.len();
        if !is_whole {
            let mut places = BTreeSet::new();
            for row in task.weights.rows(taps).skip(channel).take(channels) {
                if row.count_beyond(least + offset, most + offset) > 0 {
                    let weights = row.differences().enumerate();
                    places.extend(weights.filter(|&(_, w)| excess(w) != 0).map(|(at, _)| at));
                }
            }
            let mut start = 0;
            for run in &runs {
                for at in (0..run.length).step_by(S::GROUP) {
                    let of_group = start + at..start + run.length.min(at + S::GROUP);
                    if places.range(of_group.clone()).next().is_some() {
                        let start = run.start + at;
                        extras.push(Extra { tap_y: run.tap_y, start, taps: of_group });
                    }
                }
                start += run.length;
            }
        }
        let own = first_extra..extras.len();
        panels.push(Panel {
            channel,
            channels,
            vectors,
            lane: lanes.len(),
            weights: bytes,
            extras: own.clone(),
        });
        bytes += (groups + own.len()) * vectors * S::LANES * S::GROUP;
        lanes.extend(
            (0..vectors * S::LANES).map(|lane| (lane < channels).then_some(channel + lane)),
        );
    }
    // Where each group's weights are among those of an output channel.
    let mut places = Vec::with_capacity(groups);
    let mut start = 0;
    for run in &runs {
        let end = start + run.length;
        places.extend((start..end).step_by(S::GROUP).map(|at| at..end.min(at + S::GROUP)));
        start = end;
    }
    // What is beyond the runs and beyond the channels stays zero, whatever the code.
    let mut weights = AlignedBytes::zeroed(bytes);
    let mut converted = Vec::new();
    for panel in &panels {
        let own = panel.channel * taps..(panel.channel + panel.channels) * taps;
        let own = task.weights.part(own);
        let bytes = match own.as_int8().filter(|_| is_as_is) {
            // By far the most: nothing is to be computed.
            Some(bytes) => bytes,
            None => {
                converted.clear();
                converted.extend(own.differences().map(|weight| part(weight) as u8));
                &converted
            }
        };
        let rows: Vec<&[u8]> = bytes.chunks_exact(taps).collect();
        let width = panel.vectors * S::LANES * S::GROUP;
        let mut groups = weights[panel.weights..].chunks_exact_mut(width);
        for (place, group) in places.iter().zip(&mut groups) {
            for (row, lane) in rows.iter().zip(group.chunks_exact_mut(S::GROUP)) {
                match place.len() == S::GROUP {
                    true => lane.copy_from_slice(&row[place.start..][..S::GROUP]),
                    false => lane[..place.len()].copy_from_slice(&row[place.clone()]),
                }
            }
        }
        let rows = own.rows(taps);
        for (extra, group) in extras[panel.extras.clone()].iter().zip(groups) {
            for (row, lane) in rows.clone().zip(group.chunks_exact_mut(S::GROUP)) {
                for (lane, weight) in
                    lane.iter_mut().zip(row.part(extra.taps.clone()).differences())
                {
                    *lane = excess(weight) as u8;
                }
            }
        }
    }
    S::arrange_weights(&mut weights);
    let requantization = VectorRequantization::new(task.requantization, task.bounds, &lanes);
    let zero_point: i32 = S::Code::from_code(task.zero_point).into();
    let folded = |lane: &Option<usize>| {
        lane.map_or(0, |channel| {
            let weights = task.weights.part(channel * taps..(channel + 1) * taps).differences();
            let sum = weights.fold(0i32, |sum, weight| sum.wrapping_add(weight.into()));
            let bias = task.bias[channel].wrapping_add(requantization.bias());
            bias.wrapping_sub(zero_point.wrapping_mul(sum))
        })
    };
    let bias = lanes.iter().map(folded).collect();

    let code_bytes = size_of::<S::Code>();
    let is_direct = g.is_pointwise() && S::Code::IS_SAME && depth.is_multiple_of(S::GROUP);
    // A multiple of all tiles' heights.
    let strip = (STRIP_BYTES / (depth * g.stride[1] * g.filter[0] * code_bytes)).max(48) / 48 * 48;
    let strip = strip.min(g.output[1]);
    let row = ((strip - 1) * g.stride[1] + (g.filter[1] - 1) * g.dilation[1] + 1) * depth;
    Some(Tiles {
        instruction_set: task.instruction_set,
        geometry: g,
        zero_point: task.zero_point,
        runs,
        panels,
        weights,
        requantization,
        bias,
        extras,
        offset: offset.into(),
        is_direct,
        strip,
        row,
        code_bytes,
    })
}

struct Multiply<'a, R> {
    tiles: &'a Tiles,
    scaler: R,
    input: &'a [u8],
    start: usize,
    output: &'a mut [u8],
    scratch: &'a mut [u8],
}

/// Where the codes of a strip are.
#[derive(Clone, Copy)]
struct Strip<'a, C> {
    /// The first pixel's first code.
    codes: *const C,
    /// Codes from a pixel to the next.
    pixel: usize,
    /// Codes from a row of the window to the next.
    row: usize,
    pixels: usize,
    /// The output's first channel.
    channel: usize,
    /// For each pixel what the offset of the weights adds; empty when there is no offset.
    sums: &'a [i32],
}

impl<R: Scaler> Task for Multiply<'_, R> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Multiply { tiles, scaler, input, start, output, scratch } = self;
        let g = &tiles.geometry;
        let depth = g.input_channels;
        let image_length = g.input[0] * g.input[1] * depth;
        let (sums, codes) = scratch.split_at_mut(tiles.sums_bytes());
        let sums = from_bytes_mut::<i32>(sums).unwrap_or_default();
        let copied = from_bytes_mut::<S::Code>(codes).unwrap_or_default();
        // What was asked for: some rows, counted through all images, or some pixels of one row, or some panels of one pixel.
        let channels = g.output_channels;
        let (first, last) = (start / channels, (start + output.len()).div_ceil(channels));
        let (rows, columns) = match g.is_pointwise() {
            true => (0..1, first..last),
            false => (first / g.output[1]..last / g.output[1], 0..g.output[1]),
        };
        let channel = start % channels;
        let own = channel..channel + output.len();
        let panels =
            tiles.panels.iter().filter(|panel| g.output[1] > 1 || own.contains(&panel.channel));
        for row in rows {
            let (image, y) = (row / g.output[0], row % g.output[0]);
            let image_codes = &input[image * image_length..][..image_length];
            for x in columns.clone().step_by(tiles.strip) {
                let pixels = (columns.end - x).min(tiles.strip);
                let (codes, pixel) = if tiles.is_direct {
                    // The output's pixels are the input's.
                    let codes = &image_codes[(y * g.input[1] + x) * depth..][..pixels * depth];
                    (codes.as_ptr().cast(), depth)
                } else {
                    tiles.copy_rows(image_codes, [y, x], pixels, copied);
                    (copied.as_ptr(), g.stride[1] * depth)
                };
                let mut strip = Strip { codes, pixel, row: tiles.row, pixels, channel, sums: &[] };
                if tiles.offset != 0 {
                    // SAFETY: `codes` spans the strip's windows: in the input, checked above, or in the copied rows.
                    unsafe { tiles.sum(strip, &mut sums[..pixels]) };
                    strip.sums = &sums[..pixels];
                }
                let first = (row * g.output[1] + x) * channels + channel - start;
                let length = (pixels * channels).min(output.len());
                let output = &mut output[first..][..length];
                for panel in panels.clone() {
                    // SAFETY: as above, and `output` holds all channels of the strip's pixels, or the panels of the one pixel.
                    unsafe { tiles.panel(simd, scaler, panel, strip, output) };
                }
            }
        }
    }
}

impl Tiles {
    fn sums_bytes(&self) -> usize {
        if self.offset == 0 {
            return 0;
        }
        (self.strip * size_of::<i32>()).next_multiple_of(SLACK)
    }

    /// Copies what the windows of some output pixels cover: a row for each row of the window, padding filled in.
    #[inline(always)]
    fn copy_rows<C: Code>(&self, image: &[u8], [y, x]: [usize; 2], pixels: usize, rows: &mut [C]) {
        let g = &self.geometry;
        let depth = g.input_channels;
        let columns = (pixels - 1) * g.stride[1] + (g.filter[1] - 1) * g.dilation[1] + 1;
        // Columns of padding before, and the first column of the input.
        let start = x * g.stride[1];
        let before = g.padding[1].saturating_sub(start).min(columns);
        let first = (start + before).saturating_sub(g.padding[1]).min(g.input[1]);
        let inside = (columns - before).min(g.input[1] - first);
        let zero = C::from_code(self.zero_point);
        for (tap_y, row) in rows.chunks_exact_mut(self.row).take(g.filter[0]).enumerate() {
            let Some(source) = g.source(0, y, tap_y) else {
                row.fill(zero);
                continue;
            };
            let (left, rest) = row[..columns * depth].split_at_mut(before * depth);
            let (middle, right) = rest.split_at_mut(inside * depth);
            left.fill(zero);
            right.fill(zero);
            let codes = &image[(source * g.input[1] + first) * depth..][..inside * depth];
            C::copy(codes, middle);
        }
    }

    /// The sum of the codes under each pixel's window, times the offset of the weights.
    ///
    /// # Safety
    ///
    /// The windows of `sums.len()` pixels are readable.
    #[inline(always)]
    unsafe fn sum<C: Code>(&self, strip: Strip<'_, C>, sums: &mut [i32]) {
        for (pixel, sum) in sums.iter_mut().enumerate() {
            let mut total = 0i32;
            for run in &self.runs {
                let start = run.tap_y * strip.row + run.start + pixel * strip.pixel;
                // SAFETY: the caller's.
                let codes =
                    unsafe { core::slice::from_raw_parts(strip.codes.add(start), run.length) };
                total += codes.iter().map(|&code| code.into()).sum::<i32>();
            }
            *sum = total.wrapping_mul(self.offset);
        }
    }

    /// All tiles of a panel.
    ///
    /// # Safety
    ///
    /// The strip's windows are readable, up to whole groups; `output` holds the panel's channels of its pixels.
    #[inline(always)]
    unsafe fn panel<S: Simd, R: Scaler>(
        &self,
        simd: S,
        scaler: R,
        panel: &Panel,
        strip: Strip<'_, S::Code>,
        output: &mut [u8],
    ) {
        // SAFETY: the caller's.
        unsafe {
            match (S::LANES, panel.vectors) {
                (16, 4) => self.tiles::<S, R, 6, 4>(simd, scaler, panel, strip, output),
                (16, 3) => self.tiles::<S, R, 8, 3>(simd, scaler, panel, strip, output),
                (16, 2) => self.tiles::<S, R, 12, 2>(simd, scaler, panel, strip, output),
                (_, 2) => self.tiles::<S, R, 6, 2>(simd, scaler, panel, strip, output),
                _ => self.tiles::<S, R, 12, 1>(simd, scaler, panel, strip, output),
            }
        }
    }

    /// All tiles of `P` pixels and `V` vectors of channels.
    ///
    /// # Safety
    ///
    /// As for [`panel`](Tiles::panel), whose width is `V`.
    #[inline(always)]
    unsafe fn tiles<S: Simd, R: Scaler, const P: usize, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        panel: &Panel,
        strip: Strip<'_, S::Code>,
        output: &mut [u8],
    ) {
        // SAFETY: the caller's; the last tile covers the last pixels, some of them once more.
        unsafe {
            let pixels = strip.pixels;
            if pixels < P {
                for pixel in 0..pixels {
                    self.tile::<S, R, 1, V>(simd, scaler, panel, strip, pixel, output);
                }
                return;
            }
            let mut pixel = 0;
            while pixel < pixels {
                pixel = pixel.min(pixels - P);
                self.tile::<S, R, P, V>(simd, scaler, panel, strip, pixel, output);
                pixel += P;
            }
        }
    }

    /// A tile from its first pixel on.
    ///
    /// # Safety
    ///
    /// As for [`panel`](Tiles::panel); the strip has `P` pixels from `pixel` on.
    #[inline(always)]
    unsafe fn tile<S: Simd, R: Scaler, const P: usize, const V: usize>(
        &self,
        simd: S,
        scaler: R,
        panel: &Panel,
        strip: Strip<'_, S::Code>,
        pixel: usize,
        output: &mut [u8],
    ) {
        debug_assert!(pixel + P <= strip.pixels);
        // SAFETY: weights and biases were packed for the panel's vectors; codes are the caller's.
        unsafe {
            let bias = self.bias.as_ptr().add(panel.lane);
            let mut sums =
                [core::array::from_fn::<_, V, _>(|v| simd.load(bias.add(v * S::LANES))); P];
            if !strip.sums.is_empty() {
                for (p, sums) in sums.iter_mut().enumerate() {
                    let offset = simd.splat(strip.sums[pixel + p]);
                    *sums = sums.map(|sum| simd.add(sum, offset));
                }
            }
            let mut weights = self.weights.as_ptr().add(panel.weights).cast::<i8>();
            let first = strip.codes.add(pixel * strip.pixel);
            for run in &self.runs {
                let mut codes = first.add(run.tap_y * strip.row + run.start);
                let done = simd.dot_many(&mut sums, codes, strip.pixel, weights, run.groups);
                weights = weights.add(done * V * S::LANES * S::GROUP);
                codes = codes.add(done * S::GROUP);
                for _ in done..run.groups {
                    multiply::<S, P, V>(simd, &mut sums, codes, strip.pixel, weights);
                    weights = weights.add(V * S::LANES * S::GROUP);
                    codes = codes.add(S::GROUP);
                }
            }
            for extra in &self.extras[panel.extras.clone()] {
                let codes = first.add(extra.tap_y * strip.row + extra.start);
                multiply::<S, P, V>(simd, &mut sums, codes, strip.pixel, weights);
                weights = weights.add(V * S::LANES * S::GROUP);
            }
            let channels = self.geometry.output_channels;
            let output = output.as_mut_ptr().add(pixel * channels + panel.channel - strip.channel);
            let outputs = core::array::from_fn(|p| output.add(p * channels));
            scaler.finish::<S, P, V>(simd, sums, panel.lane, outputs, panel.channels);
        }
    }
}

/// Adds the products of a group of codes of each of `P` pixels and weights for `V` vectors.
///
/// # Safety
///
/// A group is readable at `codes` and every `pixel` codes from there on, weights for `V` vectors at `weights`.
#[inline(always)]
unsafe fn multiply<S: Simd, const P: usize, const V: usize>(
    simd: S,
    sums: &mut Sums<S, P, V>,
    codes: *const S::Code,
    pixel: usize,
    weights: *const i8,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut loaded = [simd.splat(0); V];
        for (v, loaded) in loaded.iter_mut().enumerate() {
            *loaded = simd.weights(weights.add(v * S::LANES * S::GROUP));
        }
        for (p, sums) in sums.iter_mut().enumerate() {
            let group = simd.broadcast(codes.add(p * pixel));
            for (sum, &weights) in sums.iter_mut().zip(&loaded) {
                *sum = simd.dot(*sum, group, weights);
            }
        }
    }
}
