//! The grammar of the format: numbers, texts, lists, optional things, records and choices, each written and read in one place.

use super::aligned;
use crate::{ConstantData, Exceeded, Limit, Limits, ModelBytes};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What is written: the structure, and the constants that follow it.
#[derive(Default)]
pub(super) struct Output {
    pub structure: Vec<u8>,
    /// From a multiple of 16 on.
    pub constants: Vec<u8>,
}

impl Output {
    /// Adds the elements of a constant.
    pub fn constant(&mut self, data: &[u8]) {
        self.constants.resize(aligned(self.constants.len()), 0);
        self.constants.extend(data);
    }
}

/// What is read, with the positions reached.
pub(super) struct Input<'a> {
    bytes: &'a ModelBytes,
    limits: &'a Limits,
    at: usize,
    /// Where the structure ends.
    end: usize,
    /// Where the last constant ended.
    constants: usize,
}

/// Why the bytes are refused, and where.
pub(super) struct Refusal {
    pub at: usize,
    /// The way to the field: `operators[3].kind.padding`.
    pub place: String,
    pub reason: String,
    /// Where it is merely more than allowed.
    pub exceeded: Option<Exceeded>,
}

impl Refusal {
    pub fn new(at: usize, reason: impl Into<String>) -> Self {
        Refusal { at, place: String::new(), reason: reason.into(), exceeded: None }
    }

    /// The same, within a field or an element of that name.
    pub fn within(mut self, name: &str) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("{name}{dot}{}", self.place);
        self
    }

    /// A code that means nothing.
    pub fn code(at: usize, found: u8, known: &[(u8, &str)]) -> Self {
        let known: Vec<String> =
            known.iter().map(|(code, name)| format!("{code} ({name})")).collect();
        Refusal::new(at, format!("found {found}, expected {}", known.join(", ")))
    }
}

impl<'a> Input<'a> {
    /// Reads a structure of a length from a position on.
    pub fn new(
        bytes: &'a ModelBytes,
        limits: &'a Limits,
        at: usize,
        length: u64,
    ) -> Result<Self, Refusal> {
        let left = bytes.len() - at;
        match usize::try_from(length).ok().filter(|&length| length <= left) {
            Some(length) => {
                Ok(Input { bytes, limits, at, end: at + length, constants: at + length })
            }
            None => Err(Refusal::new(
                at,
                format!("the structure has {length} bytes, but only {left} follow"),
            )
            .within("header")),
        }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    fn left(&self) -> usize {
        self.end - self.at
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        if length > self.left() {
            let reason =
                format!("takes {length} bytes, but the structure ends after {}", self.left());
            return Err(Refusal::new(self.at, reason));
        }
        let start = self.at;
        self.at += length;
        Ok(&self.bytes[start..self.at])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The number of elements or bytes of a list, when they can be there.
    fn count(&mut self, least: usize) -> Result<usize, Refusal> {
        let at = self.at;
        let count = u64::from_le_bytes(self.array()?);
        match usize::try_from(count).ok().filter(|&count| count <= self.left() / least) {
            Some(count) => Ok(count),
            None => Err(Refusal::new(
                at,
                format!("has {count} elements, more than the {} bytes left can hold", self.left()),
            )),
        }
    }

    /// The next constant.
    pub fn constant(&mut self, length: usize) -> Result<ConstantData, Refusal> {
        let start = aligned(self.constants);
        let data = start
            .checked_add(length)
            .and_then(|end| ConstantData::new(self.bytes.clone(), start..end))
            .ok_or_else(|| {
                let all = self.bytes.len();
                let reason = format!("has {length} bytes from {start} on, the file has {all}");
                Refusal::new(self.at, reason)
            })?;
        self.check_zeros(self.constants..start)?;
        self.constants = start + length;
        Ok(data)
    }

    /// Everything must have been read.
    pub fn finish(&self) -> Result<(), Refusal> {
        let rest = |at: usize, end: usize, what: &str| match end - at {
            0 => Ok(()),
            rest => Err(Refusal::new(at, format!("{rest} bytes are left over")).within(what)),
        };
        rest(self.at, self.end, "structure")?;
        rest(self.constants, self.bytes.len(), "constants")
    }

    fn check_zeros(&self, gap: core::ops::Range<usize>) -> Result<(), Refusal> {
        match self.bytes[gap.clone()].iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(at) => {
                Err(Refusal::new(gap.start + at, "the bytes before a constant are not zero"))
            }
        }
    }
}

/// What the format can say, in both directions.
pub(super) trait Field: Sized {
    /// Bytes that it takes in the structure at least; never zero, so that no list is longer than the file.
    const LEAST: usize;

    /// What bounds a list of it.
    const LIMIT: Option<Limit> = None;

    fn write(&self, out: &mut Output);

    fn read(input: &mut Input<'_>) -> Result<Self, Refusal>;
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Field for $type {
            const LEAST: usize = size_of::<$type>();

            fn write(&self, out: &mut Output) {
                out.structure.extend(self.to_le_bytes());
            }

            fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
                Ok(<$type>::from_le_bytes(input.array()?))
            }
        })*
    };
}

numbers!(u8, i32, f32);

/// Sizes, counts and indices.
impl Field for usize {
    const LEAST: usize = 8;

    fn write(&self, out: &mut Output) {
        out.structure.extend((*self as u64).to_le_bytes());
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
        let at = input.at;
        let value = u64::from_le_bytes(input.array()?);
        usize::try_from(value)
            .map_err(|_| Refusal::new(at, format!("{value} is too large for this machine")))
    }
}

impl Field for bool {
    const LEAST: usize = 1;

    fn write(&self, out: &mut Output) {
        out.structure.push((*self).into());
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
        let at = input.at;
        match u8::read(input)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(Refusal::code(at, found, &[(0, "no"), (1, "yes")])),
        }
    }
}

impl Field for String {
    const LEAST: usize = 8;

    fn write(&self, out: &mut Output) {
        self.len().write(out);
        out.structure.extend(self.as_bytes());
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
        let length = input.count(1)?;
        let at = input.at;
        let text = str::from_utf8(input.take(length)?);
        text.map(Into::into)
            .map_err(|error| Refusal::new(at + error.valid_up_to(), "is not text in UTF-8"))
    }
}

impl<T: Field> Field for Option<T> {
    const LEAST: usize = 1;

    fn write(&self, out: &mut Output) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
        Ok(if bool::read(input)? { Some(T::read(input)?) } else { None })
    }
}

impl<T: Field> Field for Vec<T> {
    const LEAST: usize = 8;

    fn write(&self, out: &mut Output) {
        self.len().write(out);
        self.iter().for_each(|element| element.write(out));
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
        let at = input.at;
        let count = input.count(T::LEAST)?;
        if let Some(Err(exceeded)) = T::LIMIT.map(|limit| input.limits.check(limit, count as u64)) {
            return Err(Refusal { exceeded: Some(exceeded), ..Refusal::new(at, "") });
        }
        let mut list = Vec::with_capacity(count);
        for index in 0..count {
            list.push(T::read(input).map_err(|error| error.within(&format!("[{index}]")))?);
        }
        Ok(list)
    }
}

impl<T: Field> Field for [T; 2] {
    const LEAST: usize = 2 * T::LEAST;

    fn write(&self, out: &mut Output) {
        self.iter().for_each(|element| element.write(out));
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
        Ok([T::read(input)?, T::read(input)?])
    }
}

/// A structure: its fields, one after another.
macro_rules! record {
    ($type:ident { $($field:ident),* } $(, limit $limit:expr)?) => {
        impl Field for $type {
            const LEAST: usize = [$(stringify!($field)),*].len();
            $(const LIMIT: Option<Limit> = Some($limit);)?

            fn write(&self, out: &mut Output) {
                $(self.$field.write(out);)*
            }

            fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
                Ok($type {
                    $($field: Field::read(input).map_err(|error| error.within(stringify!($field)))?,)*
                })
            }
        }
    };
}

/// An enumeration: a byte that says which, then the fields of that one.
macro_rules! choice {
    ($type:ident { $($code:literal => $variant:ident { $($field:tt: $name:ident),* }),* $(,)? }) => {
        impl Field for $type {
            const LEAST: usize = 1;

            fn write(&self, out: &mut Output) {
                match self {
                    $($type::$variant { $($field: $name),* } => {
                        out.structure.push($code);
                        $($name.write(out);)*
                    })*
                }
            }

            fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
                let at = input.position();
                Ok(match u8::read(input)? {
                    $($code => $type::$variant {
                        $($field: Field::read(input).map_err(|error| error.within(stringify!($name)))?,)*
                    },)*
                    found => {
                        return Err(Refusal::code(at, found, &[$(($code, stringify!($variant))),*]));
                    }
                })
            }
        }
    };
}

pub(super) use {choice, record};
