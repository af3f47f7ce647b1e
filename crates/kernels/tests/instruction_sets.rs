//! Every instruction set that this CPU has computes what the portable kernels compute, on random shapes and odd addresses.

use mobileight_kernels::bytes::AlignedBytes;
use mobileight_kernels::convolution::{Convolution, DepthwiseConvolution, Geometry};
use mobileight_kernels::requantize::{ReferenceArithmetic, Requantization, Scales};
use mobileight_kernels::{InstructionSet, Numerics};

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

    /// Differences of weights: int8 ones, or uint8 ones of some zero point.
    fn weights(&mut self, length: usize) -> Vec<i16> {
        let zero = self.one_of(&[128, 128, 0, 77, 151, 255]);
        (0..length).map(|_| (self.next() % 256) as i16 - zero).collect()
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

fn vector_sets() -> Vec<InstructionSet> {
    let sets = InstructionSet::ALL.into_iter();
    sets.filter(|set| *set != InstructionSet::Portable && set.is_available()).collect()
}

/// Runs on buffers that start at odd addresses, with working memory that is not clean.
fn run(
    input: &[u8],
    outputs: usize,
    scratch_bytes: usize,
    kernel: impl FnOnce(&[u8], &mut [u8], &mut [u8]),
) -> Vec<u8> {
    let mut shifted = AlignedBytes::zeroed(input.len() + 3);
    shifted[3..].copy_from_slice(input);
    let mut output = AlignedBytes::zeroed(outputs + 5);
    output.fill(0xAA);
    let mut scratch = AlignedBytes::zeroed(scratch_bytes);
    scratch.fill(0x55);
    kernel(&shifted[3..], &mut output[5..], &mut scratch);
    assert_eq!(output[..5], [0xAA; 5]);
    output[5..].to_vec()
}

/// One convolution of random everything, over all channels or depthwise.
fn check_convolution(random: &mut Random, g: Geometry, is_depthwise: bool) {
    let taps = g.filter[0] * g.filter[1] * if is_depthwise { 1 } else { g.input_channels };
    let weights = random.weights(taps * g.output_channels);
    let bias: Vec<i32> =
        (0..g.output_channels).map(|_| random.between(0, 20_000) as i32 - 10_000).collect();
    let requantization = random.requantization(g.output_channels, taps);
    let zero = random.one_of(&[0, 128, 255, 3]);
    let input = random.codes(g.batch * g.input[0] * g.input[1] * g.input_channels);
    let outputs = g.batch * g.output[0] * g.output[1] * g.output_channels;
    let compute = |set| {
        let factors = requantization.clone();
        if is_depthwise {
            let kernel = DepthwiseConvolution::new(set, g, zero, &weights, &bias, factors).unwrap();
            let is_vector = kernel.instruction_set() == set;
            // A difference of 255 is the one that two int8 do not make.
            assert!(is_vector || g.input_channels != g.output_channels || weights.contains(&255));
            run(&input, outputs, kernel.scratch_bytes(), |input, output, scratch| {
                kernel.run(input, output, scratch).unwrap();
            })
        } else {
            let kernel = Convolution::new(set, g, zero, &weights, &bias, factors).unwrap();
            assert_eq!(kernel.instruction_set(), set, "{g:?}");
            run(&input, outputs, kernel.scratch_bytes(), |input, output, scratch| {
                kernel.run(input, output, scratch).unwrap();
            })
        }
    };
    let expected = compute(InstructionSet::Portable);
    for set in vector_sets() {
        let wrong = compute(set).iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "{set}: {g:?}");
    }
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
        let input = random.between(extent, extent + 13);
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
        input_channels: random.one_of(&[1, 2, 3, 4, 5, 8, 16, 17, 24, 32, 67]),
        output: [oh, ow],
        output_channels: random.one_of(&[1, 3, 8, 15, 16, 17, 24, 32, 40, 48, 64, 65, 100, 130]),
        filter,
        stride,
        dilation,
        padding: [ph, pw],
    }
}

#[test]
fn convolutions_equal_the_portable_ones() {
    let mut random = Random(1);
    for _ in 0..600 {
        let g = geometry(&mut random);
        check_convolution(&mut random, g, false);
    }
}

#[test]
fn depthwise_convolutions_equal_the_portable_ones() {
    let mut random = Random(2);
    for _ in 0..600 {
        let mut g = geometry(&mut random);
        g.input_channels = random.one_of(&[1, 3, 8, 16, 24, 32, 40, 64, 72, 96, 130, 144, 192]);
        g.output_channels = g.input_channels * random.one_of(&[1, 1, 1, 1, 2]);
        check_convolution(&mut random, g, true);
    }
}
