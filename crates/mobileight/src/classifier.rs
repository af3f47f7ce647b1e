//! From an image to names and scores.

use std::path::Path;

use image::DynamicImage;
use mobileight_preprocess::{Recipe, decode_file};
use mobileight_runtime::{ElementType, ModelBytes, Numerics, PlanOptions};
use rayon::prelude::*;

use crate::{Error, Labels, Model, Pipeline};

/// One class and how much the model believes in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The class.
    pub index: usize,
    /// Its name.
    pub label: String,
    /// The model's output as a real value: a probability where the network ends in SOFTMAX, else what it gives (a logit).
    pub score: f32,
}

/// Classifies images: quantized models on the INT8 kernels, float models on the FP32 reference (feature `tract`). Share it between threads: all methods that run take `&self`.
#[derive(Debug)]
pub struct Classifier {
    pipeline: Pipeline,
    labels: Labels,
    top_k: usize,
    threshold: f32,
    allowed: Option<Vec<bool>>,
}

impl Classifier {
    /// Opens a `.tflite` or `.mb8` file. Labels come from its metadata where it has them, else they are the class indices.
    ///
    /// # Errors
    ///
    /// When the file is no network from one image to scores that this crate can run.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Classifier::new(Model::open(path)?)
    }

    /// Reads the bytes of a model file; see [`Model::from_bytes`].
    ///
    /// # Errors
    ///
    /// As [`open`](Classifier::open).
    pub fn from_bytes(bytes: impl Into<ModelBytes>) -> Result<Self, Error> {
        Classifier::new(Model::from_bytes(bytes)?)
    }

    /// A classifier of an opened model, with the default recipe and the model's [`plan_options`](Model::plan_options).
    ///
    /// # Errors
    ///
    /// As [`open`](Classifier::open).
    pub fn new(model: Model) -> Result<Self, Error> {
        let own = model.graph().metadata().labels.clone().map(Labels::new);
        let pipeline = Pipeline::new(model)?;
        let classes = class_count(&pipeline)?;
        let labels = own.filter(|l| l.len() == classes).unwrap_or_else(|| Labels::indices(classes));
        Ok(Classifier { pipeline, labels, top_k: 5, threshold: f32::NEG_INFINITY, allowed: None })
    }

    /// Names the classes.
    ///
    /// # Errors
    ///
    /// [`Error::LabelCount`] when there are not as many as classes.
    pub fn labels(mut self, labels: Labels) -> Result<Self, Error> {
        labels.check(self.classes())?;
        self.labels = labels;
        Ok(self)
    }

    /// Computes in FP32 instead; see [`Pipeline::fp32`].
    ///
    /// # Errors
    ///
    /// When the graph cannot be computed so.
    #[cfg(feature = "tract")]
    pub fn fp32(mut self) -> Result<Self, Error> {
        self.pipeline = self.pipeline.fp32()?;
        Ok(self)
    }

    /// Chooses the arithmetic of quantized models.
    ///
    /// # Errors
    ///
    /// When the graph cannot be planned again.
    pub fn numerics(mut self, numerics: Numerics) -> Result<Self, Error> {
        self.pipeline = self.pipeline.numerics(numerics)?;
        Ok(self)
    }

    /// Plans again with other options: numerics, input size, limits. One image is run at a time, so the batch must be one.
    ///
    /// # Errors
    ///
    /// When the graph cannot be planned so.
    pub fn plan_options(mut self, options: PlanOptions) -> Result<Self, Error> {
        self.pipeline = self.pipeline.plan_options(options)?;
        class_count(&self.pipeline)?;
        Ok(self)
    }

    /// Chooses how an image becomes the input: crop, resize, normalization.
    ///
    /// # Errors
    ///
    /// When the recipe does not fit the model's input.
    pub fn recipe(mut self, recipe: Recipe) -> Result<Self, Error> {
        self.pipeline = self.pipeline.recipe(recipe)?;
        Ok(self)
    }

    /// How many predictions to give at most; 5 unless told.
    pub fn top_k(mut self, count: usize) -> Self {
        self.top_k = count;
        self
    }

    /// Leaves out predictions that score below.
    pub fn score_threshold(mut self, score: f32) -> Self {
        self.threshold = score;
        self
    }

    /// Gives only these classes, by label or index.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchClass`] names the first that does not exist.
    pub fn allow<S: AsRef<str>>(mut self, classes: &[S]) -> Result<Self, Error> {
        let mut allowed = vec![false; self.classes()];
        for class in classes {
            allowed[self.find_class(class.as_ref())?] = true;
        }
        self.allowed = Some(allowed);
        Ok(self)
    }

    /// Never gives these classes, by label or index.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchClass`] names the first that does not exist.
    pub fn deny<S: AsRef<str>>(mut self, classes: &[S]) -> Result<Self, Error> {
        let mut allowed = self.allowed.take().unwrap_or_else(|| vec![true; self.classes()]);
        for class in classes {
            allowed[self.find_class(class.as_ref())?] = false;
        }
        self.allowed = Some(allowed);
        Ok(self)
    }

    /// The model, its plan and its preprocessing; runs give raw outputs and embeddings.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Names of the classes.
    pub fn names(&self) -> &Labels {
        &self.labels
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.labels.len()
    }

    /// The best classes of an image, best first; of equal scores the lower index first.
    ///
    /// # Errors
    ///
    /// When the image cannot be prepared.
    pub fn classify(&self, image: &DynamicImage) -> Result<Vec<Prediction>, Error> {
        Ok(self.rank(&self.pipeline.embedding(image)?))
    }

    /// The best classes of an image file, decoded within the model's [limits](Model::limits).
    ///
    /// # Errors
    ///
    /// When the image cannot be read, is over a limit, or cannot be prepared.
    pub fn classify_file(&self, path: impl AsRef<Path>) -> Result<Vec<Prediction>, Error> {
        self.classify(&decode_file(path, self.pipeline.model().limits())?)
    }

    /// Classifies many images in parallel, in the caller's rayon pool; one result for each, in order.
    pub fn classify_batch(&self, images: &[DynamicImage]) -> Vec<Result<Vec<Prediction>, Error>> {
        images.par_iter().map(|image| self.classify(image)).collect()
    }

    fn find_class(&self, class: &str) -> Result<usize, Error> {
        let index = class.parse().ok().filter(|&index| index < self.classes());
        self.labels.find(class).or(index).ok_or_else(|| Error::NoSuchClass(class.into()))
    }

    fn rank(&self, scores: &[f32]) -> Vec<Prediction> {
        let allowed = |index: usize| self.allowed.as_ref().is_none_or(|allowed| allowed[index]);
        let mut order: Vec<usize> = (0..scores.len())
            .filter(|&index| allowed(index) && scores[index] >= self.threshold)
            .collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        order.truncate(self.top_k);
        let name = |index| self.labels.get(index).unwrap_or_default().to_owned();
        order
            .into_iter()
            .map(|index| Prediction { index, label: name(index), score: scores[index] })
            .collect()
    }
}

/// The number of classes, when the first output is one row of scores.
pub(crate) fn class_count(pipeline: &Pipeline) -> Result<usize, Error> {
    let graph = pipeline.model().graph();
    let id = graph.outputs()[0];
    let tensor = &graph.tensors()[id];
    let shape = pipeline.shape(id).unwrap_or_default();
    let is_score = tensor.element_type.is_8_bit() || tensor.element_type == ElementType::F32;
    match shape.split_last() {
        Some((&classes, leading)) if is_score && leading.iter().all(|&length| length == 1) => {
            Ok(classes)
        }
        _ => Err(Error::NotAClassifier {
            name: tensor.name.clone(),
            shape: shape.to_vec(),
            element_type: tensor.element_type,
        }),
    }
}
