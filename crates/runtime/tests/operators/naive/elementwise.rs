//! Operators on each element.

use mobileight_runtime::{Activation, Numerics};

use super::fixed_point::{Multiplier, divide_by_power_of_two, round_ties_up};
use super::{Operand, Target, Values, indices};

/// An operand's element for an element of the broadcast output.
fn broadcast(operand: &Operand, index: &[usize]) -> i64 {
    let skipped = index.len() - operand.shape.len();
    let own: Vec<usize> = index[skipped..]
        .iter()
        .zip(&operand.shape)
        .map(|(&at, &length)| if length == 1 { 0 } else { at })
        .collect();
    operand.at(&own)
}

fn each_pair(inputs: &[Operand], target: &Target, value: impl Fn(i64, i64) -> i64) -> Vec<i64> {
    let pair = |index: Vec<usize>| {
        value(
            broadcast(&inputs[0], &index) - inputs[0].zero_point(),
            broadcast(&inputs[1], &index) - inputs[1].zero_point(),
        )
    };
    indices(&target.shape).map(pair).collect()
}

/// ADD, and SUB with the sign of the second operand.
pub fn add(inputs: &[Operand], sign: i64, activation: Activation, target: &Target) -> Vec<i64> {
    let [a, b] = [inputs[0].scale(), inputs[1].scale()];
    match target.numerics {
        Numerics::Reference => {
            let twice = f64::from(2.0 * a.max(b));
            let output = Multiplier::new(twice / f64::from((1 << 20) as f32 * target.scale()));
            let first = Multiplier::new(f64::from(a) / twice);
            let mut second = Multiplier::new(f64::from(b) / twice);
            second.mantissa *= sign;
            each_pair(inputs, target, |x, y| {
                let sum = first.apply(x << 20) + second.apply(y << 20);
                target.finish(output.apply(sum), activation)
            })
        }
        Numerics::Xnnpack => {
            let ratios = [a / target.scale(), b / target.scale()];
            let largest = ratios[0].max(ratios[1]);
            let shift = 20 - f64::from(largest).log2().floor() as i32;
            let integer =
                |ratio: f32| (f64::from(ratio) * f64::powi(2.0, shift)).round_ties_even() as i64;
            let [first, second] = ratios.map(integer);
            each_pair(inputs, target, |x, y| {
                let sum = first * x + sign * second * y + (1 << (shift - 1));
                target.finish(sum.div_euclid(1 << shift), activation)
            })
        }
    }
}

pub fn mul(inputs: &[Operand], activation: Activation, target: &Target) -> Vec<i64> {
    let ratio = inputs[0].scale() * inputs[1].scale() / target.scale();
    each_pair(inputs, target, |x, y| {
        let quanta = match target.numerics {
            Numerics::Reference => Multiplier::new(f64::from(ratio)).apply(x * y),
            Numerics::Xnnpack => ((x * y) as f32 * ratio).round_ties_even() as i64,
        };
        target.finish(quanta, activation)
    })
}

fn each(input: &Operand, value: impl Fn(i64) -> i64) -> Vec<i64> {
    input.integers().iter().map(|x| value(x - input.zero_point())).collect()
}

pub fn logistic(input: &Operand, target: &Target) -> Vec<i64> {
    each(input, |x| {
        let real = input.scale() * x as f32;
        let quanta = match target.numerics {
            Numerics::Reference => (1.0 / (1.0 + (-real).exp()) * (1.0 / target.scale())).round(),
            // XNNPACK: the sigmoid in `f64`, and the zero point is in the sum that is rounded.
            Numerics::Xnnpack => {
                let exponential = f64::from(real).exp();
                let sigmoid = (exponential / (1.0 + exponential)) as f32;
                let zero_point = target.zero_point() as f32;
                (sigmoid * (1.0 / target.scale()) + zero_point).round_ties_even() - zero_point
            }
        };
        target.finish(quanta as i64, Activation::None)
    })
}

/// RELU and RELU6 as operators of their own: the same in both numerics.
pub fn relu(input: &Operand, activation: Activation, target: &Target) -> Vec<i64> {
    let ratio = input.scale() / target.scale();
    // LiteRT's default leaves them, and how their bounds are rounded, to TFLite.
    let target = Target { numerics: Numerics::Reference, ..target.clone() };
    each(input, |x| target.finish(Multiplier::new(f64::from(ratio)).apply(x), activation))
}

/// LEAKY_RELU.
pub fn leaky_relu(input: &Operand, alpha: f32, target: &Target) -> Vec<i64> {
    let ratio = input.scale() / target.scale();
    let slope = ratio * alpha;
    // What XNNPACK takes: both multipliers in its eight fractional bits, and not lost in them.
    let fits = |ratio: f32| ratio.abs() * 256.0 >= 1.0 && ratio <= 128.0 && ratio > -128.0;
    let delegated = target.numerics == Numerics::Xnnpack && fits(ratio) && fits(slope);
    let fixed_point = |real: f32, x: i64| match real {
        0.0 => 0,
        // The mantissa has the sign.
        _ => {
            let mut multiplier = Multiplier::new(f64::from(real.abs()));
            multiplier.mantissa *= real.signum() as i64;
            multiplier.apply(x)
        }
    };
    each(input, |x| {
        let quanta = match (delegated, x < 0) {
            (true, negative) => {
                let ratio = if negative { slope } else { ratio };
                round_ties_up((x * (ratio * 256.0).round_ties_even() as i64).into(), 8)
            }
            (false, false) => fixed_point(ratio, x),
            (false, true) => fixed_point(input.scale() * alpha / target.scale(), x),
        };
        target.finish(quanta, Activation::None)
    })
}

pub fn quantize(input: &Operand, target: &Target) -> Vec<i64> {
    let Values::Floats(reals) = &input.values else {
        return requantize(input, target);
    };
    let value = |&real: &f32| {
        let quanta = match target.numerics {
            Numerics::Reference => (real / target.scale()).round(),
            Numerics::Xnnpack => (real * (1.0 / target.scale())).round_ties_even(),
        };
        target.finish(quanta as i64, Activation::None)
    };
    reals.iter().map(value).collect()
}

/// QUANTIZE from 8 bits to 8 bits.
fn requantize(input: &Operand, target: &Target) -> Vec<i64> {
    let multiplier = Multiplier::new(f64::from(input.scale()) / f64::from(target.scale()));
    let ratio = input.scale() / target.scale();
    // XNNPACK converts within a sign and a range of ratios, with a multiplier of eight fractional bits.
    let coarse = (ratio * 256.0).round_ties_even() as i64;
    let delegated = target.numerics == Numerics::Xnnpack
        && input.element_type == target.element_type
        && (1.0 / 256.0..=128.0).contains(&ratio);
    // LiteRT's optimized kernel does sixteen elements at once, rounding ties up, and the rest like the reference.
    let vectors = match target.numerics {
        Numerics::Reference => 0,
        Numerics::Xnnpack => input.integers().len() / 16 * 16,
    };
    let value = |(position, code): (usize, &i64)| {
        let x = code - input.zero_point();
        let quanta = match delegated {
            true => round_ties_up((x * coarse).into(), 8),
            false if position < vectors => multiplier.apply_rounding_up(x),
            false => multiplier.apply(x),
        };
        target.finish(quanta, Activation::None)
    };
    input.integers().iter().enumerate().map(value).collect()
}

pub fn dequantize(input: &Operand) -> Values {
    let real = |x: &i64| input.scale() * (x - input.zero_point()) as f32;
    Values::Floats(input.integers().iter().map(real).collect())
}

/// The product of two Q15 numbers, doubled; to nearest with ties up, saturated.
fn high_multiply_16(a: i64, b: i64) -> i64 {
    (a * b + (1 << 14)).div_euclid(1 << 15).min(i16::MAX.into())
}

fn saturate_16(value: i64) -> i64 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

/// A multiplier whose mantissa has 15 bits.
fn multiplier_16(real: f32) -> Multiplier {
    let Multiplier { mantissa, exponent } = Multiplier::new(f64::from(real));
    let mantissa = ((mantissa + (1 << 15)) >> 16).min(i16::MAX.into());
    Multiplier { mantissa, exponent }
}

/// HARD_SWISH in 16-bit fixed point: the same in both numerics.
pub fn hard_swish(input: &Operand, target: &Target) -> Vec<i64> {
    let fine_scale = input.scale() * (1.0 / 128.0);
    let output = multiplier_16(fine_scale / target.scale());
    let gate = multiplier_16(fine_scale / (3.0 / 32768.0));
    each(input, |x| {
        let fine = x << 7;
        let identity = high_multiply_16(fine, output.mantissa);
        // x / 3, saturated to [-1, 1), then moved to [0, 1).
        let mut opened = fine;
        if gate.exponent > 0 {
            opened = saturate_16(opened << (gate.exponent - 1));
        }
        opened = high_multiply_16(opened, gate.mantissa);
        if gate.exponent > 0 {
            opened = saturate_16(opened << 1);
        } else {
            opened = divide_by_power_of_two(opened, -gate.exponent as u32);
        }
        opened = (opened + (1 << 15)) >> 1;
        let product = opened * identity / (1 << 15);
        let quanta = divide_by_power_of_two(product, -output.exponent as u32);
        target.finish(quanta, Activation::None)
    })
}
