//! settings.toml: read with suspicion, one key changed and the rest left as it was.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use toml::{Spanned, Value};

use super::Texts;
use super::keys::{KEYS, Key, Values};
use crate::error::Failure;
use crate::files;

/// More than anybody writes by hand.
const MAX_SIZE: u64 = 1024 * 1024;

/// Sets `key` in the file at `path`, or takes it out of it; whatever else somebody wrote there stays.
pub fn set(path: &Path, key: &Key, value: Option<&str>) -> Result<()> {
    let value = value.map(|text| key.parse(text)).transpose()?;
    // Refuses to touch a file that is broken.
    read(path)?;
    let text = if files::exists(path)? { read_text(path)? } else { String::new() };
    let mut document: toml_edit::DocumentMut = text.parse()?;
    match value {
        Some(Value::Integer(number)) => put(&mut document, key.name, number.into()),
        Some(value) => put(&mut document, key.name, value.as_str().unwrap_or_default().into()),
        None => take_out(&mut document, key.name),
    }
    if let Some(folder) = path.parent() {
        files::create_private_folders(folder)?;
    }
    files::write_atomic(path, document.to_string().as_bytes())
}

/// A comment beside the old value stays.
fn put(document: &mut toml_edit::DocumentMut, name: &str, mut value: toml_edit::Value) {
    if let Some(old) = document.get(name).and_then(toml_edit::Item::as_value) {
        *value.decor_mut() = old.decor().clone();
        document[name] = toml_edit::Item::Value(value);
    } else {
        document[name] = toml_edit::value(value);
    }
}

/// Comments above the line stay, for what follows.
fn take_out(document: &mut toml_edit::DocumentMut, name: &str) {
    let names: Vec<String> = document.iter().map(|(name, _)| name.to_owned()).collect();
    let above =
        document.key(name).and_then(|key| key.leaf_decor().prefix()?.as_str()).unwrap_or_default().to_owned();
    document.remove(name);
    let next = names.iter().skip_while(|one| *one != name).nth(1);
    if let Some(mut key) = next.and_then(|next| document.key_mut(next)) {
        let own = key.leaf_decor().prefix().and_then(|own| own.as_str()).unwrap_or_default().to_owned();
        key.leaf_decor_mut().set_prefix(above + &own);
    } else {
        let own = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing(above + &own);
    }
}

/// What the file at `path` itself says of `key`.
pub fn own_value(path: &Path, key: &Key) -> Result<Option<String>> {
    Ok(read(path)?.get(key.name).cloned())
}

pub(super) fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(files::read_bounded(path, MAX_SIZE)?).map_err(|error| {
        let bytes = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = bytes.split(|byte| *byte == b'\n').count();
        unusable(path, line, "it is not UTF-8").into()
    })
}

fn unusable(path: &Path, line: usize, why: &str) -> Failure {
    Failure::failed(format!("the settings in {} cannot be used: line {line}: {why}", path.display()))
        .hint("correct the file, or move it away to go back to the defaults")
}

/// The settings of one file, each checked.
pub(super) fn read(path: &Path) -> Result<Texts> {
    if !files::exists(path)? {
        return Ok(Texts::new());
    }
    parse(path, &read_text(path)?)
}

/// What a file with `text` sets. `path` is for what is wrong with it.
pub fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, String>> {
    let broken = |at: usize, why: &str| {
        let before = text.bytes().take(at);
        unusable(path, before.filter(|byte| *byte == b'\n').count() + 1, why)
    };
    let entries: BTreeMap<Spanned<String>, Spanned<Value>> = toml::from_str(text)
        .map_err(|error| broken(error.span().map_or(0, |span| span.start), error.message()))?;
    let mut texts = Texts::new();
    for (name, value) in entries {
        let at = name.span().start;
        let key = KEYS
            .iter()
            .find(|key| key.name == name.get_ref())
            .ok_or_else(|| broken(at, &format!("there is no setting {:?}", name.get_ref())))?;
        let text = match value.get_ref() {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            _ => String::new(),
        };
        let is_number = matches!(key.values, Values::Number(..));
        let complaint = key.complaint(&text).or_else(|| {
            (is_number != value.get_ref().is_integer())
                .then(|| format!("{} must be {}", key.name, key.allowed()))
        });
        if let Some(why) = complaint {
            return Err(broken(at, &why).into());
        }
        texts.insert(key.name.to_owned(), text);
    }
    Ok(texts)
}
