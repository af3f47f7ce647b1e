//! From an image to the network's outputs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use image::DynamicImage;
use mobileight_preprocess::{InputContract, Preprocessor, Recipe};
#[cfg(feature = "tract")]
use mobileight_reference::{Reference, ReferenceOptions};
use mobileight_runtime::{Numerics, Plan, PlanOptions, Session, Tensor, TensorId};

use crate::{Error, Model, real_values};

/// A model with all that turns an image into its input: for networks without classes, such as headless ones that give an
/// embedding. Share it between threads: all methods that run take `&self`.
#[derive(Debug)]
pub struct Pipeline {
    model: Model,
    engine: Engine,
    options: PlanOptions,
    preprocessor: Preprocessor,
}

/// What computes: our INT8 kernels, or the FP32 reference for float models and where it is asked for.
#[derive(Debug)]
enum Engine {
    Int8 {
        plan: Arc<Plan>,
        idle: Mutex<Vec<Session>>,
    },
    #[cfg(feature = "tract")]
    Fp32(Box<Reference>),
}

impl Engine {
    fn new(model: &Model, options: &PlanOptions, fp32: bool) -> Result<Self, Error> {
        if fp32 || model.graph().is_float() {
            return Engine::fp32(model, options);
        }
        Ok(Engine::Int8 { plan: model.plan(options.clone())?, idle: Mutex::default() })
    }

    #[cfg(feature = "tract")]
    fn fp32(model: &Model, options: &PlanOptions) -> Result<Self, Error> {
        let options = ReferenceOptions::default()
            .input_shapes(options.input_shapes.clone())
            .limits(options.limits);
        let reference = Reference::new(Arc::clone(model.graph()), options)?;
        Ok(Engine::Fp32(Box::new(reference)))
    }

    #[cfg(not(feature = "tract"))]
    fn fp32(_: &Model, _: &PlanOptions) -> Result<Self, Error> {
        Err(mobileight_runtime::Error::FloatModel.into())
    }

    fn shape(&self, id: TensorId) -> Option<&[usize]> {
        match self {
            Engine::Int8 { plan, .. } => plan.shape(id),
            #[cfg(feature = "tract")]
            Engine::Fp32(reference) => reference.shape(id),
        }
    }
}

impl Pipeline {
    /// Opens a `.tflite` or `.mb8` file.
    ///
    /// # Errors
    ///
    /// When the file is no network from one image that this crate can run.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Pipeline::new(Model::open(path)?)
    }

    /// A pipeline of an opened model, with the default recipe and the model's [`plan_options`](Model::plan_options): quantized models
    /// on the INT8 kernels, float models on the FP32 reference (feature `tract`).
    ///
    /// # Errors
    ///
    /// As [`open`](Pipeline::open).
    pub fn new(model: Model) -> Result<Self, Error> {
        let options = model.plan_options();
        Pipeline::build(model, options, Recipe::default(), false)
    }

    fn build(
        model: Model,
        options: PlanOptions,
        recipe: Recipe,
        fp32: bool,
    ) -> Result<Self, Error> {
        let engine = Engine::new(&model, &options, fp32)?;
        let input = model.graph().inputs()[0];
        let shape = engine.shape(input).unwrap_or_default();
        let mut contract = model.input_contract()?.with_shape(shape)?;
        if !matches!(engine, Engine::Int8 { .. }) {
            contract = contract.in_real_values();
        }
        let preprocessor = Preprocessor::new(contract, recipe)?;
        Ok(Pipeline { model, engine, options, preprocessor })
    }

    /// Computes in FP32 instead: a quantized model's own weights and biases, dequantized, with activations that are not rounded.
    ///
    /// # Errors
    ///
    /// When the graph cannot be computed so.
    #[cfg(feature = "tract")]
    pub fn fp32(self) -> Result<Self, Error> {
        let recipe = self.preprocessor.recipe().clone();
        Pipeline::build(self.model, self.options, recipe, true)
    }

    /// Chooses the arithmetic of quantized models.
    ///
    /// # Errors
    ///
    /// When the graph cannot be planned again.
    pub fn numerics(self, numerics: Numerics) -> Result<Self, Error> {
        let options = self.options.clone().numerics(numerics);
        self.plan_options(options)
    }

    /// Plans again with other options: numerics, input size, limits. One image is run at a time, so the batch must be one.
    ///
    /// # Errors
    ///
    /// When the graph cannot be planned so.
    pub fn plan_options(self, options: PlanOptions) -> Result<Self, Error> {
        let recipe = self.preprocessor.recipe().clone();
        let fp32 = self.is_fp32();
        Pipeline::build(self.model, options, recipe, fp32)
    }

    /// Chooses how an image becomes the input: crop, resize, normalization.
    ///
    /// # Errors
    ///
    /// When the recipe does not fit the model's input.
    pub fn recipe(self, recipe: Recipe) -> Result<Self, Error> {
        let contract = self.preprocessor.contract().clone();
        Ok(self.with_preprocessor(Preprocessor::new(contract, recipe)?))
    }

    /// Replaces the contract and the recipe at once, for an input that is to be read otherwise than the file tells.
    pub(crate) fn with_preprocessor(mut self, preprocessor: Preprocessor) -> Self {
        self.preprocessor = preprocessor;
        self
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The plan that is run; `None` when the FP32 reference computes.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        match &self.engine {
            Engine::Int8 { plan, .. } => Some(plan),
            #[cfg(feature = "tract")]
            Engine::Fp32(_) => None,
        }
    }

    /// Whether the FP32 reference computes.
    pub fn is_fp32(&self) -> bool {
        self.plan().is_none()
    }

    /// The shape of a tensor at this input size.
    pub fn shape(&self, id: TensorId) -> Option<&[usize]> {
        self.engine.shape(id)
    }

    /// What turns an image into the input.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// What the model takes.
    pub fn input_contract(&self) -> &InputContract {
        self.preprocessor.contract()
    }

    /// All outputs as the network gives them, in their own element types (real values when the FP32 reference computes).
    ///
    /// # Errors
    ///
    /// When the image cannot be prepared.
    pub fn run(&self, image: &DynamicImage) -> Result<Vec<Tensor>, Error> {
        self.run_tensor(&self.preprocessor.prepare(image)?)
    }

    /// All outputs for a prepared input.
    ///
    /// # Errors
    ///
    /// When the tensor is not of the input's element type and shape.
    pub fn run_tensor(&self, input: &Tensor) -> Result<Vec<Tensor>, Error> {
        match &self.engine {
            Engine::Int8 { plan, idle } => {
                let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut session = taken.unwrap_or_else(|| Session::new(Arc::clone(plan)));
                let outputs = session.run(&[input.view()])?.to_vec();
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
                Ok(outputs)
            }
            #[cfg(feature = "tract")]
            Engine::Fp32(reference) => Ok(reference.run(&[input.view()])?),
        }
    }

    /// The first output as real values, in row-major order: an embedding, or scores.
    ///
    /// # Errors
    ///
    /// When the image cannot be prepared.
    pub fn embedding(&self, image: &DynamicImage) -> Result<Vec<f32>, Error> {
        self.values(&self.preprocessor.prepare(image)?)
    }

    /// The first output for a prepared input, as [`embedding`](Pipeline::embedding) gives it.
    ///
    /// # Errors
    ///
    /// As [`run_tensor`](Pipeline::run_tensor).
    pub fn values(&self, input: &Tensor) -> Result<Vec<f32>, Error> {
        let outputs = self.run_tensor(input)?;
        let graph = self.model.graph();
        Ok(real_values(&outputs[0], graph.tensors()[graph.outputs()[0]].quantization.as_ref()))
    }
}
