//! What untrusted files may cost.

use core::fmt;

/// What the bytes of strangers may cost: one number for each [`Limit`]. Whatever reads, plans or decodes asks these and refuses with
/// [`Exceeded`].
///
/// ```
/// use mobileight_runtime::{Limit, Limits};
/// let limits = Limits::default().with(Limit::ImagePixels, 500_000_000);
/// assert!(limits.check(Limit::ImagePixels, 400_000_000).is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits([u64; Limit::ALL.len()]);

macro_rules! limits {
    ($($(#[$doc:meta])* $limit:ident, $name:literal, $default:expr, $what:literal;)*) => {
        /// One of the [`Limits`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Limit {
            $($(#[$doc])* $limit,)*
        }

        impl Limit {
            /// All of them.
            pub const ALL: &[Limit] = &[$(Limit::$limit),*];

            /// The name on the command line and in messages: `image_pixels`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Limit::$limit => $name,)*
                }
            }

            /// What is counted, in words.
            pub fn what(self) -> &'static str {
                match self {
                    $(Limit::$limit => $what,)*
                }
            }
        }

        impl Default for Limits {
            fn default() -> Self {
                Limits([$($default),*])
            }
        }
    };
}

limits! {
    /// Bytes of a model file, `.tflite` or `.mb8`; 256 MiB. The largest MobileNet takes 21 MB.
    ModelBytes, "model_bytes", 256 << 20, "bytes of a model file";
    /// Tensors of a graph; 65,536.
    Tensors, "tensors", 1 << 16, "tensors in a graph";
    /// Operators of a graph, and entries of its lists of inputs and outputs; 16,384. Planning takes time with their square, real
    /// networks have hundreds.
    Operators, "operators", 1 << 14, "operators, inputs or outputs in a graph";
    /// Bytes of a plan and a session of it: activations, outputs, packed weights, working memory; 1 GiB.
    MemoryBytes, "memory_bytes", 1 << 30, "bytes of memory for activations and packed weights";
    /// Multiply-adds of one run, where each element that an operator reads or writes counts as 16; 100 billion, which is a minute or two
    /// where it is slowest. A MobileNet takes less than 2 billion an image.
    MultiplyAdds, "multiply_adds", 100_000_000_000, "multiply-adds in a run";
    /// Bytes of an image file; 256 MiB.
    ImageBytes, "image_bytes", 256 << 20, "bytes of an image file";
    /// Pixels of an image, width times height; 100 million. Checked before any is decoded.
    ImagePixels, "image_pixels", 100_000_000, "pixels in an image";
    /// Bytes of a file of labels, unpacked where it is in a model; 4 MiB.
    LabelBytes, "label_bytes", 4 << 20, "bytes of labels";
}

impl Limits {
    /// The same limits but for one.
    pub fn with(mut self, limit: Limit, most: u64) -> Self {
        self.0[limit as usize] = most;
        self
    }

    /// The most that is allowed.
    pub fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }

    /// Refuses more than is allowed.
    ///
    /// # Errors
    ///
    /// [`Exceeded`], with all that there is to say.
    pub fn check(&self, limit: Limit, found: u64) -> Result<(), Exceeded> {
        match self.get(limit) {
            most if found > most => Err(Exceeded { limit, found, most }),
            _ => Ok(()),
        }
    }
}

/// Something is larger than one of the [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found} {}, over the limit of {most}; if that is right and can be trusted, raise the limit `{limit}` (`Limits::with`, or `--max {limit}={found}`)",
    limit.what()
)]
pub struct Exceeded {
    /// Which limit.
    pub limit: Limit,
    /// What was found, or the first figure that was too much.
    pub found: u64,
    /// The most that is allowed.
    pub most: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::str::FromStr for Limit {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Limit::ALL.iter().find(|limit| limit.name() == name);
        found.copied().ok_or("there is no such limit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_kept_by_itself() {
        for &limit in Limit::ALL {
            let limits = Limits::default().with(limit, 7);
            assert_eq!(limit.name().parse(), Ok(limit));
            assert_eq!(limits.check(limit, 7), Ok(()));
            let error = limits.check(limit, 8).unwrap_err();
            assert_eq!(error, Exceeded { limit, found: 8, most: 7 });
            let words = error.to_string();
            for part in [limit.name(), limit.what(), "limit of 7", "--max"] {
                assert!(words.contains(part), "{words}");
            }
            let others = Limit::ALL.iter().filter(|&&other| other != limit);
            others.for_each(|&other| assert_eq!(limits.get(other), Limits::default().get(other)));
        }
        assert!("pixels".parse::<Limit>().is_err());
    }
}
