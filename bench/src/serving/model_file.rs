//! A file that a shop would sell: Stockroom looks into what it is given, so noise will not do.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::Outcome;
use crate::shop::noise;

/// A file, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct ModelFile {
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
    /// SHA-256 in hex.
    pub(super) digest: String,
}

impl ModelFile {
    /// Writes a binary STL of so many facets, none of which is like another.
    pub(super) fn write(folder: &Path, facets: u32) -> Outcome<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{facets}.stl"));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let mut hasher = Sha256::new();
        let mut head = vec![0; 80];
        head.extend_from_slice(&facets.to_le_bytes());
        file.write_all(&head)?;
        hasher.update(&head);
        let mut size_bytes = head.len() as u64;
        // The same noise for all of them, moved by the number of the facet, costs less than noise for each.
        let corners: Vec<f32> = noise(u64::from(facets), 24)
            .iter()
            .map(|&it| it.into())
            .collect();
        for facet in 0..facets {
            let mut bytes = Vec::with_capacity(50);
            for number in &corners[..12] {
                bytes.extend_from_slice(&(number + facet as f32).to_le_bytes());
            }
            bytes.extend_from_slice(&[0, 0]);
            file.write_all(&bytes)?;
            hasher.update(&bytes);
            size_bytes += bytes.len() as u64;
        }
        file.flush()?;
        Ok(Self {
            path,
            size_bytes,
            digest: hex::encode(hasher.finalize()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_as_long_as_its_facets_and_its_digest_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = ModelFile::write(folder.path(), 399).unwrap();
        let bytes = fs::read(&file.path).unwrap();
        assert_eq!((bytes.len() as u64, file.size_bytes), (20_034, 20_034));
        assert_eq!(bytes[80..84], 399_u32.to_le_bytes());
        assert_eq!(file.digest, hex::encode(Sha256::digest(&bytes)));
        assert_ne!(bytes[84..134], bytes[134..184]);
    }
}
