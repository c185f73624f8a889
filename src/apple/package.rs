//! A `.pkpass`: pass, images and translations, their digests, and a signature over those (contract, section 3).

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use openssl::hash::{MessageDigest, hash};
use serde_json::{Map, Value as Json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::sign::Signer;
use super::store::Pass;
use crate::config::meant::apple::AppleWallet;

/// The template's pass, and the package's.
pub const DESIGN: &str = "pass.json";
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "signature";

/// The type under which phones take a package.
pub const MIME: &str = "application/vnd.apple.pkpass";

/// Images that a phone knows, without scale and ending (contract 3).
const IMAGES: [&str; 6] = ["icon", "logo", "strip", "thumbnail", "background", "footer"];
const SCALES: [&str; 3] = ["", "@2x", "@3x"];
/// What a folder of a language holds beside images.
const STRINGS: &str = "pass.strings";

/// Bytes of a file of a template, and of a package that is brought in: larger ones are mistakes.
const FILE_MAX: u64 = 10 << 20;

/// All files of a package but the pass, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Reads a template's images and translations. A file that no phone knows is refused: in a package it would break the signature or do
/// nothing, and somebody meant something by it.
pub fn read_template(folder: &Path) -> Result<Files, String> {
    let mut files = Files::new();
    for (name, path, is_folder) in entries(folder)? {
        match (is_folder, name.as_str()) {
            (false, DESIGN) => {}
            (false, _) if is_image(&name) => drop(files.insert(name, read(&path)?)),
            (true, _) if name.strip_suffix(".lproj").is_some_and(is_language) => {
                for (inner, path, is_folder) in entries(&path)? {
                    if is_folder || !(inner == STRINGS || is_image(&inner)) {
                        return Err(stray(&path));
                    }
                    files.insert(format!("{name}/{inner}"), read(&path)?);
                }
            }
            _ => return Err(stray(&path)),
        }
    }
    if !files.keys().any(|name| name.starts_with("icon")) {
        return Err(format!("{} has no icon.png, icon@2x.png or icon@3x.png: without an icon no pass opens", folder.display()));
    }
    Ok(files)
}

fn stray(path: &Path) -> String {
    let known = IMAGES.map(|name| format!("{name}.png")).join(", ");
    format!(
        "{} has no place in a pass; take it out of the template (known are {known}, each with @2x and @3x, and xx.lproj with {STRINGS} and images)",
        path.display()
    )
}

fn is_image(name: &str) -> bool {
    name.strip_suffix(".png")
        .is_some_and(|stem| IMAGES.iter().any(|image| stem.strip_prefix(image).is_some_and(|scale| SCALES.contains(&scale))))
}

fn is_language(name: &str) -> bool {
    !name.is_empty() && name.len() <= 35 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Names, paths, and whether they are folders.
fn entries(folder: &Path) -> Result<Vec<(String, std::path::PathBuf, bool)>, String> {
    let fault = |error: std::io::Error| format!("cannot read the template {}: {error}", folder.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| stray(&path))?.to_owned();
        let is_folder = fs::metadata(&path).map_err(fault)?.is_dir();
        all.push((name, path, is_folder));
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let fault = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    if fs::metadata(path).map_err(fault)?.len() > FILE_MAX {
        return Err(format!("{} has more than {} MiB; a picture of a pass is small", path.display(), FILE_MAX >> 20));
    }
    fs::read(path).map_err(fault)
}

/// `pass.json` of a pass: what is kept of it, with what the account and the store say put in its place.
pub fn pass_json(account: &AppleWallet, pass: &Pass) -> Json {
    let mut json = pass.data.clone();
    if let Some(object) = json.as_object_mut() {
        object.entry("formatVersion").or_insert(Json::from(1));
        for (name, value) in [
            ("passTypeIdentifier", &account.pass_type),
            ("teamIdentifier", &account.team),
            ("serialNumber", &pass.serial),
            ("webServiceURL", &account.public_url),
            ("authenticationToken", &pass.token),
        ] {
            object.insert(name.to_owned(), Json::String(value.clone()));
        }
    }
    json
}

/// The package of a pass as it is now, with the template's images as they are now.
pub fn build(account: &AppleWallet, signer: &Signer, pass: &Pass) -> Result<Vec<u8>, String> {
    let mut files = read_template(&account.template)?;
    files.insert(DESIGN.to_owned(), pass_json(account, pass).to_string().into_bytes());
    seal(files, signer)
}

/// Adds manifest and signature. But for the signature, which says when, the same files make the same bytes.
fn seal(mut files: Files, signer: &Signer) -> Result<Vec<u8>, String> {
    let mut manifest = Map::new();
    for (name, content) in &files {
        let digest = hash(MessageDigest::sha1(), content).map_err(|error| format!("no SHA-1 here: {error}"))?;
        manifest.insert(name.clone(), Json::String(crate::spool::hex(&digest)));
    }
    let manifest = Json::Object(manifest).to_string().into_bytes();
    files.insert(SIGNATURE.to_owned(), signer.sign(&manifest)?);
    files.insert(MANIFEST.to_owned(), manifest);
    // The time is fixed, so that only what changed differs.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    let zip = || -> zip::result::ZipResult<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in &files {
            zip.start_file(name.as_str(), options)?;
            zip.write_all(content)?;
        }
        Ok(zip.finish()?.into_inner())
    };
    zip().map_err(|error| format!("the package cannot be written: {error}"))
}

/// `pass.json` of a package that somebody else made. Its digest must be the manifest's.
pub fn design_of(package: &[u8]) -> Result<Json, String> {
    let mut zip = ZipArchive::new(Cursor::new(package)).map_err(|error| format!("is no zip archive: {error}"))?;
    let mut file = |name: &str| -> Result<Vec<u8>, String> {
        let entry = zip.by_name(name).map_err(|_| format!("has no {name}"))?;
        let mut bytes = Vec::new();
        entry.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("{name} cannot be read: {error}"))?;
        if bytes.len() as u64 > FILE_MAX { Err(format!("{name} is larger than any pass")) } else { Ok(bytes) }
    };
    let pass = file(DESIGN)?;
    let manifest: Json = serde_json::from_slice(&file(MANIFEST)?).map_err(|_| format!("its {MANIFEST} is no JSON"))?;
    let digest = hash(MessageDigest::sha1(), &pass).map_err(|error| format!("no SHA-1 here: {error}"))?;
    if manifest.get(DESIGN).and_then(Json::as_str) != Some(&crate::spool::hex(&digest)) {
        return Err(format!("its {DESIGN} is not the one that its {MANIFEST} tells of"));
    }
    serde_json::from_slice(&pass).map_err(|error| format!("its {DESIGN} is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(files: &[&str]) -> Result<Files, String> {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        read_template(folder.path())
    }

    #[test]
    fn a_template_is_read_strictly() {
        let files = template(&["pass.json", "icon.png", "icon@2x.png", "fr.lproj/pass.strings", "fr.lproj/logo@3x.png"]).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["fr.lproj/logo@3x.png", "fr.lproj/pass.strings", "icon.png", "icon@2x.png"]);
        for stray in
            [".DS_Store", "__MACOSX/icon.png", "notes.txt", "icon@4x.png", "fr.lproj/.DS_Store", "fr.lproj/deep/x.png", "manifest.json"]
        {
            let fault = template(&["pass.json", "icon.png", stray]).unwrap_err();
            assert!(fault.contains("has no place in a pass"), "{stray}: {fault}");
        }
        assert!(template(&["pass.json", "logo.png"]).unwrap_err().contains("no icon.png"));
    }
}
