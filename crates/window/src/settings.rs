//! The settings that what is counted depends on, as stored beside it.

use model::varint::{self, VarintError};

use crate::{Config, WindowKind};

/// The settings that counts and lists depend on: kinds, `k` and lateness. The others of [`Config`]
/// say only what is done from now on, so they may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bit per [`WindowKind`].
    kinds: u64,
    k: u64,
    lateness_days: u64,
}

/// Something was made with other settings than those wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} was {stored}, now {wanted}")]
pub struct SettingsError {
    name: &'static str,
    stored: String,
    wanted: String,
}

impl Settings {
    /// Those of `config`.
    pub fn of(config: &Config) -> Self {
        Self {
            kinds: config.kinds.iter().fold(0, |bits, &kind| bits | 1 << kind as u64),
            k: u64::from(config.k),
            lateness_days: u64::from(config.lateness_days),
        }
    }

    /// Appends the form that [`Settings::decode`] reads.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for value in [self.kinds, self.k, self.lateness_days] {
            varint::put(out, value);
        }
    }

    /// Takes what [`Settings::encode`] wrote off the front of `bytes`.
    ///
    /// # Errors
    /// [`VarintError`] if the bytes are not such a form.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, VarintError> {
        let mut take = || varint::take(bytes);
        Ok(Self { kinds: take()?, k: take()?, lateness_days: take()? })
    }

    /// Whether these, as stored, are those `wanted`.
    ///
    /// # Errors
    /// [`SettingsError`] names the first that differs.
    pub fn check(&self, wanted: &Self) -> Result<(), SettingsError> {
        let differ = |name, stored, wanted| Err(SettingsError { name, stored, wanted });
        if self.kinds != wanted.kinds {
            differ("windows", names(self.kinds), names(wanted.kinds))
        } else if self.k != wanted.k {
            differ("length of the lists", self.k.to_string(), wanted.k.to_string())
        } else if self.lateness_days != wanted.lateness_days {
            let (stored, wanted) = (self.lateness_days, wanted.lateness_days);
            differ("allowed lateness in days", stored.to_string(), wanted.to_string())
        } else {
            Ok(())
        }
    }
}

fn names(bits: u64) -> String {
    let kinds = WindowKind::ALL.into_iter().filter(|&kind| bits >> kind as u64 & 1 == 1);
    kinds.map(WindowKind::name).collect::<Vec<_>>().join(",")
}
