//! Resampling of 8-bit images, in the arithmetic of the tools that models were evaluated with.

use alloc::vec;
use alloc::vec::Vec;

#[cfg(not(feature = "image"))]
use mobileight_runtime::math::Math;
use mobileight_runtime::{InstructionSet, Plain};

use crate::Resize;

/// A part of an image of interleaved 8-bit channels.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub pixels: &'a [u8],
    /// Pixels in a row of the whole image.
    pub stride: usize,
    /// Left, top, width and height; never empty.
    pub rectangle: [usize; 4],
}

impl<'a> Part<'a> {
    fn row<const C: usize>(&self, row: usize) -> &'a [[u8; C]] {
        let [left, top, width, _] = self.rectangle;
        let start = (top + row) * self.stride + left;
        &self.pixels.as_chunks::<C>().0[start..start + width]
    }

    fn width(&self) -> usize {
        self.rectangle[2]
    }

    fn height(&self) -> usize {
        self.rectangle[3]
    }
}

/// Resizes a part of an image of `C` channels to `width` x `height`.
pub(crate) fn resize<const C: usize>(
    part: Part,
    method: Resize,
    width: usize,
    height: usize,
) -> Vec<u8> {
    let pixels: Vec<[u8; C]> = match method {
        Resize::AntialiasedBilinear => antialiased(part, width, height),
        Resize::Nearest => nearest(part, width, height),
        Resize::Area => area(part, width, height),
        Resize::TensorFlowBilinear { half_pixel_centers } => {
            let offset = if half_pixel_centers { 0.5 } else { 0.0 };
            let taps = |from: usize, to: usize| {
                let scale = from as f32 / to as f32;
                two_taps(from, to, |at| (at + offset) * scale - offset)
            };
            bilinear(part, &taps(part.width(), width), &taps(part.height(), height))
        }
        Resize::TensorFlowBilinearAlignCorners => {
            let taps = |from: usize, to: usize| {
                let scale = if to > 1 {
                    (from - 1) as f32 / (to - 1) as f32
                } else {
                    from as f32 / to as f32
                };
                two_taps(from, to, |at| at * scale)
            };
            bilinear(part, &taps(part.width(), width), &taps(part.height(), height))
        }
    };
    pixels.into_flattened()
}

/// Weights of neighbouring input positions, for each output position.
struct Taps<W> {
    /// First input position and the range of its weights.
    windows: Vec<(usize, core::ops::Range<usize>)>,
    weights: Vec<W>,
}

/// Output positions in a row, and the input positions under their windows.
struct Group {
    outputs: core::ops::Range<usize>,
    inputs: core::ops::Range<usize>,
}

impl<W> Taps<W> {
    /// The first input position and the weights of an output position.
    fn window(&self, at: usize) -> (usize, &[W]) {
        let (start, range) = &self.windows[at];
        (*start, &self.weights[range.clone()])
    }

    /// The input positions of an output position; starts and ends ascend.
    fn inputs(&self, at: usize) -> core::ops::Range<usize> {
        let (start, range) = &self.windows[at];
        *start..start + range.len()
    }

    /// All output positions, in groups of at most so many input positions where more than one is in a group.
    fn groups(&self, most: usize) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for at in 0..self.windows.len() {
            let inputs = self.inputs(at);
            match groups.last_mut() {
                Some(group) if inputs.end.saturating_sub(group.inputs.start) <= most => {
                    group.outputs.end = at + 1;
                    group.inputs.end = inputs.end;
                }
                _ => groups.push(Group { outputs: at..at + 1, inputs }),
            }
        }
        groups
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[W])> {
        (0..self.windows.len()).map(|at| self.window(at))
    }
}

/// Fractional bits of Pillow's weights: an 8-bit pixel, the weights' sum of one and two bits of headroom fill 32 bits.
const FRACTION_BITS: u32 = 22;

/// Pillow's triangle filter, as wide as an output pixel when that is wider than an input pixel.
fn triangle_taps(from: usize, to: usize) -> Taps<i32> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let mut taps = Taps { windows: Vec::with_capacity(to), weights: Vec::new() };
    let mut window = Vec::new();
    for at in 0..to {
        let center = (at as f64 + 0.5) * scale;
        let first = (center - reach + 0.5).max(0.0) as usize;
        let last = ((center + reach + 0.5) as usize).min(from);
        let inverse = 1.0 / reach;
        window.clear();
        window.extend((first..last).map(|input| {
            let x = (input as f64 - center + 0.5) * inverse;
            (1.0 - x.abs()).max(0.0)
        }));
        let sum: f64 = window.iter().sum();
        let begin = taps.weights.len();
        let one = f64::from(1 << FRACTION_BITS);
        taps.weights.extend(window.iter().map(|weight| (weight / sum * one + 0.5) as i32));
        taps.windows.push((first, begin..taps.weights.len()));
    }
    taps
}

/// Rows first, then columns, with 8-bit pixels in between.
fn antialiased<const C: usize>(part: Part, width: usize, height: usize) -> Vec<[u8; C]> {
    let mut output = vec![[0; C]; width * height];
    let task = Antialiased {
        part,
        horizontal: &triangle_taps(part.width(), width),
        vertical: &triangle_taps(part.height(), height),
        output: &mut output,
    };
    InstructionSet::best().run_plain(task);
    output
}

/// Rows that are resized at once: values of vectors.
const ROWS: usize = 16;

/// Columns that are worked on together, unless one output pixel has more: a row of any length takes so much memory and no more.
const COLUMNS: usize = 8192;

struct Antialiased<'a, const C: usize> {
    part: Part<'a>,
    horizontal: &'a Taps<i32>,
    vertical: &'a Taps<i32>,
    output: &'a mut [[u8; C]],
}

impl<const C: usize> Plain for Antialiased<'_, C> {
    #[inline(always)]
    fn run(self) {
        const HALF: i32 = 1 << (FRACTION_BITS - 1);
        let Antialiased { part, horizontal, vertical, output } = self;
        let width = horizontal.windows.len();
        let groups = horizontal.groups(COLUMNS);
        let most = groups.iter().map(|group| group.inputs.len()).max().unwrap_or(0);
        let mut columns = vec![[0u8; ROWS]; most * C];
        let mut resized = vec![[0u8; ROWS]; width * C];
        let mut block = vec![0; ROWS * width * C];
        // Sums of all output rows: what lies between is never held, an image may have far more rows than the output.
        let padded = (width * C).next_multiple_of(ROWS);
        let mut sums = vec![HALF; padded * vertical.windows.len()];
        // The output rows that the input's row may touch.
        let mut reached = 0..0;
        for first in (0..part.height()).step_by(ROWS) {
            // Along the rows a few of them at once, the same column of each beside each other.
            let rows = ROWS.min(part.height() - first);
            for group in &groups {
                let values: [&[u8]; ROWS] = core::array::from_fn(|row| {
                    // Where there are fewer rows, the last stands for the others.
                    let row = part.row::<C>(first + row.min(rows - 1));
                    row[group.inputs.clone()].as_flattened()
                });
                let columns = &mut columns[..group.inputs.len() * C];
                transpose(&values, columns);
                for at in group.outputs.clone() {
                    let (start, weights) = horizontal.window(at);
                    let start = start - group.inputs.start;
                    for c in 0..C {
                        let mut sums = [HALF; ROWS];
                        let taps = columns[start * C + c..].iter().step_by(C).zip(weights);
                        for (column, &weight) in taps {
                            for (sum, &value) in sums.iter_mut().zip(column) {
                                *sum += i32::from(value) * weight;
                            }
                        }
                        resized[at * C + c] = round(&sums);
                    }
                }
            }
            transpose_back(&resized, &mut block[..rows * width * C]);
            for (row, values) in (first..).zip(block.chunks_exact(width * C).take(rows)) {
                let ends = |at: usize| vertical.inputs(at).end <= row;
                while reached.start < vertical.windows.len() && ends(reached.start) {
                    reached.start += 1;
                }
                let begins = |at: usize| vertical.inputs(at).start <= row;
                while reached.end < vertical.windows.len() && begins(reached.end) {
                    reached.end += 1;
                }
                for at in reached.clone() {
                    let (start, weights) = vertical.window(at);
                    let weight = weights[row - start];
                    for (sum, &value) in sums[at * padded..].iter_mut().zip(values) {
                        *sum += i32::from(value) * weight;
                    }
                }
            }
        }
        for (sums, output) in sums.chunks_exact(padded).zip(output.chunks_exact_mut(width)) {
            let some = output.as_flattened_mut().chunks_mut(ROWS);
            for (output, sums) in some.zip(sums.as_chunks::<ROWS>().0) {
                let values = round(sums);
                output.copy_from_slice(&values[..output.len()]);
            }
        }
    }
}

/// Values of rows at the same place beside each other.
#[inline(always)]
fn transpose(rows: &[&[u8]; ROWS], columns: &mut [[u8; ROWS]]) {
    let (squares, rest) = columns.as_chunks_mut::<ROWS>();
    let done = squares.len() * ROWS;
    for (at, columns) in squares.iter_mut().enumerate() {
        *columns = rows.map(|row| row.as_chunks().0[at]);
        transpose_square(columns);
    }
    for (at, column) in rest.iter_mut().enumerate() {
        *column = rows.map(|row| row[done + at]);
    }
}

/// The other way; there may be fewer rows.
#[inline(always)]
fn transpose_back(columns: &[[u8; ROWS]], rows: &mut [u8]) {
    let width = columns.len();
    let (squares, rest) = columns.as_chunks::<ROWS>();
    let done = squares.len() * ROWS;
    for (at, columns) in squares.iter().enumerate() {
        let mut square = *columns;
        transpose_square(&mut square);
        for (row, values) in rows.chunks_exact_mut(width).zip(square) {
            row.as_chunks_mut().0[at] = values;
        }
    }
    for (at, column) in rest.iter().enumerate() {
        for (row, &value) in rows.chunks_exact_mut(width).zip(column) {
            row[done + at] = value;
        }
    }
}

/// Rows become columns: each round interleaves the upper and the lower half.
#[inline(always)]
fn transpose_square(square: &mut [[u8; ROWS]; ROWS]) {
    for _ in 0..ROWS.ilog2() {
        let from = *square;
        for at in 0..ROWS / 2 {
            let (upper, lower) = (from[at], from[at + ROWS / 2]);
            let pick = |i: usize| if i.is_multiple_of(2) { upper[i / 2] } else { lower[i / 2] };
            square[2 * at] = core::array::from_fn(pick);
            square[2 * at + 1] = core::array::from_fn(|i| pick(i + ROWS));
        }
    }
}

/// A few at once, for vectors.
#[inline(always)]
fn round<const N: usize>(sums: &[i32; N]) -> [u8; N] {
    let mut values = [0; N];
    for (value, &sum) in values.iter_mut().zip(sums) {
        *value = (sum >> FRACTION_BITS).clamp(0, 255) as u8;
    }
    values
}

/// TensorFlow's neighbours of a position: the two indices and the share of the second.
fn two_taps(from: usize, to: usize, position: impl Fn(f32) -> f32) -> Vec<(usize, usize, f32)> {
    let neighbours = |at: usize| {
        let position = position(at as f32);
        let below = position.floor();
        // Casts saturate: positions left of the first pixel give the first.
        let last = from - 1;
        ((below as usize).min(last), (position.ceil() as usize).min(last), position - below)
    };
    (0..to).map(neighbours).collect()
}

fn round_float(value: f32) -> u8 {
    (value + 0.5) as u8
}

/// Four neighbours in f32, along the row first: the order of TensorFlow's kernel.
fn bilinear<const C: usize>(
    part: Part,
    horizontal: &[(usize, usize, f32)],
    vertical: &[(usize, usize, f32)],
) -> Vec<[u8; C]> {
    let mut output = Vec::with_capacity(horizontal.len() * vertical.len());
    for &(top, bottom, down) in vertical {
        let (above, below) = (part.row::<C>(top), part.row::<C>(bottom));
        output.extend(horizontal.iter().map(|&(left, right, across)| {
            core::array::from_fn(|c| {
                let along = |row: &[[u8; C]]| {
                    let (a, b) = (f32::from(row[left][c]), f32::from(row[right][c]));
                    a + (b - a) * across
                };
                let (a, b) = (along(above), along(below));
                round_float(a + (b - a) * down)
            })
        }));
    }
    output
}

/// The input pixel that holds the output pixel's centre. Positions are summed up in f64 as Pillow does: where a centre falls
/// on the border of two pixels, the sum's rounding decides, and so it is here.
fn nearest<const C: usize>(part: Part, width: usize, height: usize) -> Vec<[u8; C]> {
    let indices = |from: usize, to: usize| {
        let step = from as f64 / to as f64;
        let positions = core::iter::successors(Some(step * 0.5), move |at| Some(at + step));
        positions.take(to).map(move |at| (at as usize).min(from - 1))
    };
    let columns: Vec<usize> = indices(part.width(), width).collect();
    let mut output = Vec::with_capacity(width * height);
    for y in indices(part.height(), height) {
        let row = part.row::<C>(y);
        output.extend(columns.iter().map(|&x| row[x]));
    }
    output
}

/// Shares of input pixels in an output pixel, in exact whole numbers before the division.
fn area_taps(from: usize, to: usize) -> Taps<f32> {
    let mut taps = Taps { windows: Vec::with_capacity(to), weights: Vec::new() };
    // In units of 1/to of an input pixel. 64 bits hold the product of any two lengths, 32 do not.
    let [unit, length] = [to as u64, from as u64];
    for at in 0..unit {
        let (begin, end) = (at * length, (at + 1) * length);
        let first = begin / unit;
        let start = taps.weights.len();
        taps.weights.extend((first..end.div_ceil(unit)).map(|input| {
            let covered = end.min((input + 1) * unit) - begin.max(input * unit);
            covered as f32 / from as f32
        }));
        taps.windows.push((first as usize, start..taps.weights.len()));
    }
    taps
}

fn area<const C: usize>(part: Part, width: usize, height: usize) -> Vec<[u8; C]> {
    let horizontal = area_taps(part.width(), width);
    let vertical = area_taps(part.height(), height);
    let mut output = Vec::with_capacity(width * height);
    let mut sums = vec![[0f32; C]; width];
    for (top, row_weights) in vertical.iter() {
        sums.fill([0.0; C]);
        for (row, &down) in row_weights.iter().enumerate() {
            let pixels = part.row::<C>(top + row);
            for ((left, weights), sums) in horizontal.iter().zip(&mut sums) {
                for (pixel, &across) in pixels[left..].iter().zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += f32::from(value) * (across * down);
                    }
                }
            }
        }
        output.extend(sums.iter().map(|sums| sums.map(round_float)));
    }
    output
}
