//! What is done with a photo, as data and as words.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use mobileight_runtime::Normalization;

use crate::Error;

/// Part of the photo that is resized to the input. The aspect ratio is not kept: the part is squashed to the input's shape.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Crop {
    /// All of it: `full`.
    Full,
    /// The middle part of both sides: `central:0.875`. Of a side of `n` pixels `floor((n - n * fraction) / 2)` are cut off at
    /// each end, as `tf.image.central_crop` does.
    Central(f64),
    /// The largest square in the middle: `square`.
    Square,
}

impl Crop {
    /// Left, top, width and height of the part.
    pub(crate) fn rectangle(&self, width: usize, height: usize) -> [usize; 4] {
        let [left, top] = match *self {
            Crop::Full => [0, 0],
            Crop::Central(fraction) => {
                // At least a pixel is left, however small the fraction.
                let cut = |n: usize| ((n as f64 - n as f64 * fraction) / 2.0) as usize;
                [width, height].map(|n| cut(n).min((n - 1) / 2))
            }
            Crop::Square => {
                let side = width.min(height);
                return [(width - side) / 2, (height - side) / 2, side, side];
            }
        };
        [left, top, width - 2 * left, height - 2 * top]
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Crop::Central(fraction) if !(*fraction > 0.0 && *fraction <= 1.0) => Err(invalid(
                "crop",
                &self.to_string(),
                "the fraction must be above 0 and at most 1",
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Crop::Full => f.write_str("full"),
            Crop::Central(fraction) => write!(f, "central:{fraction}"),
            Crop::Square => f.write_str("square"),
        }
    }
}

impl FromStr for Crop {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let crop = match text.split_once(':') {
            None if text == "full" => Crop::Full,
            None if text == "square" => Crop::Square,
            Some(("central", fraction)) => match fraction.parse() {
                Ok(fraction) => Crop::Central(fraction),
                Err(_) => return Err(invalid("crop", text, CROPS)),
            },
            _ => return Err(invalid("crop", text, CROPS)),
        };
        crop.check()?;
        Ok(crop)
    }
}

const CROPS: &str = "choose central:FRACTION (such as central:0.875), square or full";

/// How pixels are resampled. All methods give 8-bit pixels, rounding half up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resize {
    /// Bilinear with antialiasing, equal to Pillow's `Image.resize(size, BILINEAR)`, rows first: `antialias`.
    AntialiasedBilinear,
    /// `tf.image.resize(image, size)` (`half_pixel_centers` true) or `tf.compat.v1.image.resize_bilinear` (false), rounded:
    /// `tf-half-pixel`, `tf-legacy`.
    TensorFlowBilinear {
        /// Whether pixels' centres, not their corners, are at whole numbers and a half.
        half_pixel_centers: bool,
    },
    /// `tf.compat.v1.image.resize_bilinear(align_corners=True)`, rounded: `tf-align-corners`.
    TensorFlowBilinearAlignCorners,
    /// The pixel under the centre, as Pillow's `NEAREST`; TensorFlow's differs only where a centre is on a border: `nearest`.
    Nearest,
    /// The mean of the pixels covered, as `tf.image.resize(method="area")`, rounded: `area`.
    Area,
}

const RESIZES: [(Resize, &str); 6] = [
    (Resize::AntialiasedBilinear, "antialias"),
    (Resize::TensorFlowBilinear { half_pixel_centers: true }, "tf-half-pixel"),
    (Resize::TensorFlowBilinear { half_pixel_centers: false }, "tf-legacy"),
    (Resize::TensorFlowBilinearAlignCorners, "tf-align-corners"),
    (Resize::Nearest, "nearest"),
    (Resize::Area, "area"),
];

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RESIZES
            .iter()
            .find(|(method, _)| method == self)
            .map_or(Ok(()), |(_, name)| f.write_str(name))
    }
}

impl FromStr for Resize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = RESIZES.iter().find(|(_, name)| *name == text);
        found.map(|(method, _)| *method).ok_or_else(|| {
            let names = RESIZES.map(|(_, name)| name).join(", ");
            invalid("resize method", text, &format!("choose one of {names}"))
        })
    }
}

/// What real values pixels have.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NormalizationChoice {
    /// The file's metadata, else what scale and zero point tell, else [-1, 1]: `auto`.
    Auto,
    /// `(pixel - 127.5) / 127.5`: `-1..1`.
    MinusOneToOne,
    /// `pixel / 255`: `0..1`.
    ZeroToOne,
    /// The pixel itself: `raw`.
    Raw,
    /// `(pixel - mean) / standard deviation`, one entry or one for each channel: `mean=M;std=S`, entries separated by commas.
    Given(Normalization),
}

impl NormalizationChoice {
    /// Mean and standard deviation; `None` for [`Auto`](NormalizationChoice::Auto).
    pub fn values(&self) -> Option<Normalization> {
        let same = |mean: f32, deviation: f32| {
            Some(Normalization { mean: vec![mean], standard_deviation: vec![deviation] })
        };
        match self {
            NormalizationChoice::Auto => None,
            NormalizationChoice::MinusOneToOne => same(127.5, 127.5),
            NormalizationChoice::ZeroToOne => same(0.0, 255.0),
            NormalizationChoice::Raw => same(0.0, 1.0),
            NormalizationChoice::Given(given) => Some(given.clone()),
        }
    }
}

impl From<Normalization> for NormalizationChoice {
    /// The named choice where there is one.
    fn from(values: Normalization) -> Self {
        use NormalizationChoice::{Given, MinusOneToOne, Raw, ZeroToOne};
        [MinusOneToOne, ZeroToOne, Raw]
            .into_iter()
            .find(|named| named.values().as_ref() == Some(&values))
            .unwrap_or(Given(values))
    }
}

impl fmt::Display for NormalizationChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |v: &[f32]| v.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        match self {
            NormalizationChoice::Auto => f.write_str("auto"),
            NormalizationChoice::MinusOneToOne => f.write_str("-1..1"),
            NormalizationChoice::ZeroToOne => f.write_str("0..1"),
            NormalizationChoice::Raw => f.write_str("raw"),
            NormalizationChoice::Given(given) => {
                write!(f, "mean={};std={}", list(&given.mean), list(&given.standard_deviation))
            }
        }
    }
}

impl FromStr for NormalizationChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let list = |text: &str| -> Option<Vec<f32>> {
            text.split(',').map(|part| part.trim().parse().ok()).collect()
        };
        let given = || {
            let (mean, deviation) = text.strip_prefix("mean=")?.split_once(";std=")?;
            let values = Normalization { mean: list(mean)?, standard_deviation: list(deviation)? };
            Some(NormalizationChoice::Given(values))
        };
        let choice = match text {
            "auto" => NormalizationChoice::Auto,
            "-1..1" => NormalizationChoice::MinusOneToOne,
            "0..1" => NormalizationChoice::ZeroToOne,
            "raw" => NormalizationChoice::Raw,
            _ => given().ok_or_else(|| {
                let choices = "choose auto, -1..1, 0..1, raw or mean=M;std=S (such as mean=123.7,116.3,103.5;std=58.4,57.1,57.4)";
                invalid("normalization", text, choices)
            })?,
        };
        if let Some(values) = choice.values() {
            check_normalization(&values, None)?;
        }
        Ok(choice)
    }
}

/// Refuses values that are not finite, a deviation of zero, and numbers of entries that fit no image.
pub(crate) fn check_normalization(
    values: &Normalization,
    channels: Option<usize>,
) -> Result<(), Error> {
    let refuse = |expected: &str| {
        let found = NormalizationChoice::Given(values.clone()).to_string();
        Err(invalid("normalization", &found, expected))
    };
    let fits = |entries: usize| entries == 1 || channels.map_or(entries == 3, |c| entries == c);
    if !fits(values.mean.len()) || !fits(values.standard_deviation.len()) {
        return refuse("mean and deviation have one entry, or one for each channel of the input");
    }
    if !values.mean.iter().chain(&values.standard_deviation).all(|v| v.is_finite())
        || values.standard_deviation.contains(&0.0)
    {
        return refuse("mean and deviation must be finite, and the deviation not zero");
    }
    Ok(())
}

/// Order of the colours in the tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChannelOrder {
    /// Red, green, blue: TensorFlow's.
    #[default]
    Rgb,
    /// Blue, green, red: of models converted from Caffe.
    Bgr,
}

/// What is done with a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The part of the photo.
    pub crop: Crop,
    /// How it is resized to the input.
    pub resize: Resize,
    /// What real values pixels have.
    pub normalization: NormalizationChoice,
    /// The order of colours; without effect on grey inputs.
    pub channel_order: ChannelOrder,
}

impl Default for Recipe {
    /// The usual evaluation of ImageNet models: 87.5 % central crop, antialiased bilinear, the model's own normalization.
    fn default() -> Self {
        Recipe {
            crop: Crop::Central(0.875),
            resize: Resize::AntialiasedBilinear,
            normalization: NormalizationChoice::Auto,
            channel_order: ChannelOrder::Rgb,
        }
    }
}

fn invalid(what: &'static str, found: &str, expected: &str) -> Error {
    Error::InvalidRecipe { what, found: found.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for text in ["full", "central:0.875", "central:1", "square"] {
            assert_eq!(text.parse::<Crop>().unwrap().to_string(), text);
        }
        for (method, name) in RESIZES {
            assert_eq!(name.parse::<Resize>().unwrap(), method);
            assert_eq!(method.to_string(), name);
        }
        for text in ["auto", "-1..1", "0..1", "raw", "mean=1,2.5,3;std=4,5,6", "mean=128;std=64"] {
            assert_eq!(text.parse::<NormalizationChoice>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_words_are_answered_with_the_choices() {
        for text in ["", "central", "central:0", "central:1.1", "central:NaN", "square:2", "centre"]
        {
            assert!(text.parse::<Crop>().is_err(), "{text}");
        }
        let error = "bicubic".parse::<Resize>().unwrap_err().to_string();
        assert!(RESIZES.iter().all(|(_, name)| error.contains(name)), "{error}");
        for text in [
            "",
            "1..0",
            "mean=1",
            "mean=1;std=0",
            "mean=a;std=1",
            "mean=1,2;std=1",
            "mean=inf;std=1",
        ] {
            assert!(text.parse::<NormalizationChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn crops_are_in_the_middle() {
        assert_eq!(Crop::Central(0.875).rectangle(512, 384), [32, 24, 448, 336]);
        assert_eq!(Crop::Central(0.875).rectangle(333, 1), [20, 0, 293, 1]);
        assert_eq!(Crop::Central(1e-9).rectangle(2, 5), [0, 2, 2, 1]);
        assert_eq!(Crop::Square.rectangle(5, 2), [1, 0, 2, 2]);
        assert_eq!(Crop::Full.rectangle(7, 9), [0, 0, 7, 9]);
    }
}
