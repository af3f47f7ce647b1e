//! Normalization rules and codes.

mod common;

use common::{contract, full, pixels};
use mobileight_preprocess::{
    ChannelOrder, Error, Normalization, NormalizationChoice, NormalizationSource, Preprocessor,
    Recipe, RgbView, image,
};
use mobileight_runtime::{Data, ElementType, Tensor};

/// Codes of all 256 grey values.
fn codes(
    element_type: ElementType,
    quantization: Option<(f32, i32)>,
    metadata: Option<Normalization>,
    choice: &str,
) -> (Tensor, Preprocessor) {
    let contract = contract([1, 1, 256, 3], element_type, quantization, metadata).unwrap();
    let recipe = Recipe { normalization: choice.parse().unwrap(), ..full("nearest") };
    let preprocessor = Preprocessor::new(contract, recipe).unwrap();
    let grey = image::GrayImage::from_fn(256, 1, |x, _| image::Luma([x as u8]));
    (preprocessor.prepare(&grey.into()).unwrap(), preprocessor)
}

#[test]
fn published_contracts_take_pixels_unchanged() {
    use ElementType::{I8, U8};
    let cases = [
        (U8, 1.0 / 128.0, 128, "-1..1"),
        (U8, 0.007_874_016, 128, "-1..1"),
        (U8, 0.007_843_138, 127, "-1..1"),
        (I8, 0.007_843_138, -1, "-1..1"),
        (I8, 1.0 / 128.0, -1, "-1..1"),
        (I8, 0.003_921_569, -128, "0..1"),
        (I8, 1.0, -128, "raw"),
    ];
    for (element_type, scale, zero_point, name) in cases {
        let (tensor, made) = codes(element_type, Some((scale, zero_point)), None, "auto");
        let expected: Data = match element_type {
            U8 => (0..=255u8).flat_map(|p| [p; 3]).collect::<Vec<u8>>().into(),
            _ => (-128..=127i8).flat_map(|p| [p; 3]).collect::<Vec<i8>>().into(),
        };
        assert_eq!(tensor.data, expected, "{made}");
        assert_eq!(made.normalization_source(), NormalizationSource::ScaleAndZeroPoint);
        assert_eq!(NormalizationChoice::from(made.normalization().clone()).to_string(), name);
    }
}

#[test]
fn other_contracts_are_quantized_and_saturate() {
    let (tensor, made) = codes(ElementType::U8, Some((0.011_570_743, 123)), None, "auto");
    let Data::U8(values) = tensor.data else { panic!("{made}") };
    // round(±1 / scale) = ±86, around 123.
    assert_eq!((values[0], values[255 * 3]), (37, 209));
    assert_eq!(made.normalization_source(), NormalizationSource::Assumed);
    // Given values are followed to the letter, and clamped, never wrapped.
    let (tensor, _) = codes(ElementType::I8, Some((1.0 / 128.0, 0)), None, "mean=0;std=100");
    let Data::I8(values) = tensor.data else { panic!() };
    assert_eq!((values[0], values[50 * 3], values[255 * 3]), (0, 64, 127));
    assert!(values.is_sorted());
}

#[test]
fn metadata_wins_over_scale_and_zero_point() {
    let metadata =
        Normalization { mean: vec![100.0, 110.0, 120.0], standard_deviation: vec![50.0] };
    let (tensor, made) = codes(ElementType::F32, None, Some(metadata.clone()), "auto");
    assert_eq!(tensor.data, Data::F32(tensor_values(&metadata)));
    assert_eq!(made.normalization_source(), NormalizationSource::Metadata);
    let (_, made) = codes(ElementType::I8, Some((1.0, -128)), Some(metadata), "auto");
    assert_eq!(made.normalization_source(), NormalizationSource::Metadata);
    assert!(!made.pixels_are_codes());
}

fn tensor_values(normalization: &Normalization) -> Vec<f32> {
    let value = |p: usize, c: usize| {
        (p as f32 - normalization.mean[c]) / normalization.standard_deviation[0]
    };
    (0..256).flat_map(|p| [value(p, 0), value(p, 1), value(p, 2)]).collect()
}

#[test]
fn grey_inputs_get_luma_and_bgr_is_reversed() {
    let red =
        image::DynamicImage::from(image::RgbImage::from_pixel(9, 9, image::Rgb([255, 0, 10])));
    let grey = pixels(2, 2, 1, Recipe::default()).prepare(&red).unwrap();
    assert_eq!(grey, Tensor::new(vec![1, 2, 2, 1], vec![77u8; 4]));
    let bgr = Recipe { channel_order: ChannelOrder::Bgr, ..Recipe::default() };
    let batch = pixels(1, 1, 3, bgr).prepare_batch([&red, &red]).unwrap();
    assert_eq!(batch, Tensor::new(vec![2, 1, 1, 3], vec![10u8, 0, 255, 10, 0, 255]));
}

#[test]
fn inputs_that_are_no_images_are_refused_by_name() {
    let quantization = Some((1.0, 0));
    for shape in [[1, 8, 8, 2], [1, 8, 8, 4], [1, 0, 8, 3], [1, 1 << 20, 1 << 20, 3]] {
        let error = contract(shape, ElementType::U8, quantization, None).unwrap_err();
        assert!(matches!(&error, Error::NotAnImage { name, .. } if name == "photo"), "{error}");
    }
    let error = contract([1, 8, 8, 3], ElementType::U8, None, None).unwrap_err();
    assert!(matches!(error, Error::NotQuantized { .. }), "{error}");
    let error = contract([1, 8, 8, 3], ElementType::I32, None, None).unwrap_err();
    assert!(matches!(error, Error::ElementType { .. }), "{error}");
    let sound = contract([1, 8, 8, 3], ElementType::U8, quantization, None).unwrap();
    assert_eq!(sound.clone().with_shape(&[1, 16, 4, 3]).unwrap().shape, [1, 16, 4, 3]);
    assert!(sound.clone().with_shape(&[1, 16, 4, 1]).is_err());
    let none = image::DynamicImage::new_rgb8(0, 5);
    let error = Preprocessor::new(sound, Recipe::default()).unwrap().prepare(&none).unwrap_err();
    assert!(matches!(error, Error::NoPixels { width: 0, height: 5 }), "{error}");
}

#[test]
fn frames_of_a_camera_are_prepared_as_images_are() {
    let (width, height) = (31, 20);
    let frame: Vec<u8> = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
    let image = image::RgbImage::from_vec(width, height, frame.clone()).unwrap();
    for channels in [1, 3] {
        let preprocessor = common::pixels(8, 6, channels, Recipe::default());
        let view = RgbView::new(&frame, width, height).unwrap();
        let prepared = preprocessor.prepare(&image.clone().into()).unwrap();
        assert_eq!(preprocessor.prepare_rgb(view), prepared);
    }
    let error = RgbView::new(&frame[1..], width, height).unwrap_err();
    assert!(matches!(error, Error::Pixels { expected: 1860, found: 1859, .. }), "{error}");
    let error = RgbView::new(&[], 0, height).unwrap_err();
    assert!(matches!(error, Error::NoPixels { width: 0, .. }), "{error}");
    assert!(RgbView::new(&[], u32::MAX, u32::MAX).is_err());
}
