//! Operators: codes, options and operands.

use mobileight_runtime::{
    Activation, Conv2d, DepthwiseConv2d, GraphTensor, Missing, Operator, OperatorKind, Padding,
    Pool2d, TensorId,
};
use tract_tflite::tflite::{
    self, ActivationFunctionType, BuiltinOperator, BuiltinOptions,
    FullyConnectedOptionsWeightsFormat,
};

use crate::Error;
use crate::constants::{axes, axis, integer, integers, padding_value};
use crate::error::{Refusal, invalid, unsupported};
use crate::model::{Source, UnsupportedTensor};

type Tensors = [Result<GraphTensor, UnsupportedTensor>];

/// Reads all operators; what is not supported is collected over all of them.
pub(crate) fn read(source: &Source<'_>, tensors: &Tensors) -> Result<Vec<Operator>, Error> {
    let codes = source.operator_codes();
    let mut operators = Vec::new();
    let mut missing = Vec::new();
    for (index, table) in source.operators().enumerate() {
        let operands = [table.inputs(), table.outputs()];
        let words: usize = operands.iter().flatten().map(|ids| ids.len()).sum();
        source.spend(size_of::<Operator>() + 16 * words)?;
        let Some(code) = codes.get(table.opcode_index() as usize) else {
            return Err(Error::Operator {
                index,
                operator: "of unknown kind".into(),
                reason: format!(
                    "its code is entry {} of a table of {}",
                    table.opcode_index(),
                    codes.len()
                ),
            });
        };
        let builtin = builtin(code);
        let operator = match Application::new(table, source, tensors) {
            Ok(application) => application.read(builtin),
            Err(refusal) => Err(refusal),
        };
        match operator {
            Ok(operator) => operators.push(operator),
            Err(Refusal::Unsupported(reason)) => {
                let operator = name(code, builtin);
                source.spend(size_of::<Missing>() + operator.len() + reason.len())?;
                missing.push(Missing { operator_index: index, operator, reason });
            }
            Err(Refusal::Invalid(reason)) => {
                return Err(Error::Operator { index, operator: name(code, builtin), reason });
            }
        }
    }
    if missing.is_empty() { Ok(operators) } else { Err(Error::Unsupported(missing)) }
}

/// The operator's number. Files older than the 32-bit field have it in the 8-bit one, newer ones in both where it fits.
fn builtin(code: &tflite::OperatorCode<'_>) -> BuiltinOperator {
    BuiltinOperator(code.builtin_code().0.max(code.deprecated_builtin_code().into()))
}

fn name(code: &tflite::OperatorCode<'_>, builtin: BuiltinOperator) -> String {
    match (builtin, code.custom_code()) {
        (BuiltinOperator::CUSTOM, Some(custom)) => custom.into(),
        _ => builtin.variant_name().map_or_else(|| format!("BUILTIN_{}", builtin.0), String::from),
    }
}

/// One operator of the file, its operands in range.
struct Application<'a> {
    table: tflite::Operator<'a>,
    tensors: &'a Tensors,
    inputs: Vec<Option<TensorId>>,
    outputs: Vec<TensorId>,
}

impl<'a> Application<'a> {
    fn new(
        table: tflite::Operator<'a>,
        source: &Source<'_>,
        tensors: &'a Tensors,
    ) -> Result<Self, Refusal> {
        let count = source.tensor_count();
        let find = |what: &str, id: i32| match usize::try_from(id) {
            Ok(id) if id < count => Ok(id),
            _ => invalid(format!("{what} is tensor {id}, but there are {count} tensors")),
        };
        let inputs = table
            .inputs()
            .into_iter()
            .flatten()
            .map(|id| if id == -1 { Ok(None) } else { find("an operand", id).map(Some) })
            .collect::<Result<_, _>>()?;
        let outputs = table
            .outputs()
            .into_iter()
            .flatten()
            .map(|id| find("an output", id))
            .collect::<Result<_, _>>()?;
        Ok(Application { table, tensors, inputs, outputs })
    }

    fn read(&self, builtin: BuiltinOperator) -> Result<Operator, Refusal> {
        let (kind, inputs) = self.kind(builtin)?;
        let [output] = self.outputs[..] else {
            return invalid(format!("has {} outputs, expected one", self.outputs.len()));
        };
        for id in self.inputs.iter().flatten().copied().chain([output]) {
            self.tensor(id)?;
        }
        Ok(Operator { kind, inputs, output })
    }

    /// What is computed, and the operands that are no parameters.
    fn kind(&self, builtin: BuiltinOperator) -> Result<(OperatorKind, Vec<TensorId>), Refusal> {
        let table = &self.table;
        Ok(match builtin {
            BuiltinOperator::CONV_2D => (self.conv2d()?, self.operands(2, 1)?),
            BuiltinOperator::DEPTHWISE_CONV_2D => {
                let operands = self.operands(2, 1)?;
                (self.depthwise_conv2d(&operands)?, operands)
            }
            BuiltinOperator::FULLY_CONNECTED => (self.fully_connected()?, self.operands(2, 1)?),
            BuiltinOperator::ADD => {
                let options = self.optional(table.builtin_options_as_add_options())?;
                let fused = options.map(|o| o.fused_activation_function());
                (OperatorKind::Add(activation(fused)?), self.operands(2, 0)?)
            }
            BuiltinOperator::SUB => {
                let options = self.optional(table.builtin_options_as_sub_options())?;
                let fused = options.map(|o| o.fused_activation_function());
                (OperatorKind::Sub(activation(fused)?), self.operands(2, 0)?)
            }
            BuiltinOperator::MUL => {
                let options = self.optional(table.builtin_options_as_mul_options())?;
                let fused = options.map(|o| o.fused_activation_function());
                (OperatorKind::Mul(activation(fused)?), self.operands(2, 0)?)
            }
            BuiltinOperator::AVERAGE_POOL_2D => {
                (OperatorKind::AveragePool2d(self.pool()?), self.operands(1, 0)?)
            }
            BuiltinOperator::MAX_POOL_2D => {
                (OperatorKind::MaxPool2d(self.pool()?), self.operands(1, 0)?)
            }
            BuiltinOperator::MEAN => self.mean()?,
            BuiltinOperator::PAD => self.pad()?,
            BuiltinOperator::PADV2 => self.pad_v2()?,
            BuiltinOperator::RESHAPE => self.reshape()?,
            BuiltinOperator::SQUEEZE => self.squeeze()?,
            BuiltinOperator::SOFTMAX => {
                let beta = self.required(table.builtin_options_as_softmax_options())?.beta();
                if !beta.is_finite() {
                    return invalid(format!("beta is {beta}, expected a finite number"));
                }
                (OperatorKind::Softmax { beta }, self.operands(1, 0)?)
            }
            BuiltinOperator::LOGISTIC => (OperatorKind::Logistic, self.operands(1, 0)?),
            BuiltinOperator::HARD_SWISH => (OperatorKind::HardSwish, self.operands(1, 0)?),
            BuiltinOperator::RELU => (OperatorKind::Relu, self.operands(1, 0)?),
            BuiltinOperator::RELU6 => (OperatorKind::Relu6, self.operands(1, 0)?),
            BuiltinOperator::LEAKY_RELU => {
                let options = self.required(table.builtin_options_as_leaky_relu_options())?;
                (OperatorKind::LeakyRelu { alpha: options.alpha() }, self.operands(1, 0)?)
            }
            BuiltinOperator::QUANTIZE => (OperatorKind::Quantize, self.operands(1, 0)?),
            BuiltinOperator::DEQUANTIZE => (OperatorKind::Dequantize, self.operands(1, 0)?),
            BuiltinOperator::CONCATENATION => self.concatenation()?,
            BuiltinOperator::RESIZE_BILINEAR => {
                let options = self.optional(table.builtin_options_as_resize_bilinear_options())?;
                let align_corners = options.is_some_and(|o| o.align_corners());
                let half_pixel_centers = options.is_some_and(|o| o.half_pixel_centers());
                if align_corners && half_pixel_centers {
                    return invalid("align_corners and half_pixel_centers exclude each other");
                }
                let (size, inputs) = self.resize()?;
                let kind = OperatorKind::ResizeBilinear { size, align_corners, half_pixel_centers };
                (kind, inputs)
            }
            BuiltinOperator::RESIZE_NEAREST_NEIGHBOR => {
                let options = table.builtin_options_as_resize_nearest_neighbor_options();
                let options = self.optional(options)?;
                let (size, inputs) = self.resize()?;
                let kind = OperatorKind::ResizeNearestNeighbor {
                    size,
                    align_corners: options.is_some_and(|o| o.align_corners()),
                    half_pixel_centers: options.is_some_and(|o| o.half_pixel_centers()),
                };
                (kind, inputs)
            }
            BuiltinOperator::ARG_MAX => {
                let operands = self.operands(2, 0)?;
                let value = integer("the axis", self.tensor(operands[1])?)?;
                let axis = axis(value, self.rank(operands[0])?)?;
                (OperatorKind::ArgMax { axis }, operands[..1].to_vec())
            }
            BuiltinOperator::CUSTOM => {
                return unsupported("custom operators are programs outside of the file");
            }
            _ => return unsupported("this operator is not supported"),
        })
    }

    fn conv2d(&self) -> Result<OperatorKind, Refusal> {
        let options = self.required(self.table.builtin_options_as_conv_2_doptions())?;
        Ok(OperatorKind::Conv2d(Conv2d {
            stride: pair("stride", options.stride_h(), options.stride_w())?,
            dilation: pair("dilation", options.dilation_h_factor(), options.dilation_w_factor())?,
            padding: padding(options.padding())?,
            activation: activation(Some(options.fused_activation_function()))?,
        }))
    }

    fn depthwise_conv2d(&self, operands: &[TensorId]) -> Result<OperatorKind, Refusal> {
        let options = self.required(self.table.builtin_options_as_depthwise_conv_2_doptions())?;
        // TFLite goes by the shapes, and by the option only where they are left open.
        let last = |at: usize| Ok(self.tensor(operands[at])?.shape.last().copied().unwrap_or(0));
        let (channels, outputs): (usize, usize) = (last(0)?, last(1)?);
        let depth_multiplier = match outputs.checked_div(channels) {
            Some(multiplier) if multiplier > 0 && outputs % channels == 0 => multiplier,
            _ => positive("depth_multiplier", options.depth_multiplier())?,
        };
        Ok(OperatorKind::DepthwiseConv2d(DepthwiseConv2d {
            stride: pair("stride", options.stride_h(), options.stride_w())?,
            dilation: pair("dilation", options.dilation_h_factor(), options.dilation_w_factor())?,
            padding: padding(options.padding())?,
            depth_multiplier,
            activation: activation(Some(options.fused_activation_function()))?,
        }))
    }

    fn fully_connected(&self) -> Result<OperatorKind, Refusal> {
        let options = self.optional(self.table.builtin_options_as_fully_connected_options())?;
        if let Some(format) = options.map(|o| o.weights_format())
            && format != FullyConnectedOptionsWeightsFormat::DEFAULT
        {
            return unsupported(format!("the weights are stored as {format:?}"));
        }
        Ok(OperatorKind::FullyConnected {
            activation: activation(options.map(|o| o.fused_activation_function()))?,
            keep_dimensions: options.is_some_and(|o| o.keep_num_dims()),
        })
    }

    fn pool(&self) -> Result<Pool2d, Refusal> {
        let options = self.required(self.table.builtin_options_as_pool_2_doptions())?;
        Ok(Pool2d {
            filter: pair("filter", options.filter_height(), options.filter_width())?,
            stride: pair("stride", options.stride_h(), options.stride_w())?,
            padding: padding(options.padding())?,
            activation: activation(Some(options.fused_activation_function()))?,
        })
    }

    fn mean(&self) -> Result<(OperatorKind, Vec<TensorId>), Refusal> {
        let options = self.optional(self.table.builtin_options_as_reducer_options())?;
        let operands = self.operands(2, 0)?;
        let values = integers("the list of axes", self.tensor(operands[1])?)?;
        let kind = OperatorKind::Mean {
            axes: axes(&values, self.rank(operands[0])?)?,
            keep_dimensions: options.is_some_and(|o| o.keep_dims()),
        };
        Ok((kind, operands[..1].to_vec()))
    }

    fn pad(&self) -> Result<(OperatorKind, Vec<TensorId>), Refusal> {
        let operands = self.operands(2, 0)?;
        let paddings = self.paddings(operands[1])?;
        Ok((OperatorKind::Pad { paddings, value: None }, operands[..1].to_vec()))
    }

    fn pad_v2(&self) -> Result<(OperatorKind, Vec<TensorId>), Refusal> {
        let operands = self.operands(3, 0)?;
        let paddings = self.paddings(operands[1])?;
        let [input, value] = [self.tensor(operands[0])?, self.tensor(operands[2])?];
        if input.element_type != value.element_type {
            return invalid(format!(
                "pads {} elements with a value of {}",
                input.element_type, value.element_type
            ));
        }
        // The kernel copies codes: TFLite refuses a value that means another number.
        if input.quantization != value.quantization {
            return invalid(format!(
                "the padding value has quantization {:?}, the input has {:?}",
                value.quantization, input.quantization
            ));
        }
        let kind = OperatorKind::Pad { paddings, value: padding_value(value)? };
        Ok((kind, operands[..1].to_vec()))
    }

    fn paddings(&self, id: TensorId) -> Result<Vec<[usize; 2]>, Refusal> {
        let tensor = self.tensor(id)?;
        let values = integers("the paddings", tensor)?;
        let [_, 2] = tensor.shape[..] else {
            return invalid(format!(
                "the paddings have shape {:?}, expected [rank, 2]",
                tensor.shape
            ));
        };
        let lengths = values.iter().map(|&value| usize::try_from(value).ok());
        match lengths.collect::<Option<Vec<_>>>() {
            Some(lengths) => Ok(lengths.chunks_exact(2).map(|p| [p[0], p[1]]).collect()),
            None => invalid(format!("the paddings {values:?} are not all zero or more")),
        }
    }

    fn reshape(&self) -> Result<(OperatorKind, Vec<TensorId>), Refusal> {
        let options = self.optional(self.table.builtin_options_as_reshape_options())?;
        let operands = self.operands(1, 1)?;
        let shape = match operands.get(1) {
            Some(&id) => integers("the new shape", self.tensor(id)?)?,
            None => match options.and_then(|o| o.new_shape()) {
                // Old files write a scalar's shape so.
                Some(shape) if shape.len() == 1 && shape.get(0) == 0 => Vec::new(),
                Some(shape) if shape.len() <= 8 => shape.iter().map(i64::from).collect(),
                Some(shape) => {
                    return invalid(format!("the new shape has {} entries", shape.len()));
                }
                None => return invalid("has neither an operand nor an option for the new shape"),
            },
        };
        let lengths = shape.iter().map(|&l| i32::try_from(l).ok().filter(|&l| l >= -1));
        match lengths.collect() {
            Some(shape) => Ok((OperatorKind::Reshape { shape }, operands[..1].to_vec())),
            None => invalid(format!("the new shape is {shape:?}")),
        }
    }

    fn squeeze(&self) -> Result<(OperatorKind, Vec<TensorId>), Refusal> {
        let options = self.optional(self.table.builtin_options_as_squeeze_options())?;
        let operands = self.operands(1, 0)?;
        let dimensions = options.and_then(|o| o.squeeze_dims());
        let values: Vec<i64> = dimensions.into_iter().flatten().take(16).map(i64::from).collect();
        if dimensions.is_some_and(|d| d.len() > values.len()) {
            return invalid("squeezes more dimensions than there can be");
        }
        let axes = axes(&values, self.rank(operands[0])?)?;
        Ok((OperatorKind::Squeeze { axes }, operands))
    }

    fn concatenation(&self) -> Result<(OperatorKind, Vec<TensorId>), Refusal> {
        let options = self.required(self.table.builtin_options_as_concatenation_options())?;
        let operands = self.operands(1, usize::MAX)?;
        if operands.len() != self.inputs.len() {
            return invalid("one of its operands is missing");
        }
        let kind = OperatorKind::Concatenation {
            axis: axis(options.axis().into(), self.rank(operands[0])?)?,
            activation: activation(Some(options.fused_activation_function()))?,
        };
        Ok((kind, operands))
    }

    fn resize(&self) -> Result<([usize; 2], Vec<TensorId>), Refusal> {
        let operands = self.operands(2, 0)?;
        let values = integers("the size", self.tensor(operands[1])?)?;
        let lengths = values.iter().map(|&v| usize::try_from(v).ok().filter(|&v| v > 0));
        match lengths.collect::<Option<Vec<_>>>().as_deref() {
            Some(&[height, width]) => Ok(([height, width], operands[..1].to_vec())),
            _ => invalid(format!("the size is {values:?}, expected a positive height and width")),
        }
    }

    /// The operands: as many as required, and what there is of the optional ones.
    fn operands(&self, required: usize, optional: usize) -> Result<Vec<TensorId>, Refusal> {
        let found = self.inputs.len();
        let most = required.saturating_add(optional);
        if !(required..=most).contains(&found) {
            let expected = match optional {
                0 => required.to_string(),
                usize::MAX => format!("at least {required}"),
                _ => format!("{required} to {most}"),
            };
            return invalid(format!("has {found} operands, expected {expected}"));
        }
        match self.inputs[..required].iter().position(Option::is_none) {
            Some(at) => invalid(format!("operand {at} is missing")),
            None => Ok(self.inputs.iter().flatten().copied().collect()),
        }
    }

    fn tensor(&self, id: TensorId) -> Result<&'a GraphTensor, Refusal> {
        match &self.tensors[id] {
            Ok(tensor) => Ok(tensor),
            Err(tensor) => unsupported(format!("tensor {id} `{}`: {}", tensor.name, tensor.reason)),
        }
    }

    fn rank(&self, id: TensorId) -> Result<usize, Refusal> {
        Ok(self.tensor(id)?.shape.len())
    }

    /// The options of an operator for which none at all mean their defaults.
    fn optional<T>(&self, options: Option<T>) -> Result<Option<T>, Refusal> {
        match (options, self.table.builtin_options_type()) {
            (None, found) if found != BuiltinOptions::NONE => {
                invalid(format!("has the options of another operator, {found:?}"))
            }
            (options, _) => Ok(options),
        }
    }

    /// The options of an operator that cannot do without.
    fn required<T>(&self, options: Option<T>) -> Result<T, Refusal> {
        match self.optional(options)? {
            Some(options) => Ok(options),
            None => invalid("has no options"),
        }
    }
}

fn positive(what: &str, value: i32) -> Result<usize, Refusal> {
    match usize::try_from(value) {
        Ok(value) if value > 0 => Ok(value),
        _ => invalid(format!("{what} is {value}, expected at least one")),
    }
}

fn pair(what: &str, height: i32, width: i32) -> Result<[usize; 2], Refusal> {
    match [positive(what, height), positive(what, width)] {
        [Ok(height), Ok(width)] => Ok([height, width]),
        _ => invalid(format!("{what} is {height} by {width}, expected at least one each")),
    }
}

fn padding(found: tflite::Padding) -> Result<Padding, Refusal> {
    match found {
        tflite::Padding::SAME => Ok(Padding::Same),
        tflite::Padding::VALID => Ok(Padding::Valid),
        tflite::Padding(number) => invalid(format!("padding is {number}, expected SAME or VALID")),
    }
}

fn activation(found: Option<ActivationFunctionType>) -> Result<Activation, Refusal> {
    match found.unwrap_or(ActivationFunctionType::NONE) {
        ActivationFunctionType::NONE => Ok(Activation::None),
        ActivationFunctionType::RELU => Ok(Activation::Relu),
        ActivationFunctionType::RELU_N1_TO_1 => Ok(Activation::ReluN1To1),
        ActivationFunctionType::RELU6 => Ok(Activation::Relu6),
        other => match other.variant_name() {
            Some(name) => unsupported(format!("the fused activation {name}")),
            None => invalid(format!("fused activation {} does not exist", other.0)),
        },
    }
}
