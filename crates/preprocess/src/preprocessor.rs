//! A contract and a recipe, put together.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "image")]
use image::DynamicImage;
use mobileight_runtime::{Normalization, Tensor};

use crate::resize::{Part, resize};
use crate::table::Table;
use crate::{ChannelOrder, Error, InputContract, NormalizationSource, Recipe};

/// Pixels of red, green and blue, a byte each, row after row from the top.
#[derive(Clone, Copy, Debug)]
pub struct RgbView<'a> {
    pixels: &'a [u8],
    width: u32,
    height: u32,
}

impl<'a> RgbView<'a> {
    /// A view of `width` x `height` pixels.
    ///
    /// # Errors
    ///
    /// [`Error::NoPixels`] when there is none, [`Error::Pixels`] when `pixels` has not three bytes for each.
    pub fn new(pixels: &'a [u8], width: u32, height: u32) -> Result<Self, Error> {
        if width == 0 || height == 0 {
            return Err(Error::NoPixels { width, height });
        }
        let expected = u64::from(width).saturating_mul(height.into()).saturating_mul(3);
        if pixels.len() as u64 != expected {
            return Err(Error::Pixels { width, height, expected, found: pixels.len() });
        }
        Ok(RgbView { pixels, width, height })
    }
}

/// Turns photos into a model's input tensor. Made once; share it between threads.
///
/// ```
/// # use mobileight_preprocess::{InputContract, Preprocessor, Recipe, RgbView};
/// # fn prepare(graph: &mobileight_runtime::Graph) -> Result<(), mobileight_preprocess::Error> {
/// let preprocessor = Preprocessor::new(InputContract::from_graph(graph)?, Recipe::default())?;
/// let frame = vec![0; 512 * 384 * 3];
/// let tensor = preprocessor.prepare_rgb(RgbView::new(&frame, 512, 384)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessor {
    contract: InputContract,
    recipe: Recipe,
    table: Table,
}

impl Preprocessor {
    /// Checks the recipe and makes the table of codes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecipe`]: a crop that leaves nothing, or a normalization that does not fit the channels.
    pub fn new(contract: InputContract, recipe: Recipe) -> Result<Self, Error> {
        recipe.crop.check()?;
        let table = Table::new(&contract, &recipe.normalization)?;
        Ok(Preprocessor { contract, recipe, table })
    }

    /// What the model takes.
    pub fn contract(&self) -> &InputContract {
        &self.contract
    }

    /// What is done with photos.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Real values of pixels, as decided.
    pub fn normalization(&self) -> &Normalization {
        &self.table.normalization
    }

    /// What decided the normalization.
    pub fn normalization_source(&self) -> NormalizationSource {
        self.table.source
    }

    /// Whether the input's codes are the pixels themselves (int8: less 128).
    pub fn pixels_are_codes(&self) -> bool {
        self.table.pixels_are_codes
    }

    /// One frame as `[1, height, width, channels]` in the input's element type.
    pub fn prepare_rgb(&self, frame: RgbView) -> Tensor {
        self.tensor(&self.resized_rgb(frame))
    }

    /// One image as `[1, height, width, channels]` in the input's element type. Alpha is dropped, not composited.
    ///
    /// # Errors
    ///
    /// [`Error::NoPixels`] for an image without any.
    #[cfg(feature = "image")]
    pub fn prepare(&self, image: &DynamicImage) -> Result<Tensor, Error> {
        self.prepare_batch([image])
    }

    /// Images as `[images, height, width, channels]`, whatever the contract's own batch.
    ///
    /// # Errors
    ///
    /// [`Error::NoPixels`] for an image without any.
    #[cfg(feature = "image")]
    pub fn prepare_batch<'a>(
        &self,
        images: impl IntoIterator<Item = &'a DynamicImage>,
    ) -> Result<Tensor, Error> {
        let mut pixels = Vec::new();
        for image in images {
            pixels.extend(self.resized(image)?);
        }
        Ok(self.tensor(&pixels))
    }

    /// The tensor `[images, height, width, channels]` of pixels that are already of the input's size, as
    /// [`resized`](Preprocessor::resized) gives them; what is over after the last whole image is left out.
    pub fn tensor(&self, pixels: &[u8]) -> Tensor {
        let [_, height, width, channels] = self.contract.shape;
        let image = height * width * channels;
        let count = pixels.len() / image;
        let reversed = self.recipe.channel_order == ChannelOrder::Bgr;
        let data = self.table.apply(&pixels[..count * image], reversed);
        Tensor { shape: vec![count, height, width, channels], data }
    }

    /// Pixels of the cropped and resized image, before they become codes: red, green and blue, or grey.
    ///
    /// # Errors
    ///
    /// [`Error::NoPixels`] for an image without any.
    #[cfg(feature = "image")]
    pub fn resized(&self, image: &DynamicImage) -> Result<Vec<u8>, Error> {
        let converted;
        let rgb = match image.as_rgb8() {
            Some(rgb) => rgb,
            None => {
                converted = image.to_rgb8();
                &converted
            }
        };
        Ok(self.resized_rgb(RgbView::new(rgb, rgb.width(), rgb.height())?))
    }

    /// Pixels of the cropped and resized frame, before they become codes: red, green and blue, or grey.
    pub fn resized_rgb(&self, frame: RgbView) -> Vec<u8> {
        let [_, height, width, channels] = self.contract.shape;
        let (columns, rows) = (frame.width as usize, frame.height as usize);
        let rectangle = self.recipe.crop.rectangle(columns, rows);
        let part = |pixels| Part { pixels, stride: columns, rectangle };
        let method = self.recipe.resize;
        if channels == 1 {
            resize::<1>(part(&grey(frame.pixels)), method, width, height)
        } else {
            resize::<3>(part(frame.pixels), method, width, height)
        }
    }
}

/// Luma of ITU-R 601 in 16 fractional bits, as Pillow's `convert("L")`.
fn grey(rgb: &[u8]) -> Vec<u8> {
    let luma = |pixel: &[u8; 3]| {
        let [red, green, blue] = pixel.map(u32::from);
        ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
    };
    rgb.as_chunks().0.iter().map(luma).collect()
}

impl fmt::Display for Preprocessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, height, width, channels] = self.contract.shape;
        let colours = match (channels, self.recipe.channel_order) {
            (1, _) => "grey",
            (_, ChannelOrder::Rgb) => "RGB",
            (_, ChannelOrder::Bgr) => "BGR",
        };
        let values = crate::NormalizationChoice::from(self.table.normalization.clone());
        let Recipe { crop, resize, .. } = &self.recipe;
        write!(
            f,
            "crop {crop}, {resize} to {width}x{height} {colours}, normalize {values} ({}",
            self.table.source
        )?;
        if self.pixels_are_codes() {
            f.write_str("; pixels go in unchanged")?;
        }
        f.write_str(")")
    }
}
