//! Links lead somewhere, the map names every module and package, and all say the same version.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::tables::named_in_tables;
use super::{document, pages, section, sections};

#[test]
fn all_say_the_same_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(document("plugin.toml").contains(&format!("\nversion = \"{version}\"\n")));
    let changes = document("CHANGELOG.md");
    let newest =
        sections(&changes).first().map(|(title, _)| title.split(' ').next().unwrap_or_default().to_owned());
    assert_eq!(newest.as_deref(), Some(version));
}

/// The sources below `folder`, as `ui/table.rs`.
fn sources(folder: &Path, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            names.extend(sources(&entry.path(), &format!("{name}/")));
        } else {
            names.insert(name);
        }
    }
    names
}

#[test]
fn architecture_md_names_every_module_and_every_package() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = document("ARCHITECTURE.md");
    assert_eq!(named_in_tables(section(&page, "Modules"), "file"), sources(&root.join("src"), ""));
    let rows = section(&page, "Dependencies")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let documented: BTreeSet<&str> = rows.skip(1).flat_map(|cell| cell.split(", ")).collect();
    let manifest: toml::Table = document("Cargo.toml").parse().unwrap();
    let used = ["dependencies", "dev-dependencies"].map(|part| manifest[part].as_table().unwrap().keys());
    assert_eq!(documented, used.into_iter().flatten().map(String::as_str).collect());
}

/// The modules of a layer, as lib.rs lists them below its comment.
fn layer(heading: &str) -> Vec<String> {
    let text = document("src/lib.rs");
    let part = text.split("\n\n").find(|part| part.starts_with(&format!("// {heading}:"))).unwrap();
    part.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_layer_calls_one_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (core, edges) = (layer("Core"), layer("Edges"));
    let above = [(layer("Vocabulary"), [core.clone(), edges.clone()].concat()), (edges, core)];
    for (below, above) in above {
        for file in sources(&src, "") {
            let module = file.split(['/', '.']).next().unwrap_or_default();
            let text = fs::read_to_string(src.join(&file)).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let called = |name: &String| {
                text.contains(&format!("crate::{name}::")) || text.contains(&format!("crate::{name};"))
            };
            let wrong = above.iter().find(|name| below.iter().any(|one| one == module) && called(name));
            assert_eq!(wrong, None, "{file} is below it");
        }
    }
}

/// `[words](docs/file.md#heading)` in the documents leads somewhere.
#[test]
fn links_between_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in &pages() {
        let text = document(name);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if file.is_empty() { root.join(name) } else { root.join(name).parent().unwrap().join(file) };
            assert!(path.exists(), "{name}: {target}");
            if !heading.is_empty() {
                let page = fs::read_to_string(&path).unwrap();
                let slugs: Vec<String> = page.lines().filter_map(slug).collect();
                assert!(slugs.iter().any(|slug| slug == heading), "{name}: {target} among {slugs:?}");
            }
        }
    }
}

/// The anchor of a heading.
fn slug(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}
