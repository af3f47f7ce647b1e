//! Decoding of photos, with bounds set before any pixel is.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use mobileight_runtime::{Limit, Limits};

use crate::Error;

/// Decodes a PNG, JPEG, BMP, WebP or GIF file; the format is told by the content. EXIF orientation is applied, of an animation
/// the first frame is taken.
///
/// # Errors
///
/// [`Error::File`], which names the file, around the reason.
pub fn decode_file(path: impl AsRef<Path>, limits: &Limits) -> Result<DynamicImage, Error> {
    let path = path.as_ref();
    let decoded = read_bytes(path, limits).and_then(|bytes| decode(&bytes, limits));
    decoded.map_err(|error| Error::File { path: path.to_owned(), error: Box::new(error) })
}

/// The bytes of a file, for decoding and hashing them.
///
/// # Errors
///
/// When it cannot be read, or has more bytes than the limit.
pub fn read_bytes(path: impl AsRef<Path>, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = limits.get(Limit::ImageBytes).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    limits.check(Limit::ImageBytes, bytes.len() as u64)?;
    Ok(bytes)
}

/// Decodes the bytes of a file, as [`decode_file`].
///
/// # Errors
///
/// Bytes that are empty, of an unknown format, truncated or damaged; more pixels or bytes than the limits.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<DynamicImage, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    limits.check(Limit::ImageBytes, bytes.len() as u64)?;
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let Some(format) = reader.format().filter(ImageFormat::reading_enabled) else {
        let first: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        return Err(Error::UnknownFormat { found: first.join(" ") });
    };
    let failed = |error| Error::Decode { format: format!("{format:?}").to_uppercase(), error };

    // Sixteen bytes a pixel are enough for 16-bit RGBA and a second frame's worth of scratch.
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc =
        Some(limits.get(Limit::ImagePixels).saturating_mul(16).saturating_add(1 << 20));
    reader.limits(bounds);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    limits.check(Limit::ImagePixels, u64::from(width) * u64::from(height))?;
    if format == ImageFormat::Jpeg && !jpeg_ends(bytes) {
        return Err(Error::Truncated { bytes: bytes.len() });
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Whether a JPEG's segments lead to an end-of-image marker after its first scan. The decoder fills what is missing with grey.
fn jpeg_ends(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: u8 = 0xd9;
    let mut at = 2;
    let mut scanned = false;
    loop {
        // Entropy-coded data, padding and damage between segments: on to the next 0xff that begins a marker.
        let Some(skipped) = bytes.get(at..).and_then(|rest| memchr::memchr(0xff, rest)) else {
            return false;
        };
        at += skipped + 1;
        let Some(&marker) = bytes.get(at) else { return false };
        match marker {
            0xff => continue,
            END_OF_IMAGE if scanned => return true,
            // Stuffed zero, restart markers and the markers without a length.
            0x00 | 0x01 | 0xd0..=0xd9 => at += 1,
            _ => {
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else { return false };
                scanned |= marker == START_OF_SCAN;
                at += 1 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
}
