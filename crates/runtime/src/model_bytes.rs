//! The bytes of a model file, wherever they are.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

/// The bytes of a model file, shared: a buffer that was read, or a part of the program itself (`include_bytes!`). Copies are cheap,
/// and constants of a [`Graph`](crate::Graph) stay where they are in it.
///
/// ```
/// use mobileight_runtime::ModelBytes;
/// static EMBEDDED: &[u8; 3] = &[1, 2, 3];
/// assert_eq!(*ModelBytes::from(EMBEDDED), *ModelBytes::from(vec![1, 2, 3]));
/// ```
#[derive(Clone)]
pub struct ModelBytes(Place);

#[derive(Clone)]
enum Place {
    Shared(Arc<Vec<u8>>),
    Static(&'static [u8]),
}

impl Deref for ModelBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Shared(bytes) => bytes,
            Place::Static(bytes) => bytes,
        }
    }
}

impl From<Arc<Vec<u8>>> for ModelBytes {
    fn from(bytes: Arc<Vec<u8>>) -> Self {
        ModelBytes(Place::Shared(bytes))
    }
}

impl From<Vec<u8>> for ModelBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Arc::new(bytes).into()
    }
}

impl From<&'static [u8]> for ModelBytes {
    fn from(bytes: &'static [u8]) -> Self {
        ModelBytes(Place::Static(bytes))
    }
}

/// What `include_bytes!` gives.
impl<const N: usize> From<&'static [u8; N]> for ModelBytes {
    fn from(bytes: &'static [u8; N]) -> Self {
        bytes[..].into()
    }
}

impl fmt::Debug for ModelBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
