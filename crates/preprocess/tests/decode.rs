//! Files that are whole, cut off, hostile or no images.

use std::io::Cursor;

use mobileight_preprocess::image::{self, DynamicImage, ImageFormat};
use mobileight_preprocess::{Error, Exceeded, Limit, Limits, decode, decode_file};

fn drawn(width: u32, height: u32) -> DynamicImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 3) as u8, (y * 5) as u8, (x * y) as u8])
    })
    .into()
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::WebP, ImageFormat::Gif];

#[test]
fn whole_files_are_read_and_truncated_ones_refused() {
    let photo = drawn(64, 48);
    for format in FORMATS {
        let bytes = encoded(&photo, format);
        let read = decode(&bytes, &Limits::default()).unwrap_or_else(|e| panic!("{format:?} {e}"));
        assert_eq!((read.width(), read.height()), (64, 48));
        for part in [3, 10, 30, 50, 80, 95] {
            let cut = &bytes[..bytes.len() * part / 100];
            let read = decode(cut, &Limits::default());
            assert!(read.is_err(), "{format:?}: {part} % of a file gave an image");
        }
    }
}

#[test]
fn lossless_formats_keep_pixels_and_drop_alpha() {
    let photo = drawn(9, 7);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
        let read = decode(&encoded(&photo, format), &Limits::default()).unwrap();
        assert_eq!(read.to_rgb8(), photo.to_rgb8(), "{format:?}");
    }
    let mut transparent = photo.to_rgba8();
    transparent.pixels_mut().for_each(|pixel| pixel.0[3] = 0);
    let read = decode(&encoded(&transparent.into(), ImageFormat::Png), &Limits::default()).unwrap();
    assert_eq!(read.to_rgb8(), photo.to_rgb8());
    for image in [DynamicImage::new_luma8(1, 1), DynamicImage::new_rgb16(1, 1)] {
        assert!(decode(&encoded(&image, ImageFormat::Png), &Limits::default()).is_ok());
    }
}

#[test]
fn exif_orientation_is_applied() {
    let jpeg = encoded(&drawn(64, 48), ImageFormat::Jpeg);
    // An APP1 segment with one entry: tag 0x0112, a short, 6 = turned by a quarter.
    let mut turned = jpeg[..2].to_vec();
    turned.extend([0xff, 0xe1, 0, 34]);
    turned.extend(b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
    turned.extend(&jpeg[2..]);
    let upright = decode(&jpeg, &Limits::default()).unwrap();
    let read = decode(&turned, &Limits::default()).unwrap();
    assert_eq!(read, upright.rotate90());
}

fn exceeded(error: Error) -> (Limit, u64, u64) {
    let Error::Limit(Exceeded { limit, found, most }) = error else { panic!("{error}") };
    assert!(error.to_string().contains(&format!("--max {limit}=")), "{error}");
    (limit, found, most)
}

#[test]
fn huge_images_are_refused_before_pixels_are_decoded() {
    // A BMP header of 30000 x 30000 pixels, and nothing behind it.
    let mut bytes = encoded(&drawn(1, 1), ImageFormat::Bmp);
    for at in [18, 22] {
        bytes[at..at + 4].copy_from_slice(&30_000i32.to_le_bytes());
    }
    let error = decode(&bytes, &Limits::default()).unwrap_err();
    assert_eq!(exceeded(error), (Limit::ImagePixels, 900_000_000, 100_000_000));
    let picture = encoded(&drawn(8, 8), ImageFormat::Png);
    let most = |pixels| Limits::default().with(Limit::ImagePixels, pixels);
    assert!(decode(&picture, &most(64)).is_ok());
    let error = decode(&picture, &most(63)).unwrap_err();
    assert_eq!(exceeded(error), (Limit::ImagePixels, 64, 63));
    let error = decode(&[0; 11], &Limits::default().with(Limit::ImageBytes, 10)).unwrap_err();
    assert_eq!(exceeded(error), (Limit::ImageBytes, 11, 10));
    let path = std::env::temp_dir().join(format!("mobileight-bytes-{}.png", std::process::id()));
    std::fs::write(&path, &picture).unwrap();
    let error = decode_file(&path, &Limits::default().with(Limit::ImageBytes, 10)).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    let Error::File { error, .. } = error else { panic!("{error}") };
    assert_eq!(exceeded(*error).0, Limit::ImageBytes);
}

#[test]
fn errors_name_the_file_and_what_was_found() {
    let error = decode_file("absent.jpg", &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("absent.jpg"), "{error}");
    assert!(matches!(decode(&[], &Limits::default()), Err(Error::Empty)));
    let error = decode(b"%PDF-1.7", &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("25 50 44 46") && error.contains("WebP"), "{error}");
    // A format that the decoder knows but is not built with.
    let error = decode(b"II*\0\x08\0\0\0", &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::UnknownFormat { .. }), "{error}");
}

#[test]
fn damaged_bytes_never_panic() {
    for format in FORMATS {
        let whole = encoded(&drawn(20, 14), format);
        let mut state = 7u32;
        for _ in 0..200 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                let at = (state >> 8) as usize % bytes.len();
                bytes[at] = state as u8;
            }
            let few = Limits::default().with(Limit::ImagePixels, 1 << 20);
            if let Ok(image) = decode(&bytes, &few) {
                assert!(u64::from(image.width()) * u64::from(image.height()) <= 1 << 20);
            }
        }
    }
}

#[test]
fn cmyk_is_near_what_pillow_makes_of_it() {
    // A drawn gradient, and Pillow's `convert("RGB")` of the very file.
    let read = decode(include_bytes!("data/cmyk.jpg"), &Limits::default()).unwrap();
    let expected = include_bytes!("data/cmyk.rgb");
    assert_eq!((read.width(), read.height()), (32, 24));
    let most = read.to_rgb8().iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    println!("CMYK: at most {most} from Pillow");
    assert!(most <= 4, "{most}");
}
