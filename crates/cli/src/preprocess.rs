//! `mobileight preprocess`: a photo as a model's input tensor.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use mobileight::Limits;
use mobileight::preprocess::Preprocessor;

use crate::arguments::{self, RecipeArguments};
use crate::{Outcome, npy, text};

#[derive(Args)]
pub struct Arguments {
    /// The model whose input is made: a .tflite or .mb8 file
    model: PathBuf,

    /// The photo; `-` for standard input
    image: PathBuf,

    /// Where to write the tensor
    #[arg(short, long, value_name = "FILE.npy")]
    output: PathBuf,

    #[command(flatten)]
    recipe: RecipeArguments,

    /// Describes the tensor as JSON
    #[arg(long)]
    json: bool,
}

pub fn main(arguments: &Arguments, limits: &Limits, out: &mut impl Write) -> Result<Outcome> {
    let model = arguments::open(&arguments.model, limits)?;
    let contract = arguments::contract(&model, &arguments.model)?;
    let preprocessor = Preprocessor::new(contract, arguments.recipe.recipe())?;
    let image = arguments::photo(&arguments.image, limits)?;
    let tensor = preprocessor
        .prepare(&image)
        .with_context(|| format!("image {}", arguments.image.display()))?;
    let (shape, element_type) = (tensor.shape.clone(), tensor.data.view().element_type());
    npy::write(&arguments.output, &tensor)?;
    if arguments.json {
        let description = serde_json::json!({
            "file": arguments.output.to_string_lossy(),
            "shape": shape,
            "element_type": element_type.name(),
            "recipe": preprocessor.to_string(),
        });
        writeln!(out, "{description}")?;
    } else {
        writeln!(
            out,
            "{}: {} {element_type}, {preprocessor}",
            arguments.output.display(),
            text::shape(&shape)
        )?;
    }
    Ok(Outcome::Done)
}
