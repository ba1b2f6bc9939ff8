//! Dependencies: licences, sources and duplicates against `.config/deny.toml`, where `cargo deny` is not installed.

use std::{collections::BTreeMap, env, fs, path::Path, process::Command};

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licenses,
    sources: Sources,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

#[derive(Debug, Deserialize)]
struct Skip {
    /// `name@version`, the version as short as it is telling.
    #[serde(rename = "crate")]
    name_at_version: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Clone, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[test]
fn dependencies_keep_licences_sources_and_one_version_each() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = rules(&fs::read_to_string(root.join(".config/deny.toml")).expect("rules"));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("metadata");
    assert!(metadata.packages.len() > 50, "only {} packages: not the real list", metadata.packages.len());
    let faults = faults_of(&metadata.packages, &rules);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_dependency_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(root.join("Cargo.toml")).unwrap()).unwrap();
    let mut ours = String::new();
    collect(&root.join("src"), &mut ours);
    let mut all = ours.clone();
    collect(&root.join("tests"), &mut all);
    collect(&root.join("scripts"), &mut all);
    for (section, code) in [("dependencies", ours), ("dev-dependencies", all)] {
        let names = manifest[section].as_table().unwrap().keys();
        let unused: Vec<_> = names.filter(|name| !is_used(&name.replace('-', "_"), &code)).collect();
        assert!(unused.is_empty(), "[{section}] {unused:?}");
    }
    assert!(!is_used("ctrlc", "// ctrlc\nmy_ctrlc::x"));
}

fn collect(dir: &Path, code: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, code);
        } else if path.extension().is_some_and(|e| e == "rs") {
            code.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Whether a path begins with the crate's name: `name::` that is no end of a longer name.
fn is_used(name: &str, code: &str) -> bool {
    let path = format!("{name}::");
    let word = |char: char| char.is_alphanumeric() || matches!(char, '_' | ':');
    code.match_indices(&path).any(|(at, _)| !code[..at].ends_with(word))
}

fn rules(text: &str) -> Rules {
    toml::from_str(text).expect(".config/deny.toml")
}

fn faults_of(packages: &[Package], rules: &Rules) -> Vec<String> {
    let mut faults = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let Package { name, version, license, source } = package;
        versions.entry(name).or_default().push(version);
        let license = license.as_deref().unwrap_or("no licence");
        if !allows(license, &rules.licenses.allow) {
            faults.push(format!("{name} {version}: {license} is not allowed"));
        }
        if let Some(source) = source
            && !rules.sources.allow_registry.iter().any(|allowed| source.strip_prefix("registry+") == Some(allowed))
        {
            faults.push(format!("{name} {version}: {source} is not an allowed source"));
        }
    }
    for (name, versions) in versions {
        let unexcused: Vec<&str> =
            versions.into_iter().filter(|version| !is_skipped(name, version, &rules.bans.skip)).collect();
        if unexcused.len() > 1 {
            faults.push(format!("{name}: versions {} without a reason", unexcused.join(" and ")));
        }
    }
    faults
}

fn is_skipped(name: &str, version: &str, skips: &[Skip]) -> bool {
    skips.iter().filter_map(|skip| skip.name_at_version.split_once('@')).any(|(crate_name, prefix)| {
        crate_name == name && version.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Whether an SPDX expression can be met: one side of every OR, both sides of every AND. `/` is the old OR.
fn allows(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut parser = Spdx { words: words(&expression), at: 0, allowed };
    let met = parser.any();
    met && parser.at == parser.words.len()
}

fn words(expression: &str) -> Vec<String> {
    expression.replace('(', " ( ").replace(')', " ) ").split_whitespace().map(str::to_owned).collect()
}

struct Spdx<'a> {
    words: Vec<String>,
    at: usize,
    allowed: &'a [String],
}

impl Spdx<'_> {
    fn any(&mut self) -> bool {
        let mut met = self.all();
        while self.take("OR") {
            met |= self.all();
        }
        met
    }

    fn all(&mut self) -> bool {
        let mut met = self.one();
        while self.take("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let met = self.any();
            return self.take(")") && met;
        }
        let Some(name) = self.words.get(self.at).cloned() else { return false };
        self.at += 1;
        // An exception only adds permissions.
        if self.take("WITH") {
            self.at += 1;
        }
        self.allowed.contains(&name)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at).is_some_and(|w| w == word);
        self.at += usize::from(found);
        found
    }
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("MIT/GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Apache-2.0", true),
        ("(GPL-2.0 OR GPL-3.0) AND MIT", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("no licence", false),
        ("", false),
    ] {
        assert_eq!(allows(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn a_foreign_source_a_licence_and_a_second_version_are_found() {
    let rules = rules(
        "licenses.allow = ['MIT']\nsources.allow-registry = ['https://known']\nbans.skip = [{ crate = 'twice@1' }]\n",
    );
    let package = |name: &str, version: &str, license: &str, source: &str| Package {
        name: name.to_owned(),
        version: version.to_owned(),
        license: Some(license.to_owned()),
        source: Some(source.to_owned()),
    };
    let known = "registry+https://known";
    let good = [package("twice", "1.2.0", "MIT", known), package("twice", "2.0.0", "MIT", known)];
    assert_eq!(faults_of(&good, &rules), Vec::<String>::new());
    let bad = [
        package("a", "1.0.0", "GPL-3.0", known),
        package("b", "1.0.0", "MIT", "git+https://known"),
        package("c", "1.0.0", "MIT", known),
        package("c", "11.0.0", "MIT", known),
    ];
    assert_eq!(faults_of(&bad, &rules).len(), 3);
}
