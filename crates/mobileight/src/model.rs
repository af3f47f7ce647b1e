//! A model file, opened.

use std::path::Path;
use std::sync::Arc;

use mobileight_preprocess::InputContract;
use mobileight_runtime::{Graph, Plan, PlanOptions, Session};

use crate::Error;

/// A model: its graph, from which plans for any input size and numerics are made.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Arc<Graph>,
}

impl Model {
    /// Opens a `.tflite` file.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] says what is wrong with the file, down to the operator and tensor.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Model { graph: Arc::new(mobileight_tflite::read_file(path.as_ref())?) })
    }

    /// Reads the bytes of a `.tflite` file.
    ///
    /// # Errors
    ///
    /// As [`open`](Model::open).
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        Ok(Model { graph: Arc::new(mobileight_tflite::read(bytes)?) })
    }

    /// A model of a graph that was made or changed in the program.
    pub fn from_graph(graph: Graph) -> Self {
        Model { graph: Arc::new(graph) }
    }

    /// The graph: tensors, operators, quantization.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// What the model takes: shape, element type, scale, zero point, normalization.
    ///
    /// # Errors
    ///
    /// When the first input is no image of one or three channels.
    pub fn input_contract(&self) -> Result<InputContract, Error> {
        Ok(InputContract::from_graph(&self.graph)?)
    }

    /// Packs weights and places activations.
    ///
    /// # Errors
    ///
    /// [`Error::Run`]: a float model, shapes that do not fit, something unsupported, or too much memory.
    pub fn plan(&self, options: PlanOptions) -> Result<Arc<Plan>, Error> {
        Ok(Arc::new(Plan::new(Arc::clone(&self.graph), options)?))
    }

    /// A session of a plan of its own, with default options.
    ///
    /// # Errors
    ///
    /// As [`plan`](Model::plan).
    pub fn session(&self) -> Result<Session, Error> {
        Ok(Session::new(self.plan(PlanOptions::default())?))
    }
}
