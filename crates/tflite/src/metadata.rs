//! The model's description of itself (TFLite's metadata schema, `metadata_schema.fbs`), as far as it is used here.
//!
//! That schema is not part of tract, and no more than six of its tables are needed: a small reader of flatbuffer tables does.
//! What cannot be read is left out; a damaged description is no reason to refuse a model.

use std::io::{Cursor, Read};

use mobileight_runtime::{Exceeded, Limit, Limits, Metadata, Normalization};
use zip::ZipArchive;

/// Most bytes of a name or description.
const MAXIMUM_TEXT: usize = 1 << 20;
/// Most entries of a list that are looked at.
const MAXIMUM_LIST: usize = 256;
/// Most bytes between the directory of a zip archive and its end.
const ZIP_TAIL: usize = 22 + 0xffff;

/// Fields of the tables, in the order in which the schema declares them.
mod field {
    pub const MODEL_NAME: usize = 0;
    pub const MODEL_DESCRIPTION: usize = 1;
    pub const MODEL_SUBGRAPHS: usize = 3;
    pub const SUBGRAPH_INPUTS: usize = 2;
    pub const SUBGRAPH_OUTPUTS: usize = 3;
    pub const TENSOR_PROCESS_UNITS: usize = 4;
    pub const TENSOR_FILES: usize = 6;
    pub const UNIT_OPTIONS_TYPE: usize = 0;
    pub const UNIT_OPTIONS: usize = 1;
    pub const NORMALIZATION_MEAN: usize = 0;
    pub const NORMALIZATION_DEVIATION: usize = 1;
    pub const FILE_NAME: usize = 0;
    pub const FILE_TYPE: usize = 2;
    pub const FILE_LOCALE: usize = 3;
}

/// The value of a process unit's options type that means normalization.
const NORMALIZATION: u8 = 1;
/// The file types that mean labels: of an axis, of values.
const LABELS: [u8; 2] = [2, 3];

/// Reads a description, and the labels from the archive at the end of the file; refuses more of them than allowed.
pub(crate) fn read(bytes: &[u8], file: &[u8], limits: &Limits) -> Result<Metadata, Exceeded> {
    let Some(model) = Table::root(bytes) else { return Ok(Metadata::default()) };
    let subgraph = model.tables(field::MODEL_SUBGRAPHS).next();
    let first = |list: usize| subgraph.and_then(|s| s.tables(list).next());
    let labels = match first(field::SUBGRAPH_OUTPUTS)
        .and_then(label_file)
        .and_then(|name| unpack(file, &name, limits))
    {
        Some(bytes) => {
            limits.check(Limit::LabelBytes, bytes.len() as u64)?;
            String::from_utf8(bytes).ok().map(|text| Metadata::parse_labels(&text))
        }
        None => None,
    };
    Ok(Metadata {
        name: model.text(field::MODEL_NAME),
        description: model.text(field::MODEL_DESCRIPTION),
        labels: labels.filter(|labels| !labels.is_empty()),
        normalization: first(field::SUBGRAPH_INPUTS).and_then(normalization),
    })
}

fn normalization(tensor: Table<'_>) -> Option<Normalization> {
    let options = tensor
        .tables(field::TENSOR_PROCESS_UNITS)
        .find(|unit| unit.byte(field::UNIT_OPTIONS_TYPE) == Some(NORMALIZATION))?
        .table(field::UNIT_OPTIONS)?;
    let mean = options.floats(field::NORMALIZATION_MEAN)?;
    let standard_deviation = options.floats(field::NORMALIZATION_DEVIATION)?;
    let normalization = Normalization { mean, standard_deviation };
    normalization.check().is_ok().then_some(normalization)
}

/// The file of labels that is for no particular language, else the first.
fn label_file(tensor: Table<'_>) -> Option<String> {
    let is_labels =
        |file: &Table<'_>| file.byte(field::FILE_TYPE).is_some_and(|t| LABELS.contains(&t));
    let mut files: Vec<_> = tensor.tables(field::TENSOR_FILES).filter(is_labels).collect();
    files.sort_by_key(|file| file.text(field::FILE_LOCALE).is_some_and(|l| !l.is_empty()));
    files.first()?.text(field::FILE_NAME)
}

/// The bytes of a file in the zip archive that is appended to the model, at most one more than labels may have.
fn unpack(file: &[u8], name: &str, limits: &Limits) -> Option<Vec<u8>> {
    // Without this, the whole model would be searched for an archive.
    let tail = &file[file.len().saturating_sub(ZIP_TAIL)..];
    tail.windows(4).any(|bytes| bytes == b"PK\x05\x06").then_some(())?;
    let mut archive = ZipArchive::new(Cursor::new(file)).ok()?;
    let mut bytes = Vec::new();
    let unpacked = archive.by_name(name).ok()?;
    let most = limits.get(Limit::LabelBytes).saturating_add(1);
    unpacked.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A table of a flatbuffer, read with every offset checked.
#[derive(Clone, Copy)]
struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Table<'a> {
    fn root(bytes: &'a [u8]) -> Option<Self> {
        Some(Table { bytes, at: follow(bytes, 0)? })
    }

    /// Where a field's value is; `None` for an absent one.
    fn field(&self, index: usize) -> Option<usize> {
        let back = i64::from(i32::from_le_bytes(read_at(self.bytes, self.at)?));
        let vtable = usize::try_from((self.at as i64).checked_sub(back)?).ok()?;
        let length = u16::from_le_bytes(read_at(self.bytes, vtable)?);
        let slot = 4 + 2 * index;
        if slot + 2 > usize::from(length) {
            return None;
        }
        match u16::from_le_bytes(read_at(self.bytes, vtable.checked_add(slot)?)?) {
            0 => None,
            offset => self.at.checked_add(offset.into()),
        }
    }

    fn byte(&self, index: usize) -> Option<u8> {
        self.bytes.get(self.field(index)?).copied()
    }

    fn table(&self, index: usize) -> Option<Table<'a>> {
        Some(Table { bytes: self.bytes, at: follow(self.bytes, self.field(index)?)? })
    }

    /// Where the elements of a vector are, and how many.
    fn vector(&self, index: usize) -> Option<(usize, usize)> {
        let at = follow(self.bytes, self.field(index)?)?;
        let length = u32::from_le_bytes(read_at(self.bytes, at)?);
        Some((at.checked_add(4)?, length.try_into().ok()?))
    }

    fn text(&self, index: usize) -> Option<String> {
        let (start, length) = self.vector(index)?;
        if length > MAXIMUM_TEXT {
            return None;
        }
        let bytes = self.bytes.get(start..start.checked_add(length)?)?;
        std::str::from_utf8(bytes).ok().map(Into::into)
    }

    fn floats(&self, index: usize) -> Option<Vec<f32>> {
        let (start, length) = self.vector(index)?;
        if length > MAXIMUM_LIST {
            return None;
        }
        let element = |i: usize| read_at(self.bytes, start.checked_add(4 * i)?);
        (0..length).map(|i| element(i).map(f32::from_le_bytes)).collect()
    }

    /// The tables of a vector; none when it is absent.
    fn tables(&self, index: usize) -> impl Iterator<Item = Table<'a>> + use<'a> {
        let bytes = self.bytes;
        let (start, length) = self.vector(index).unwrap_or((0, 0));
        (0..length.min(MAXIMUM_LIST)).map_while(move |i| {
            Some(Table { bytes, at: follow(bytes, start.checked_add(4 * i)?)? })
        })
    }
}

/// Where the offset at a position points to.
fn follow(bytes: &[u8], at: usize) -> Option<usize> {
    let offset = u32::from_le_bytes(read_at(bytes, at)?);
    at.checked_add(offset.try_into().ok()?)
}

fn read_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
