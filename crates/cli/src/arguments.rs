//! Arguments that several commands share.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;
use mobileight::preprocess::image::DynamicImage;
use mobileight::preprocess::{
    Crop, InputContract, NormalizationChoice, Recipe, Resize, decode, decode_file,
};
use mobileight::{Limit, Limits, Model, Numerics, PlanOptions};

/// What files may cost, for all commands.
#[derive(Args)]
pub struct LimitArguments {
    /// Raises or lowers a limit on what files may cost (repeat for more)
    #[arg(
        long,
        global = true,
        value_parser = limit,
        value_name = "LIMIT=VALUE",
        help_heading = "Limits",
        long_help = limits_help()
    )]
    max: Vec<(Limit, u64)>,
}

impl LimitArguments {
    /// The default limits but for those given.
    pub fn limits(&self) -> Limits {
        self.max.iter().fold(Limits::default(), |limits, &(limit, most)| limits.with(limit, most))
    }
}

fn limit(text: &str) -> Result<(Limit, u64), String> {
    let (name, value) = text.split_once('=').ok_or("expected LIMIT=VALUE")?;
    let limit = name.parse().map_err(|_| {
        let known: Vec<&str> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        format!("there is no limit `{name}`, only {}", known.join(", "))
    })?;
    Ok((limit, bytes(value)?))
}

fn limits_help() -> String {
    let mut help = String::from(
        "Raises or lowers a limit on what files may cost, such as memory_bytes=512M (repeat for more). Files over a limit are refused. Units are those of sizes: K, M and G count in 1024, kB, MB and GB in 1000. The limits and their defaults:\n",
    );
    for &limit in Limit::ALL {
        let most = Limits::default().get(limit);
        help.push_str(&format!("\n  {:<14} {most:>12}  {}", limit.name(), limit.what()));
    }
    help
}

/// How the network is computed.
#[derive(Args)]
pub struct Computation {
    /// Arithmetic to equal: LiteRT's default kernels (xnnpack) or TFLite's reference kernels (reference)
    #[arg(long, default_value_t, value_name = "NAME")]
    pub numerics: Numerics,
}

impl Computation {
    /// Plan options of these arguments.
    pub fn options(&self, limits: &Limits) -> PlanOptions {
        PlanOptions::default().numerics(self.numerics).limits(*limits)
    }
}

/// How a photo becomes an input.
#[derive(Args)]
pub struct RecipeArguments {
    /// Part of the photo: central:FRACTION, square or full
    #[arg(long, default_value_t = Recipe::default().crop, value_name = "CROP")]
    pub crop: Crop,

    /// Resampling: antialias, tf-half-pixel, tf-legacy, tf-align-corners, nearest or area
    #[arg(long, default_value_t = Recipe::default().resize, value_name = "METHOD")]
    pub resize: Resize,

    /// Real values of pixels: auto (metadata, else scale and zero point), -1..1, 0..1, raw or mean=M;std=S
    #[arg(
        long,
        default_value_t = Recipe::default().normalization,
        allow_hyphen_values = true,
        value_name = "RANGE"
    )]
    pub normalize: NormalizationChoice,
}

impl RecipeArguments {
    /// The recipe of these arguments.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            crop: self.crop.clone(),
            resize: self.resize,
            normalization: self.normalize.clone(),
            ..Recipe::default()
        }
    }
}

/// All of standard input, where `path` is `-`: it stands for one file.
pub fn standard_input(path: &Path, limit: Limit, limits: &Limits) -> Result<Option<Vec<u8>>> {
    static IS_READ: AtomicBool = AtomicBool::new(false);
    if path.as_os_str() != "-" {
        return Ok(None);
    }
    if IS_READ.swap(true, Ordering::Relaxed) {
        bail!("standard input (`-`) is one file and was read already");
    }
    let mut bytes = Vec::new();
    let most = limits.get(limit).saturating_add(1);
    io::stdin().lock().take(most).read_to_end(&mut bytes).context("cannot read standard input")?;
    limits.check(limit, bytes.len() as u64).context("standard input")?;
    Ok(Some(bytes))
}

/// Opens a model; the error names the file.
pub fn open(path: &Path, limits: &Limits) -> Result<Model> {
    let model = match standard_input(path, Limit::ModelBytes, limits)? {
        Some(bytes) => Model::from_bytes_within(bytes, *limits).context("standard input"),
        None => Model::open_within(path, *limits).map_err(anyhow::Error::from),
    };
    model.context("cannot open model")
}

/// Decodes a photo; the error names the file.
pub fn photo(path: &Path, limits: &Limits) -> Result<DynamicImage> {
    match standard_input(path, Limit::ImageBytes, limits)? {
        Some(bytes) => decode(&bytes, limits).context("image on standard input"),
        None => Ok(decode_file(path, limits)?),
    }
}

/// A model's input contract; the error names the file.
pub fn contract(model: &Model, path: &Path) -> Result<InputContract> {
    model.input_contract().with_context(|| format!("model {}", path.display()))
}

/// A number of bytes with an optional unit: `1048576`, `1MiB`, `1.5GB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("unknown unit `{unit}`: use KiB, MiB, GiB, kB, MB, GB or none")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no size such as 512MiB"))?;
    Ok((number * factor) as u64)
}

/// A shape such as `1,224,224,3`.
pub fn shape(text: &str) -> Result<Vec<usize>, String> {
    let lengths: Result<Vec<usize>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match lengths {
        Ok(lengths) if lengths.iter().all(|&length| length > 0) => Ok(lengths),
        _ => Err(format!("`{text}` is no shape such as 1,224,224,3")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("17"), Ok(17));
        assert_eq!(bytes("1.5KiB"), Ok(1536));
        assert_eq!(bytes("2 MB"), Ok(2_000_000));
        assert_eq!(bytes("1g"), Ok(1 << 30));
        for bad in ["", "x", "1TB", "-1", "1.2.3"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shapes_are_lists_of_positive_lengths() {
        assert_eq!(shape("1, 320,320,3"), Ok(vec![1, 320, 320, 3]));
        for bad in ["", "1,,3", "0,2", "a", "-1,2"] {
            assert!(shape(bad).is_err(), "{bad}");
        }
    }
}
