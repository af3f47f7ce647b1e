//! Images made to do harm: small files that claim or unpack to much, and proportions that no photo has.

mod common;

use std::io::Cursor;

use common::{METHODS, full, pixels};
use mobileight_preprocess::image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use mobileight_preprocess::{Error, Limit, Limits, decode};

/// A megapixel.
fn limits() -> Limits {
    Limits::default().with(Limit::ImagePixels, 1 << 20)
}

/// Decodes under a limit of a megapixel: 16 MiB for the decoder, which a growing list may exceed three times.
#[track_caller]
fn bounded(bytes: &[u8]) -> Result<DynamicImage, Error> {
    let mut result = None;
    let used = allocation_counter::measure(|| result = Some(decode(bytes, &limits())));
    assert!(used.bytes_max < 64 << 20, "{} bytes", used.bytes_max);
    result.unwrap()
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let checked = [&kind[..], data].concat();
    let checksum = crc32fast::hash(&checked).to_be_bytes();
    [&(data.len() as u32).to_be_bytes()[..], &checked, &checksum].concat()
}

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

fn png_header(width: u32, height: u32) -> Vec<u8> {
    let sizes = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&sizes[..], &[8, 2, 0, 0, 0]].concat())
}

/// The packed pixels of a black image: what a stream of zeros packs to.
fn packed_zeros(side: u32) -> Vec<u8> {
    let png = encoded(&GrayImage::new(side, side).into(), ImageFormat::Png);
    let at = png.windows(4).position(|window| window == b"IDAT").unwrap();
    let length = u32::from_be_bytes(*png[at - 4..].first_chunk().unwrap()) as usize;
    png[at + 4..][..length].to_vec()
}

#[test]
fn images_that_claim_too_much_are_refused() {
    let png = |width, height| {
        [SIGNATURE, &png_header(width, height), &chunk(b"IDAT", &packed_zeros(8))].concat()
    };
    let gif = |width: u16, height: u16| {
        let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
        // One colour table of two entries, one frame as large as the screen, and no more.
        [b"GIF89a", &size[..], &[0x80, 0, 0, 0, 0, 0, 255, 255, 255, 0x2c, 0, 0, 0, 0], &size]
            .concat()
    };
    let webp = |width: u32, height: u32| {
        let mut bytes = encoded(&DynamicImage::new_rgb8(3, 2), ImageFormat::WebP);
        let at = bytes.windows(4).position(|window| window == b"VP8L").unwrap() + 9;
        let sizes = (width - 1) | (height - 1) << 14;
        let others = u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) & 0xf000_0000;
        bytes[at..at + 4].copy_from_slice(&(sizes | others).to_le_bytes());
        bytes
    };
    let bmp = |width: i32, height: i32| {
        let mut bytes = encoded(&DynamicImage::new_rgb8(3, 2), ImageFormat::Bmp);
        bytes[18..22].copy_from_slice(&width.to_le_bytes());
        bytes[22..26].copy_from_slice(&height.to_le_bytes());
        bytes
    };
    let cases = [
        png(1 << 20, 2),
        png(20_000, 20_000),
        png(i32::MAX as u32, i32::MAX as u32),
        gif(u16::MAX, u16::MAX),
        webp(1 << 14, 1 << 14),
        bmp(i32::MAX, 1),
        bmp(65_535, 65_535),
        bmp(65_535, -65_535),
    ];
    for (case, bytes) in cases.iter().enumerate() {
        let error = bounded(bytes).expect_err("too many pixels");
        let is_bounded =
            matches!(&error, Error::Limit(e) if e.limit == Limit::ImagePixels && e.found > 1 << 20);
        // Some decoders have bounds of their own below ours.
        assert!(is_bounded || matches!(error, Error::Decode { .. }), "{case}: {error}");
    }
    // Within the limit, but there is nothing behind the header.
    for bytes in [png(1024, 1024), gif(1024, 1024), webp(1024, 1024), bmp(1024, 1024)] {
        assert!(matches!(bounded(&bytes), Err(Error::Decode { .. })));
    }
}

#[test]
fn what_unpacks_to_much_beside_the_pixels_is_not_unpacked() {
    let bomb = packed_zeros(10_000);
    // 100 MB unpacked.
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let text = [b"Comment\0\0", &bomb[..]].concat();
    let international = [b"Comment\0\x01\0\0\0", &bomb[..]].concat();
    let profile = [b"ICC\0\0", &bomb[..]].concat();
    let pixels = encoded(&DynamicImage::new_rgb8(8, 8), ImageFormat::Png);
    let (header, rest) = pixels.split_at(SIGNATURE.len() + 25);
    for extra in [chunk(b"zTXt", &text), chunk(b"iTXt", &international), chunk(b"iCCP", &profile)] {
        // An image, or an error: the bound on the memory is what counts.
        let _ = bounded(&[header, &extra, rest].concat());
        let many: Vec<u8> = std::iter::repeat_n(extra, 5).flatten().collect();
        let _ = bounded(&[header, &many, rest].concat());
    }
    // Far more pixels than the header says.
    let more = [SIGNATURE, &png_header(8, 8), &chunk(b"IDAT", &bomb), &chunk(b"IEND", &[])];
    let _ = bounded(&more.concat());
}

/// A frame of a GIF beyond its screen.
#[test]
fn frames_beyond_the_screen_are_bounded() {
    let descriptor = [0x2c, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0];
    let screen = [8, 0, 8, 0, 0x80, 0, 0, 0, 0, 0, 255, 255, 255];
    let data = [2, 2, 0x4c, 0x01, 0, 0x3b];
    let _ = bounded(&[b"GIF89a", &screen[..], &descriptor, &data].concat());
}

#[test]
fn images_of_any_proportions_are_resized_in_bounded_memory() {
    const LONG: u32 = 400_000;
    for (width, height) in [(1, 65_535), (65_535, 1), (1, LONG), (LONG, 1)] {
        let value = |x, y| image_value(x + y);
        let image = DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, value));
        for method in METHODS {
            let preprocessor = pixels(224, 224, 3, full(method));
            let mut resized = Vec::new();
            let used = allocation_counter::measure(|| {
                resized = preprocessor.resized(&image).unwrap();
            });
            assert_eq!(resized.len(), 224 * 224 * 3);
            // Two weights of four bytes for each pixel, which a growing list holds twice, and buffers.
            let most = 24 * u64::from(width * height) + (4 << 20);
            assert!(used.bytes_max < most, "{method} {width}x{height}: {}", used.bytes_max);
            // Along the short side nothing changes.
            let same = match width {
                1 => resized.chunks_exact(224 * 3).all(|row| row[..3] == row[223 * 3..]),
                _ => resized[..224 * 3] == resized[223 * 224 * 3..],
            };
            assert!(same, "{method} {width}x{height}");
        }
    }
}

fn image_value(at: u32) -> mobileight_preprocess::image::Rgb<u8> {
    mobileight_preprocess::image::Rgb([at as u8, (at >> 8) as u8, (at >> 14) as u8])
}

/// Long rows and columns are worked on in parts; the pixels are those of the plain definition.
#[test]
fn long_images_equal_the_definition() {
    const LONG: usize = 50_000;
    const SHORT: usize = 7;
    let preprocessor = pixels(SHORT, 1, 3, full("antialias"));
    let image = RgbImage::from_fn(LONG as u32, 1, |x, _| image_value(x * 7919));
    let row = preprocessor.resized(&image.clone().into()).unwrap();
    let column = pixels(1, SHORT, 3, full("antialias"))
        .resized(&DynamicImage::ImageRgb8(image.clone()).rotate90())
        .unwrap();
    assert_eq!(row, column);
    let scale = LONG as f64 / SHORT as f64;
    for (at, pixel) in row.chunks_exact(3).enumerate() {
        let center = (at as f64 + 0.5) * scale;
        for (c, &found) in pixel.iter().enumerate() {
            let weighted = image.pixels().enumerate().map(|(x, pixel)| {
                let weight = (1.0 - ((x as f64 + 0.5 - center) / scale).abs()).max(0.0);
                (weight, weight * f64::from(pixel[c]))
            });
            let (weights, sum) =
                weighted.fold((0.0, 0.0), |(a, b), (weight, value)| (a + weight, b + value));
            // Weights have 22 fractional bits and are rounded one by one.
            let expected = sum / weights;
            assert!((f64::from(found) - expected).abs() < 1.0, "{found} {expected}");
        }
    }
}
