//! A contract and a recipe, put together.

use std::borrow::Cow;
use std::fmt;

use image::{DynamicImage, GrayImage, RgbImage};
use mobileight_runtime::{Normalization, Tensor};

use crate::resize::{Part, resize};
use crate::table::Table;
use crate::{ChannelOrder, Error, InputContract, NormalizationSource, Recipe};

/// Turns photos into a model's input tensor. Made once; share it between threads.
///
/// ```
/// # use mobileight_preprocess::{InputContract, Preprocessor, Recipe, image::DynamicImage};
/// # fn prepare(graph: &mobileight_runtime::Graph) -> Result<(), mobileight_preprocess::Error> {
/// let preprocessor = Preprocessor::new(InputContract::from_graph(graph)?, Recipe::default())?;
/// let tensor = preprocessor.prepare(&DynamicImage::new_rgb8(512, 384))?;
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

    /// One image as `[1, height, width, channels]` in the input's element type. Alpha is dropped, not composited.
    ///
    /// # Errors
    ///
    /// [`Error::NoPixels`] for an image without any.
    pub fn prepare(&self, image: &DynamicImage) -> Result<Tensor, Error> {
        self.prepare_batch([image])
    }

    /// Images as `[images, height, width, channels]`, whatever the contract's own batch.
    ///
    /// # Errors
    ///
    /// [`Error::NoPixels`] for an image without any.
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
    pub fn resized(&self, image: &DynamicImage) -> Result<Vec<u8>, Error> {
        let (columns, rows) = (image.width(), image.height());
        if columns == 0 || rows == 0 {
            return Err(Error::NoPixels { width: columns, height: rows });
        }
        let [_, height, width, channels] = self.contract.shape;
        let rectangle = self.recipe.crop.rectangle(columns as usize, rows as usize);
        let part = |pixels| Part { pixels, stride: columns as usize, rectangle };
        let method = self.recipe.resize;
        let rgb = rgb(image);
        Ok(if channels == 1 {
            resize::<1>(part(grey(&rgb).as_raw()), method, width, height)
        } else {
            resize::<3>(part(rgb.as_raw()), method, width, height)
        })
    }
}

fn rgb(image: &DynamicImage) -> Cow<'_, RgbImage> {
    image.as_rgb8().map_or_else(|| Cow::Owned(image.to_rgb8()), Cow::Borrowed)
}

/// Luma of ITU-R 601 in 16 fractional bits, as Pillow's `convert("L")`.
fn grey(image: &RgbImage) -> GrayImage {
    let luma = |pixel: &image::Rgb<u8>| {
        let [red, green, blue] = pixel.0.map(u32::from);
        ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
    };
    GrayImage::from_vec(image.width(), image.height(), image.pixels().map(luma).collect())
        .expect("one luma for each pixel")
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
