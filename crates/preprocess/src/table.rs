//! From pixels to the input's elements: one entry for each of the 256 values of a pixel.

use alloc::vec::Vec;
use core::fmt;

#[cfg(not(feature = "image"))]
use mobileight_runtime::math::Math;
use mobileight_runtime::{Data, ElementType, Normalization};

use crate::recipe::check_normalization;
use crate::{Error, InputContract, NormalizationChoice};

/// What decided the normalization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NormalizationSource {
    /// The recipe.
    Given,
    /// The file's metadata.
    Metadata,
    /// The input's scale and zero point: its codes just span [-1, 1], [0, 1] or [0, 255].
    ScaleAndZeroPoint,
    /// Nothing: [-1, 1] is assumed, as most MobileNets are trained.
    Assumed,
}

impl fmt::Display for NormalizationSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NormalizationSource::Given => "given",
            NormalizationSource::Metadata => "from metadata",
            NormalizationSource::ScaleAndZeroPoint => "from scale and zero point",
            NormalizationSource::Assumed => {
                "assumed: neither metadata nor scale and zero point tell"
            }
        })
    }
}

/// Elements of a pixel, for each channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Elements {
    U8(Vec<[u8; 256]>),
    I8(Vec<[i8; 256]>),
    F32(Vec<[f32; 256]>),
}

/// The table and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    pub normalization: Normalization,
    pub source: NormalizationSource,
    /// Whether codes are the pixels themselves (int8: less 128).
    pub pixels_are_codes: bool,
    pub elements: Elements,
}

impl Table {
    pub fn new(contract: &InputContract, choice: &NormalizationChoice) -> Result<Self, Error> {
        let channels = contract.channels();
        let (normalization, source) = choose(contract, choice);
        check_normalization(&normalization, Some(channels))?;
        let real = |channel: usize, pixel: usize| {
            let entry = |list: &[f32]| list[if list.len() == 1 { 0 } else { channel }];
            let difference = pixel as f32 - entry(&normalization.mean);
            difference / entry(&normalization.standard_deviation)
        };
        let Some((scale, zero_point)) = contract.quantization else {
            let channel = |c| core::array::from_fn(|pixel| real(c, pixel));
            let elements = Elements::F32((0..channels).map(channel).collect());
            return Ok(Table { normalization, source, pixels_are_codes: false, elements });
        };
        // What the user gives is followed to the letter; else codes within a quantum of the pixels are the pixels: training
        // and LiteRT's own image tools put them there, and the difference is in the rounding of scale and zero point.
        let pixels_are_codes = source != NormalizationSource::Given
            && nearly_pixels(&normalization, contract.element_type, scale, zero_point);
        let code = |channel: usize, pixel: usize, low: i32, high: i32| {
            if pixels_are_codes {
                return pixel as i32 + low;
            }
            // TFLite's QUANTIZE: half away from zero, then the zero point; the cast saturates.
            let rounded = (real(channel, pixel) / scale).round() as i32;
            rounded.saturating_add(zero_point).clamp(low, high)
        };
        let elements = if contract.element_type == ElementType::I8 {
            let channel = |c| core::array::from_fn(|pixel| code(c, pixel, -128, 127) as i8);
            Elements::I8((0..channels).map(channel).collect())
        } else {
            let channel = |c| core::array::from_fn(|pixel| code(c, pixel, 0, 255) as u8);
            Elements::U8((0..channels).map(channel).collect())
        };
        Ok(Table { normalization, source, pixels_are_codes, elements })
    }

    /// The elements of interleaved pixels, whose channels are taken in reverse order where `reversed`.
    pub fn apply(&self, pixels: &[u8], reversed: bool) -> Data {
        match &self.elements {
            Elements::U8(tables) => look_up(tables, pixels, reversed).into(),
            Elements::I8(tables) => look_up(tables, pixels, reversed).into(),
            Elements::F32(tables) => look_up(tables, pixels, reversed).into(),
        }
    }
}

fn look_up<T: Copy>(tables: &[[T; 256]], pixels: &[u8], reversed: bool) -> Vec<T> {
    match tables {
        [table] => pixels.iter().map(|&pixel| table[usize::from(pixel)]).collect(),
        _ => {
            let of = |pixel: &[u8], channel: usize| {
                let from = if reversed { pixel.len() - 1 - channel } else { channel };
                tables[channel][usize::from(pixel[from])]
            };
            let channels = tables.len();
            let mut elements = Vec::with_capacity(pixels.len());
            for pixel in pixels.chunks_exact(channels) {
                elements.extend((0..channels).map(|channel| of(pixel, channel)));
            }
            elements
        }
    }
}

fn choose(
    contract: &InputContract,
    choice: &NormalizationChoice,
) -> (Normalization, NormalizationSource) {
    if let Some(given) = choice.values() {
        return (given, NormalizationSource::Given);
    }
    if let Some(metadata) = &contract.metadata {
        return (metadata.clone(), NormalizationSource::Metadata);
    }
    let codes = match contract.quantization {
        Some((scale, zero_point)) => Some((contract.element_type, scale, zero_point)),
        None => contract.quantized_as,
    };
    let named = [
        NormalizationChoice::MinusOneToOne,
        NormalizationChoice::ZeroToOne,
        NormalizationChoice::Raw,
    ]
    .map(|choice| choice.values().expect("named choices have values"));
    let told = codes.and_then(|(element_type, scale, zero_point)| {
        named.iter().find(|values| nearly_pixels(values, element_type, scale, zero_point))
    });
    match told {
        Some(values) => (values.clone(), NormalizationSource::ScaleAndZeroPoint),
        None => (named[0].clone(), NormalizationSource::Assumed),
    }
}

/// Whether codes differ from pixels (int8: less 128) by little more than one at both ends: published files of [-1, 1] have
/// scales of 2/254, 2/255 and 2/256 and either of the two middle zero points.
fn nearly_pixels(
    values: &Normalization,
    element_type: ElementType,
    scale: f32,
    zero_point: i32,
) -> bool {
    const QUANTA: f32 = 1.25;
    let Some((low, _)) = element_type.integer_range() else { return false };
    let entries = values.mean.len().max(values.standard_deviation.len());
    (0..entries).all(|channel| {
        let entry = |list: &[f32]| list[channel.min(list.len() - 1)];
        [0.0, 255.0].iter().all(|pixel| {
            let real = (pixel - entry(&values.mean)) / entry(&values.standard_deviation);
            let code = real / scale + zero_point as f32;
            (code - (pixel + low as f32)).abs() <= QUANTA
        })
    })
}
