//! Every instruction set that this CPU has computes what the portable kernels compute, on random shapes and odd addresses, and touches
//! no byte beyond its buffers.

mod guard;

use mobileight_kernels::binary::{Addition, BinaryQuantization, Broadcast, Multiplication};
use mobileight_kernels::bytes::{AlignedBytes, as_bytes_mut};
use mobileight_kernels::convolution::{Convolution, DepthwiseConvolution, Geometry, Weights};
use mobileight_kernels::crew::{Crew, Part, Shares, Split};
use mobileight_kernels::mean::Mean;
use mobileight_kernels::pooling::{Pool, PoolGeometry, Pooling};
use mobileight_kernels::requantize::{ReferenceArithmetic, Requantization, Scales};
use mobileight_kernels::table::{Requantizer, Table};
use mobileight_kernels::{CodeQuantization, InstructionSet, Numerics};

/// Random shapes for each family: fewer where CPUs are emulated; under Miri there are only the portable kernels to look at.
const CASES: usize = match (cfg!(miri), cfg!(target_arch = "x86_64")) {
    (true, _) => 12,
    (false, true) => 600,
    (false, false) => 150,
};

/// Small and repeatable.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    /// From `low` to `high`, both included.
    fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low + 1)
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.next() as usize % values.len()]
    }

    fn codes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Weights and their zero point: none for int8 ones. Sometimes few are beyond what int8 differences can be.
    fn weights(&mut self, length: usize) -> (Vec<u8>, Option<u8>) {
        let zero = self.one_of(&[None, Some(0), Some(77), Some(120), Some(151), Some(255)]);
        let [least, most] = self.one_of(&[[0, 255], [0, 255], [30, 200]]);
        let mut weights: Vec<u8> = (0..length).map(|_| self.between(least, most) as u8).collect();
        let extreme = self.between(0, length - 1);
        weights[extreme] = self.one_of(&[0, 255]);
        (weights, zero)
    }

    fn requantization(&mut self, channels: usize, taps: usize) -> Requantization {
        // Most results within the range, some beyond.
        let size = 0.02 / (taps as f32).sqrt();
        let scale = |random: &mut Self| size * (0.1 + random.next() as f32 / 2f32.powi(31));
        let weights: Vec<f32> = (0..channels).map(|_| scale(self)).collect();
        let scales = Scales {
            input: self.one_of(&[1.0, 0.037]),
            weights: &weights,
            output: self.one_of(&[1.0, 0.5, 3.7]),
            reference: self.one_of(&[
                ReferenceArithmetic::FixedPoint,
                ReferenceArithmetic::FixedPointOfF32Product,
                ReferenceArithmetic::Double,
            ]),
        };
        let zero_point = self.one_of(&[0, 128, 255, 97]);
        let range = self.one_of(&[[0, 255], [zero_point, 255], [zero_point.min(20), 200]]);
        let numerics = self.one_of(&Numerics::ALL);
        Requantization::new(numerics, &scales, zero_point, range).unwrap()
    }
}

/// Scale and zero point of a tensor.
fn quantization(random: &mut Random) -> CodeQuantization {
    let scale = random.one_of(&[0.011, 0.02, 0.037, 0.5, 1.0, 1.0 / 256.0]);
    CodeQuantization { scale, zero_point: random.one_of(&[0, 128, 255, 97]) }
}

/// Runs a kernel by each instruction set and compares.
fn check(
    what: &str,
    input: &[u8],
    outputs: usize,
    scratch_bytes: usize,
    kernel: impl Fn(InstructionSet, &[u8], &mut [u8], &mut [u8]),
) {
    let compute = |set| {
        guard::each(|| {
            run(input, outputs, scratch_bytes, |input, output, scratch| {
                kernel(set, input, output, scratch);
            })
        })
    };
    let expected = compute(InstructionSet::Portable);
    for set in vector_sets() {
        let wrong = compute(set).iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "{set}: {what}");
    }
}

fn vector_sets() -> Vec<InstructionSet> {
    let sets = InstructionSet::ALL.into_iter();
    sets.filter(|set| *set != InstructionSet::Portable && set.is_available()).collect()
}

/// Two inputs, each by itself, so that each has its own borders.
fn apart(codes: &[u8], first: usize) -> [Vec<u8>; 2] {
    let (a, b) = codes.split_at(first);
    [a.to_vec(), b.to_vec()]
}

fn weights(bytes: &[u8], zero_point: Option<u8>) -> Weights<'_> {
    zero_point.map_or(Weights::int8(bytes), |zero| Weights::uint8(bytes, zero))
}

/// Runs on buffers that start at odd addresses and on ones that are as long as they must be and no longer, with working memory that is not
/// clean.
fn run(
    input: &[u8],
    outputs: usize,
    scratch_bytes: usize,
    kernel: impl Fn(&[u8], &mut [u8], &mut [u8]),
) -> Vec<u8> {
    let mut tight = vec![0xAA; outputs];
    let mut words = vec![0x5555_5555i32; scratch_bytes.div_ceil(4)];
    let own = input.to_vec();
    kernel(&own, &mut tight, &mut as_bytes_mut(&mut words)[..scratch_bytes]);

    let mut shifted = AlignedBytes::zeroed(input.len() + 3);
    shifted[3..].copy_from_slice(input);
    let mut output = AlignedBytes::zeroed(outputs + 5);
    output.fill(0xAA);
    let mut scratch = AlignedBytes::zeroed(scratch_bytes);
    scratch.fill(0x55);
    kernel(&shifted[3..], &mut output[5..], &mut scratch);
    assert_eq!(output[..5], [0xAA; 5]);
    assert_eq!(output[5..], tight);
    tight
}

/// One convolution of random everything, over all channels or depthwise.
fn check_convolution(random: &mut Random, g: Geometry, is_depthwise: bool) {
    let taps = g.filter[0] * g.filter[1] * if is_depthwise { 1 } else { g.input_channels };
    let (bytes, zero_point) = random.weights(taps * g.output_channels);
    let bias: Vec<i32> =
        (0..g.output_channels).map(|_| random.between(0, 20_000) as i32 - 10_000).collect();
    let requantization = random.requantization(g.output_channels, taps);
    let zero = random.one_of(&[0, 128, 255, 3]);
    let input = random.codes(g.batch * g.input[0] * g.input[1] * g.input_channels);
    let outputs = g.batch * g.output[0] * g.output[1] * g.output_channels;
    // The kernel is made where its memory is guarded: packed weights, and those that it reads.
    let compute_once = |set| {
        let (bytes, bias, factors) = (bytes.clone(), bias.clone(), requantization.clone());
        let weights = weights(&bytes, zero_point);
        if is_depthwise {
            let kernel = DepthwiseConvolution::new(set, g, zero, weights, &bias, factors).unwrap();
            let is_vector = kernel.instruction_set() == set;
            // Differences of 255 are those that two int8 do not make; some sets make neither of -255.
            let is_beyond = zero_point == Some(0) && bytes.contains(&255)
                || zero_point == Some(255) && bytes.contains(&0);
            assert!(is_vector || g.input_channels != g.output_channels || is_beyond);
            run(&input, outputs, kernel.scratch_bytes(), |input, output, scratch| {
                kernel.run(input, output, scratch).unwrap();
            })
        } else {
            let kernel = Convolution::new(set, g, zero, weights, &bias, factors).unwrap();
            assert_eq!(kernel.instruction_set(), set, "{g:?}");
            run(&input, outputs, kernel.scratch_bytes(), |input, output, scratch| {
                kernel.run(input, output, scratch).unwrap();
            })
        }
    };
    let compute = |set| guard::each(|| compute_once(set));
    let expected = compute(InstructionSet::Portable);
    for set in vector_sets() {
        let wrong = compute(set).iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "{set}: {g:?}");
    }
}

/// Under Miri only the first, small ones.
fn few(values: &[usize]) -> &[usize] {
    if cfg!(miri) { &values[..4] } else { values }
}

fn geometry(random: &mut Random) -> Geometry {
    let is_pointwise = random.between(0, 2) == 0;
    let filter = match is_pointwise {
        true => [1, 1],
        false => [random.between(1, 5), random.between(1, 5)],
    };
    let stride = if is_pointwise { [1, 1] } else { [random.between(1, 3), random.between(1, 3)] };
    let dilation = [random.between(1, 2), random.between(1, 2)];
    let size = |d: usize, random: &mut Random| {
        let extent = (filter[d] - 1) * dilation[d] + 1;
        let input = random.between(extent, extent + if cfg!(miri) { 3 } else { 13 });
        let is_padded = random.between(0, 1) == 1 && !is_pointwise;
        let (output, padding) = match is_padded {
            true => {
                let output = input.div_ceil(stride[d]);
                (output, ((output - 1) * stride[d] + extent).saturating_sub(input) / 2)
            }
            false => ((input - extent) / stride[d] + 1, 0),
        };
        (input, output, padding)
    };
    let ((ih, oh, ph), (iw, ow, pw)) = (size(0, random), size(1, random));
    Geometry {
        batch: random.between(1, 2),
        input: [ih, iw],
        input_channels: random.one_of(few(&[1, 2, 3, 4, 5, 8, 16, 17, 24, 32, 67])),
        output: [oh, ow],
        output_channels: random
            .one_of(few(&[1, 3, 8, 15, 16, 17, 24, 32, 40, 48, 64, 65, 100, 130])),
        filter,
        stride,
        dilation,
        padding: [ph, pw],
    }
}

#[test]
fn convolutions_equal_the_portable_ones() {
    let mut random = Random(1);
    for _ in 0..CASES {
        let g = geometry(&mut random);
        check_convolution(&mut random, g, false);
    }
}

#[test]
fn depthwise_convolutions_equal_the_portable_ones() {
    let mut random = Random(2);
    for _ in 0..CASES {
        let mut g = geometry(&mut random);
        let channels = few(&[1, 3, 8, 16, 24, 32, 40, 64, 72, 96, 130, 144, 192]);
        g.input_channels = random.one_of(channels);
        g.output_channels = g.input_channels * random.one_of(&[1, 1, 1, 1, 2]);
        check_convolution(&mut random, g, true);
    }
}

#[test]
fn binary_operators_equal_the_portable_ones() {
    let mut random = Random(3);
    for case in 0..5 * CASES / 2 {
        let channels = random.between(1, 70);
        let [height, width] = [random.between(1, 5), random.between(1, 5)];
        let full = vec![height, width, channels];
        let shapes = [full.clone(), vec![1, 1, channels], vec![channels], vec![1], full.clone()];
        let shape = shapes[random.between(0, 4)].clone();
        let [a, b] =
            if random.between(0, 1) == 0 { [full.clone(), shape] } else { [shape, full.clone()] };
        let broadcast = Broadcast::new(&a, &b).unwrap();
        let inputs = [quantization(&mut random), quantization(&mut random)];
        let output = quantization(&mut random);
        let range = random.one_of(&[[0, 255], [output.zero_point, 255], [20, 200]]);
        let q = BinaryQuantization { inputs, output, range };
        let numerics = random.one_of(&Numerics::ALL);
        let lengths = [a, b].map(|shape| shape.iter().product::<usize>());
        let codes = random.codes(lengths[0] + lengths[1]);
        let what = format!("{case} {numerics} {q:?} {broadcast:?}");
        let outputs = full.iter().product();
        if case % 3 == 0 {
            // Scales too far apart are refused.
            let Ok(kernel) = Multiplication::new(numerics, broadcast, q) else { continue };
            check(&what, &codes, outputs, 0, |set, input, output, _| {
                let [a, b] = apart(input, lengths[0]);
                kernel.run(set, &a, &b, output).unwrap();
            });
        } else {
            let Ok(kernel) = Addition::new(numerics, broadcast, q, case % 3 == 1) else { continue };
            check(&what, &codes, outputs, 0, |set, input, output, _| {
                let [a, b] = apart(input, lengths[0]);
                kernel.run(set, &a, &b, output).unwrap();
            });
        }
    }
}

#[test]
fn tables_equal_the_portable_ones() {
    let mut random = Random(4);
    for case in 0..CASES {
        let (from, to) = (quantization(&mut random), quantization(&mut random));
        let numerics = random.one_of(&Numerics::ALL);
        let length = random.between(1, 400);
        let codes = random.codes(length);
        let what = format!("{case} {from:?} {to:?} of {length}");
        let table = match case % 4 {
            0 => Table::logistic(numerics, from, to, random.between(0, 1) == 0),
            1 => Table::rescale(from, to, [3, 250]).unwrap(),
            2 => match Table::hard_swish(from, to) {
                Ok(table) => table,
                Err(_) => continue,
            },
            _ => {
                let same_type = random.between(0, 1) == 0;
                let kernel = Requantizer::new(numerics, from, to, same_type).unwrap();
                check(&what, &codes, length, 0, |set, input, output, _| {
                    kernel.run(set, input, output).unwrap();
                });
                continue;
            }
        };
        check(&what, &codes, length, 0, |set, input, output, _| {
            table.run(set, input, output).unwrap();
        });
    }
}

#[test]
fn means_and_poolings_equal_the_portable_ones() {
    let mut random = Random(5);
    for case in 0..CASES {
        let shape = [1, 2, 3, 4].map(|most| random.between(1, 4 * most + 1));
        let [batch, height, width, channels] = shape;
        let codes = random.codes(shape.iter().product());
        let (from, to) = (quantization(&mut random), quantization(&mut random));
        let numerics = random.one_of(&Numerics::ALL);
        let axes = random.one_of(&[&[1, 2][..], &[3], &[0], &[1, 2, 3], &[2]]);
        let mean = Mean::new(numerics, &shape, axes, from, to, random.one_of(&[0, 128])).unwrap();
        let outputs = (0..4).filter(|d| !axes.contains(d)).map(|d| shape[d]).product();
        let what = format!("{case} {numerics} {shape:?} over {axes:?}");
        check(&what, &codes, outputs, mean.scratch_bytes(), |set, input, output, scratch| {
            mean.run(set, input, output, scratch).unwrap();
        });

        let filter = [random.between(1, height.min(4)), random.between(1, width.min(4))];
        let stride = [random.between(1, 3), random.between(1, 3)];
        let geometry = PoolGeometry {
            batch,
            input: [height, width],
            output: [(height - filter[0]) / stride[0] + 1, (width - filter[1]) / stride[1] + 1],
            channels,
            filter,
            stride,
            padding: [0, 0],
        };
        let pooling = random.one_of(&[
            Pooling::Average { zero: 0 },
            Pooling::Average { zero: 128 },
            Pooling::Maximum,
        ]);
        let pool = Pool::new(geometry, pooling, [2, 253]).unwrap();
        let outputs = batch * geometry.output[0] * geometry.output[1] * channels;
        check(&format!("{case} {geometry:?}"), &codes, outputs, 0, |set, input, output, _| {
            pool.run(set, input, output).unwrap();
        });
    }
}

#[test]
fn parts_make_the_whole() {
    let mut random = Random(6);
    for case in 0..CASES {
        let mut g = geometry(&mut random);
        let is_depthwise = case % 2 == 0;
        if is_depthwise {
            g.output_channels = g.input_channels;
        }
        let taps = g.filter[0] * g.filter[1] * if is_depthwise { 1 } else { g.input_channels };
        let (bytes, zero_point) = random.weights(taps * g.output_channels);
        let weights = weights(&bytes, zero_point);
        let bias = vec![7; g.output_channels];
        let factors = random.requantization(g.output_channels, taps);
        let input = random.codes(g.batch * g.input[0] * g.input[1] * g.input_channels);
        let outputs = g.batch * g.output[0] * g.output[1] * g.output_channels;
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let dense = Convolution::new(set, g, 9, weights, &bias, factors.clone());
            let depthwise = DepthwiseConvolution::new(set, g, 9, weights, &bias, factors.clone());
            let (unit, scratch_bytes) = match (is_depthwise, &dense, &depthwise) {
                (true, _, Ok(kernel)) => (kernel.unit(), kernel.scratch_bytes()),
                (false, Ok(kernel), _) => (kernel.unit(), kernel.scratch_bytes()),
                other => panic!("{g:?}: {other:?}"),
            };
            let whole = Split::new(0..outputs, unit, 1);
            let split = Split::new(0..outputs, unit, random.between(2, 5));
            let compute_once = |split: &Split| {
                run(&input, outputs, scratch_bytes, |input, output, scratch| {
                    let work = |part: Part<'_>, scratch: &mut [u8]| match is_depthwise {
                        true => depthwise.as_ref().unwrap().run_part(
                            input,
                            part.start,
                            part.output,
                            scratch,
                        ),
                        false => dense.as_ref().unwrap().run_part(
                            input,
                            part.start,
                            part.output,
                            scratch,
                        ),
                    };
                    let mut shares = Shares::new(1);
                    let steps = std::slice::from_ref(split);
                    let crew = Crew::new(output, steps, &mut shares, work);
                    crew.help(0, scratch);
                    crew.finish().unwrap();
                })
            };
            let compute = |split: &Split| guard::each(|| compute_once(split));
            assert_eq!(compute(&split), compute(&whole), "{set} {g:?} {split:?}");
        }
    }
}
