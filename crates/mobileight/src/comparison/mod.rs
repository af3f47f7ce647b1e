//! Comparing an INT8 model with FP32 on images: what quantization cost, where, and whether that is signal or noise.
//!
//! [`Comparison`] runs both models over an [`ImageSet`] and gives a [`Report`], whose figures are
//! defined in `docs/metrics.md`. Images are read once for each pass and never kept: memory does not grow with their number.

mod describe;
mod images;
mod layers;
mod matching;
mod network;
mod passes;
mod recipes;
mod sensitivity;
mod weights;

use std::path::{Path, PathBuf};

use mobileight_compare::formats::ImageRow;
use mobileight_compare::report::{Provenance, Report, SCHEMA_VERSION, Split, Truth};
use mobileight_compare::{advise, gate};
use mobileight_preprocess::{InputContract, Preprocessor, Recipe};
use mobileight_runtime::{Limits, PlanOptions};
use sha2::{Digest, Sha256};

pub use crate::images::{IMAGE_EXTENSIONS, image_files};
use crate::model::read_file;
use crate::{Error, Labels, Model};
use describe::{describe, hex, median_latency, thumbnail};
pub use images::ImageSet;
use network::Network;

/// A model and the file that it came from.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// The file, as it was given.
    pub path: PathBuf,
    /// The model.
    pub model: Model,
    bytes: u64,
    sha256: String,
}

impl ModelFile {
    /// Opens a `.tflite` or `.mb8` file.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        ModelFile::open_within(path, Limits::default())
    }

    /// The same within other limits than the default ones.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn open_within(path: impl AsRef<Path>, limits: Limits) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = read_file(path, &limits)?;
        let (bytes, sha256) = (file.len() as u64, hex(&Sha256::digest(&file)));
        let model = Model::from_bytes_within(file, limits).map_err(|error| error.in_file(path))?;
        Ok(ModelFile { path: path.into(), model, bytes, sha256 })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// An error with the file that it is about.
    fn blame(&self, error: Error) -> Error {
        Error::InModel { file: self.name(), error: Box::new(error) }
    }
}

/// What a comparison does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComparisonOptions {
    /// The arithmetic of the INT8 model, and the limits of models and images.
    pub plan: PlanOptions,
    /// How images become inputs, for both models.
    pub recipe: Recipe,
    /// Images for the figures layer by layer; 32 unless told, none when zero.
    pub layer_images: usize,
    /// Images for the sensitivity of each layer; none unless told.
    pub sensitivity_images: usize,
    /// Where an interrupted sensitivity pass is saved and resumed from.
    pub sensitivity_state: Option<PathBuf>,
    /// Images for comparing usual preprocessings; 64 unless told, none when zero.
    pub preprocessing_images: usize,
    /// How many of the worst images are shown.
    pub worst_images: usize,
    /// Seed of the resampling.
    pub seed: u64,
    /// Points of top-1 that may be lost.
    pub max_drop: Option<f64>,
    /// Names of the classes; those in the models' metadata, else indices, when absent.
    pub class_names: Option<Labels>,
}

impl Default for ComparisonOptions {
    fn default() -> Self {
        ComparisonOptions {
            plan: PlanOptions::default(),
            recipe: Recipe::default(),
            layer_images: 32,
            sensitivity_images: 0,
            sensitivity_state: None,
            preprocessing_images: 64,
            worst_images: 24,
            seed: 1,
            max_drop: None,
            class_names: None,
        }
    }
}

/// A part of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Both models over all images; counted in images.
    Images,
    /// Figures layer by layer; counted in images.
    Layers,
    /// The usual preprocessings; counted in images.
    Preprocessing,
    /// The sensitivity of each layer; counted in layers of images.
    Sensitivity,
}

/// Watches a comparison and may stop it.
pub trait Observer: Sync {
    /// A part begins, of so many steps.
    fn begin(&self, phase: Phase, steps: u64);
    /// So many steps are done.
    fn advance(&self, steps: u64);
    /// Whether to stop and report what there is.
    fn stop(&self) -> bool;
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn begin(&self, _: Phase, _: u64) {}
    fn advance(&self, _: u64) {}
    fn stop(&self) -> bool {
        false
    }
}

/// Two models, ready to be compared.
#[derive(Debug)]
pub struct Comparison {
    int8_file: ModelFile,
    float_file: Option<ModelFile>,
    options: ComparisonOptions,
    names: Labels,
    int8: Network,
    dequantized: Network,
    float: Option<Network>,
}

impl Comparison {
    /// Checks that the models are a pair. Without a float sibling the INT8 file's own weights in FP32 are the reference.
    ///
    /// # Errors
    ///
    /// [`Error::NotAPair`]: the first is not quantized, the second is; inputs of different sizes; different numbers of classes.
    pub fn new(
        int8_file: ModelFile,
        float_file: Option<ModelFile>,
        options: ComparisonOptions,
    ) -> Result<Self, Error> {
        let not_a_pair = |reason: String| Error::NotAPair {
            first: int8_file.name(),
            second: float_file.as_ref().map_or("FP32".into(), ModelFile::name),
            reason,
        };
        if int8_file.model.graph().is_float() {
            return Err(not_a_pair(
                "the first is a float model; give the INT8 model first and the float model with --float".into(),
            ));
        }
        if float_file.as_ref().is_some_and(|file| !file.model.graph().is_float()) {
            return Err(not_a_pair(
                "the second, given as the float model, is quantized; give the float model it was converted from, or none".into(),
            ));
        }
        let (plan, recipe) = (&options.plan, &options.recipe);
        let network = |file: &ModelFile, fp32| {
            Network::new(&file.model, fp32, plan, recipe).map_err(|error| file.blame(error))
        };
        let int8 = network(&int8_file, false)?;
        let dequantized = network(&int8_file, true)?;
        let float = match &float_file {
            None => None,
            Some(file) => {
                let network = network(file, false)?;
                let contract = network.preprocessor().contract().clone();
                let [ours, theirs] = [&int8.preprocessor().contract().shape, &contract.shape];
                if ours != theirs {
                    return Err(not_a_pair(format!(
                        "the first takes {ours:?}, the second {theirs:?}; their inputs must have the same size"
                    )));
                }
                let [ours, theirs] = [int8.classes(), network.classes()];
                if ours != theirs {
                    let background = if ours.abs_diff(theirs) == 1 {
                        "; one of them has the class \"background\" and the other has not"
                    } else {
                        ""
                    };
                    return Err(not_a_pair(format!(
                        "the first has {ours} classes, the second {theirs}{background}"
                    )));
                }
                let contract = with_normalization_of(contract, int8.preprocessor().contract());
                Some(network.with_preprocessor(Preprocessor::new(contract, recipe.clone())?))
            }
        };
        let classes = int8.classes();
        let metadata = [Some(&int8_file), float_file.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|file| file.model.graph().metadata().labels.clone())
            .map(Labels::new)
            .find(|labels| labels.len() == classes);
        let names = match &options.class_names {
            Some(names) => {
                names.check(classes)?;
                names.clone()
            }
            None => metadata.unwrap_or_else(|| Labels::indices(classes)),
        };
        Ok(Comparison { int8_file, float_file, options, names, int8, dequantized, float })
    }

    /// Number of classes of both models: what labels must fit.
    pub fn classes(&self) -> usize {
        self.int8.classes()
    }

    /// What the INT8 model is compared with.
    fn reference(&self) -> &Network {
        self.float.as_ref().unwrap_or(&self.dequantized)
    }

    /// Runs all parts and reports. `row` is given each image's figures as they come, in the order of the images.
    ///
    /// Images are worked on in the caller's rayon pool; the figures do not depend on its size.
    ///
    /// # Errors
    ///
    /// When no image can be read, a model gives values that are not finite, or `row` fails. Single images that cannot be read are
    /// counted and listed.
    pub fn run(
        &self,
        set: &ImageSet,
        observer: &dyn Observer,
        row: &mut dyn FnMut(&ImageRow) -> Result<(), mobileight_compare::Error>,
    ) -> Result<Report, Error> {
        let truth = match &set.labels_file {
            Some(_) => Truth::Labels,
            None => Truth::FirstNetwork,
        };
        let mut sums = self.evaluate(set, truth, observer, row)?;
        let matching = self.matching()?;
        let layers = self.layers(set, matching.as_ref(), observer)?;
        let preprocessing = self.preprocessing(set, truth, observer)?;
        let sensitivity = self.sensitivity(set, matching.as_ref(), observer)?;
        sums.images.interrupted = observer.stop();

        let seed = self.options.seed;
        let overall = sums.overall.finish(seed);
        let mut report = Report {
            schema_version: SCHEMA_VERSION,
            provenance: Provenance {
                version: env!("CARGO_PKG_VERSION").into(),
                numerics: self.options.plan.numerics.name().into(),
                instruction_set: self
                    .int8
                    .pipeline()
                    .plan()
                    .map_or("none", |plan| plan.instruction_set().name())
                    .into(),
                threads: rayon::current_num_threads(),
                seed,
                recipe: self.int8.preprocessor().to_string(),
                reference_recipe: self.reference().preprocessor().to_string(),
                images: set.folder.display().to_string(),
                images_sha256: hex(&sums.hash.finalize()),
                labels: set.labels_file.as_ref().map(|path| path.display().to_string()),
            },
            int8: describe(&self.int8_file, &self.int8)?,
            reference: describe(
                self.float_file.as_ref().unwrap_or(&self.int8_file),
                self.reference(),
            )?,
            images: sums.images,
            gate: self.options.max_drop.map(|limit| gate(&overall.top1, limit)),
            overall,
            split: self.float.as_ref().map(|_| Split {
                weights: sums.weights.finish(seed),
                activations: sums.activations.finish(seed),
            }),
            layers,
            sensitivity,
            preprocessing,
            advice: Vec::new(),
            worst: sums.worst.into_sorted().into_iter().map(|(_, image)| image).collect(),
        };
        if let Some(photo) = set.files.iter().find_map(|file| self.read(file).ok()) {
            report.int8.latency_ms = median_latency(&self.int8, &photo.pixels);
            report.reference.latency_ms = median_latency(self.reference(), &photo.pixels);
        }
        for image in &mut report.worst {
            let path = set.folder.join(&image.file);
            image.thumbnail = thumbnail(&path, &self.options.plan.limits);
        }
        report.advice = advise(&report);
        Ok(report)
    }
}

/// The contract of a float input that tells nothing about its range, with what the INT8 sibling's input tells.
fn with_normalization_of(mut contract: InputContract, sibling: &InputContract) -> InputContract {
    if contract.metadata.is_none() && contract.quantized_as.is_none() {
        let told = sibling.clone().in_real_values();
        contract.metadata = told.metadata;
        contract.quantized_as = told.quantized_as;
    }
    contract
}
