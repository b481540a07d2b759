//! Secrets at rest: AES-256-GCM with a key that is kept outside the database.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use anyhow::{Context, anyhow, bail};
use rand::RngCore;
use std::fmt;

const NONCE_BYTES: usize = 12;
/// First byte of everything sealed, so that a later form can be told apart.
const FORM: u8 = 1;

/// Seals and opens secrets. `Debug` shows nothing of the key.
#[derive(Clone)]
pub struct Sealer(Aes256Gcm);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// `key`: 32 random bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)))
    }

    /// Form byte, random nonce, ciphertext with tag. `context` (e.g. `provider:7`) is bound to it: the same must be given to open it.
    ///
    /// # Errors
    /// Only when the cipher itself refuses (a text of more than 64 GiB).
    pub fn seal(&self, secret: &[u8], context: &str) -> anyhow::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: secret, aad: context.as_bytes() };
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload).map_err(|_| anyhow!("sealing a secret failed"))?;
        Ok([&[FORM][..], &nonce, &sealed].concat())
    }

    /// The inverse of [`Sealer::seal`].
    ///
    /// # Errors
    /// Sealed with another key or for another context, or damaged.
    pub fn open(&self, sealed: &[u8], context: &str) -> anyhow::Result<Vec<u8>> {
        let (form, rest) = sealed.split_first().context("the sealed secret is empty")?;
        if *form != FORM || rest.len() < NONCE_BYTES {
            bail!("the sealed secret has an unknown form");
        }
        let (nonce, text) = rest.split_at(NONCE_BYTES);
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().context("the sealed secret has no nonce")?;
        self.0
            .decrypt(&Nonce::from(nonce), Payload { msg: text, aad: context.as_bytes() })
            .map_err(|_| anyhow!("a stored secret cannot be opened: the key file is not the one it was sealed with (see secrets.key_file)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_with_its_key_and_context() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal(b"hunter2", "provider:1").unwrap();
        assert_eq!(sealer.open(&sealed, "provider:1").unwrap(), b"hunter2");
        assert!(sealer.open(&sealed, "provider:2").is_err());
        assert!(Sealer::new(&[8; 32]).open(&sealed, "provider:1").is_err());
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
    }
}
