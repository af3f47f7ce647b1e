//! QUANTIZE from `f32` and DEQUANTIZE to `f32`.

use crate::error::check_length;
use crate::requantize::Float;
use crate::table::CodeQuantization;
use crate::{Error, Numerics};

/// QUANTIZE: real values to codes.
///
/// TFLite divides by the scale and rounds half away from zero (`AffineQuantize`); XNNPACK multiplies by the scale's reciprocal and
/// rounds to nearest even.
///
/// # Errors
///
/// [`Error::Length`] when the slices differ in length.
pub fn quantize(
    numerics: Numerics,
    quantization: CodeQuantization,
    input: &[f32],
    output: &mut [u8],
) -> Result<(), Error> {
    check_length("output", output.len(), input.len())?;
    let CodeQuantization { scale, zero_point } = quantization;
    let reciprocal = 1.0 / scale;
    let float = Float::new(zero_point, [0, 255]);
    let pairs = output.iter_mut().zip(input);
    match numerics {
        Numerics::Reference => {
            pairs.for_each(|(code, real)| *code = float.round_away(real / scale))
        }
        Numerics::Xnnpack => pairs.for_each(|(code, real)| *code = float.round(real * reciprocal)),
    }
    Ok(())
}

/// DEQUANTIZE: codes to real values, `scale * (code - zero point)` in `f32`.
///
/// # Errors
///
/// [`Error::Length`] when the slices differ in length.
pub fn dequantize(
    quantization: CodeQuantization,
    input: &[u8],
    output: &mut [f32],
) -> Result<(), Error> {
    check_length("output", output.len(), input.len())?;
    let zero_point = i32::from(quantization.zero_point);
    for (real, &code) in output.iter_mut().zip(input) {
        *real = quantization.scale * (i32::from(code) - zero_point) as f32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_round_trip() {
        let codes: Vec<u8> = (0..=255).collect();
        for scale in [0.0078125, 0.003_921_568_6, 0.02, 1.0] {
            for zero_point in [0, 128, 255] {
                let quantization = CodeQuantization { scale, zero_point };
                let mut reals = [0.0; 256];
                dequantize(quantization, &codes, &mut reals).unwrap();
                for numerics in Numerics::ALL {
                    let mut back = [0; 256];
                    quantize(numerics, quantization, &reals, &mut back).unwrap();
                    assert_eq!(back[..], codes[..]);
                }
            }
        }
    }

    #[test]
    fn ties_and_extremes() {
        let quantization = CodeQuantization { scale: 1.0, zero_point: 10 };
        // 0.49999997 is the largest below a half: adding a half to it would give one.
        let reals = [0.5, 1.5, -0.5, -1.5, 0.499_999_97, 1e30, -1e30, f32::INFINITY];
        let mut codes = [0; 8];
        quantize(Numerics::Reference, quantization, &reals, &mut codes).unwrap();
        assert_eq!(codes, [11, 12, 9, 8, 10, 255, 0, 255]);
        quantize(Numerics::Xnnpack, quantization, &reals, &mut codes).unwrap();
        assert_eq!(codes, [10, 12, 10, 8, 10, 255, 0, 255]);
        assert!(quantize(Numerics::Xnnpack, quantization, &reals, &mut codes[..4]).is_err());
    }

    #[test]
    fn what_is_no_number_becomes_the_lowest_code() {
        let quantization = CodeQuantization { scale: 0.5, zero_point: 10 };
        for numerics in Numerics::ALL {
            let mut codes = [77; 8];
            quantize(numerics, quantization, &[f32::NAN; 8], &mut codes).unwrap();
            assert_eq!(codes, [0; 8]);
        }
    }

    #[test]
    fn roundings_equal_the_standard_library_s() {
        let quantization = CodeQuantization { scale: 1.0, zero_point: 128 };
        let mut reals: Vec<f32> = Vec::new();
        for half in -600..=600 {
            let real = half as f32 / 2.0;
            reals.extend([real, real.next_up(), real.next_down()]);
        }
        let mut codes = vec![0; reals.len()];
        let expected = |rounded: f32| (rounded + 128.0).clamp(0.0, 255.0) as u8;
        quantize(Numerics::Reference, quantization, &reals, &mut codes).unwrap();
        assert!(reals.iter().zip(&codes).all(|(x, &code)| code == expected(x.round())));
        quantize(Numerics::Xnnpack, quantization, &reals, &mut codes).unwrap();
        assert!(reals.iter().zip(&codes).all(|(x, &code)| code == expected(x.round_ties_even())));
    }
}
