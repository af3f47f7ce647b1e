//! Tensors as NumPy's `.npy` files.

use std::path::Path;

use anyhow::{Context, Result, bail};
use mobileight::{Data, ElementType, Limit, Limits, Tensor};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a tensor of any element type that a model can take, and that could fit in the memory of a plan.
pub fn read(path: &Path, limits: &Limits) -> Result<Tensor> {
    let bytes = mobileight_files::read(path, Limit::MemoryBytes, limits, ".npy");
    let bytes = bytes.map_err(|error| match error {
        mobileight_files::Error::TooLarge(exceeded) => anyhow::Error::from(exceeded),
        error => error.into(),
    });
    let bytes = bytes.with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("cannot read {}", path.display()))
}

/// The tensor of a file's bytes.
pub fn parse(bytes: &[u8]) -> Result<Tensor> {
    let rest = bytes.strip_prefix(MAGIC).context("it is no .npy file")?;
    let parts = match rest {
        [1, _, a, b, rest @ ..] => rest.split_at_checked(u16::from_le_bytes([*a, *b]).into()),
        [2 | 3, _, a, b, c, d, rest @ ..] => {
            rest.split_at_checked(u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        }
        [_, _, _, _, ..] => bail!("its version is {}, 1 to 3 are read", rest[0]),
        _ => None,
    };
    let (header, data) = parts.context("it ends within its header")?;
    let header = str::from_utf8(header).context("its header is no text")?;
    let (kind, is_fortran, shape) =
        describe(header).with_context(|| format!("its header is `{}`", header.trim()))?;
    let element_type = match kind.trim_start_matches(['|', '<', '>', '=']) {
        "u1" => ElementType::U8,
        "i1" => ElementType::I8,
        "i4" => ElementType::I32,
        "i8" => ElementType::I64,
        "f4" => ElementType::F32,
        _ => bail!("its element type is `{kind}`, none of uint8, int8, int32, int64 and float32"),
    };
    let size = element_type.size();
    let expected = shape.iter().try_fold(size, |bytes, &length| bytes.checked_mul(length));
    if expected != Some(data.len()) {
        bail!("its shape is {shape:?} of {element_type}, but {} bytes follow", data.len());
    }
    let mut elements = data.to_vec();
    if is_fortran {
        to_row_major(&shape, size, data, &mut elements);
    }
    if kind.starts_with('>') {
        elements.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    let data = Data::from_le_bytes(element_type, &elements).context("of no element type")?;
    Ok(Tensor { shape, data })
}

/// What the header's dictionary says: element type, whether the first index runs fastest, shape.
fn describe(header: &str) -> Option<(&str, bool, Vec<usize>)> {
    let value =
        |key: &str| Some(header.split_once(key)?.1.trim_start().strip_prefix(':')?.trim_start());
    let kind = value("'descr'")?.strip_prefix('\'')?.split_once('\'')?.0;
    let order = value("'fortran_order'")?;
    let is_fortran = order.starts_with("True");
    let lengths = value("'shape'")?.strip_prefix('(')?.split_once(')')?.0.split(',');
    let lengths = lengths.map(str::trim).filter(|length| !length.is_empty());
    let shape = lengths.map(|length| length.parse().ok()).collect::<Option<_>>()?;
    (is_fortran || order.starts_with("False")).then_some((kind, is_fortran, shape))
}

/// Elements whose first index runs fastest, in the order in which the last one does.
fn to_row_major(shape: &[usize], size: usize, data: &[u8], out: &mut [u8]) {
    let mut index = vec![0; shape.len()];
    for element in out.chunks_exact_mut(size) {
        let at = index.iter().zip(shape).rev().fold(0, |at, (&index, &length)| at * length + index);
        element.copy_from_slice(&data[at * size..][..size]);
        for (index, &length) in index.iter_mut().zip(shape).rev() {
            *index += 1;
            if *index < length {
                break;
            }
            *index = 0;
        }
    }
}

/// Writes a tensor as `numpy.save` does, to the byte, so that files can be compared as they are.
pub fn write(path: &Path, tensor: &Tensor) -> Result<()> {
    let attempt = || -> Result<()> {
        let (kind, bytes) = encode(&tensor.data)?;
        Ok(mobileight_files::write(path, &[header(kind, &tensor.shape), bytes].concat())?)
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

/// NumPy's name of the element type, and the elements in little endian.
fn encode(data: &Data) -> Result<(&'static str, Vec<u8>)> {
    Ok(match data {
        Data::U8(values) => ("|u1", values.clone()),
        Data::I8(values) => ("|i1", values.iter().map(|value| *value as u8).collect()),
        Data::I32(values) => ("<i4", values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        Data::I64(values) => ("<i8", values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        Data::F32(values) => ("<f4", values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        _ => bail!("this element type has no .npy form here"),
    })
}

/// Magic, version 1.0, length, and the dictionary padded with spaces: NumPy leaves room for the first dimension to grow to 21
/// digits, then aligns the data to 64 bytes.
fn header(kind: &str, shape: &[usize]) -> Vec<u8> {
    const VERSION: &[u8] = &[1, 0];
    let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let lengths_text = format!("({}{comma})", lengths.join(", "));
    let mut text =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {lengths_text}, }}");
    if let Some(first) = lengths.first() {
        text.push_str(&" ".repeat(21usize.saturating_sub(first.len())));
    }
    let before = MAGIC.len() + VERSION.len() + size_of::<u16>() + text.len() + 1;
    text.push_str(&" ".repeat(64 - before % 64));
    text.push('\n');
    [MAGIC, VERSION, &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_numpys() {
        let header = header("|u1", &[1, 112, 112, 32]);
        assert_eq!(header.len(), 128);
        assert_eq!(header[..10], *b"\x93NUMPY\x01\x00\x76\x00");
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 112, 112, 32), }";
        assert!(header[10..].starts_with(text.as_bytes()) && header.ends_with(b" \n"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let path = std::env::temp_dir().join(format!("mobileight-npy-{}.npy", std::process::id()));
        let tensors = [
            Tensor::new(vec![2, 1], vec![0u8, 255]),
            Tensor::new(vec![2], vec![-128i8, 127]),
            Tensor::new(vec![], vec![i32::MIN]),
            Tensor::new(vec![1, 1, 2], vec![i64::MAX, -1]),
            Tensor::new(vec![3], vec![0.5f32, -1e30, 3.0]),
        ];
        for tensor in tensors {
            write(&path, &tensor).unwrap();
            assert_eq!(read(&path, &Limits::default()).unwrap(), tensor);
        }
        std::fs::remove_file(&path).unwrap();
    }

    /// What a library that is not ours writes, in every order of elements.
    #[test]
    fn arrays_of_any_layout_are_read() {
        let array =
            ndarray::Array3::from_shape_fn([2, 3, 4], |(a, b, c)| (100 * a + 10 * b + c) as i32);
        let expected = Tensor::new(vec![2, 3, 4], array.iter().copied().collect::<Vec<_>>());
        let columns = ndarray::Array3::from_shape_fn([4, 3, 2], |(c, b, a)| array[[a, b, c]]);
        for array in [array, columns.reversed_axes()] {
            let mut bytes = Vec::new();
            ndarray_npy::WriteNpyExt::write_npy(&array, &mut bytes).unwrap();
            assert_eq!(parse(&bytes).unwrap(), expected);
        }
    }

    #[test]
    fn big_endian_and_later_versions_are_read() {
        let header = "{'shape': (2,), 'descr': '>i4', 'fortran_order': False}\n";
        let length = (header.len() as u32).to_le_bytes();
        let data = [0, 0, 1, 2, 0xff, 0xff, 0xff, 0xfe];
        let bytes = [MAGIC, &[2, 0], &length, header.as_bytes(), &data].concat();
        assert_eq!(parse(&bytes).unwrap(), Tensor::new(vec![2], vec![258, -2]));
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let good = |text: &str, data: &[u8]| {
            let length = (text.len() as u16).to_le_bytes();
            parse(&[MAGIC, &[1, 0], &length, text.as_bytes(), data].concat())
        };
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }";
        assert!(good(text, &[1, 2]).is_ok());
        for (text, data, words) in [
            (text, &[1u8][..], "1 bytes follow"),
            (text, &[1, 2, 3], "3 bytes follow"),
            (&text.replace("2", "99999999999999999999"), &[1, 2], "its header is"),
            (&text.replace("(1, 2)", "(4294967296, 4294967296)"), &[1, 2], "bytes follow"),
            (&text.replace("|u1", "<f8"), &[1, 2], "float32"),
            (&text.replace("False", "Maybe"), &[1, 2], "its header is"),
            (&text.replace("descr", "kind"), &[1, 2], "its header is"),
        ] {
            let error = format!("{:#}", good(text, data).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
        for bytes in
            [&b""[..], b"PK", MAGIC, b"\x93NUMPY\x01\x00\xff", b"\x93NUMPY\x01\x00\xff\xff{}"]
        {
            assert!(parse(bytes).is_err());
        }
        let error = parse(b"\x93NUMPY\x07\x00\x00\x00").unwrap_err().to_string();
        assert!(error.contains("version is 7"), "{error}");
    }
}
