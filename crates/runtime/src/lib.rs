//! Quantized graphs, execution plans and sessions.
//!
//! [`Graph`] is plain, validated data. [`Plan`] is built from it once: shapes, packed weights, one arena. [`Session`] owns an
//! arena and runs the plan; its `run` allocates nothing after the first call. [`compiled`] keeps a graph as bytes.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(target_endian = "big")]
compile_error!("model files and arenas are little endian; big-endian machines are not supported");

mod arena;
pub mod compiled;
mod error;
mod graph;
mod layout;
mod limits;
mod lower;
mod model_bytes;
mod operator;
mod plan;
mod session;
mod shapes;
mod slice;
mod tensor;

pub use error::{Error, Missing};
pub use graph::{ConstantData, Graph, GraphTensor, Metadata, Normalization, Quantization};
pub use layout::Layout;
pub use limits::{Exceeded, Limit, Limits};
pub use mobileight_kernels::bytes::AlignedBytes;
#[cfg(not(feature = "std"))]
pub use mobileight_kernels::math;
#[cfg(feature = "std")]
pub use mobileight_kernels::roof;
pub use mobileight_kernels::{InstructionSet, Numerics, Plain};
pub use model_bytes::ModelBytes;
pub use operator::{
    Activation, Conv2d, DepthwiseConv2d, Operator, OperatorKind, Padding, Pool2d, TensorId,
};
pub use plan::{Kernel, Plan, PlanOptions};
pub use session::Session;
pub use tensor::{Data, DataView, ElementType, Tensor, TensorView};
