//! Reading Rust as far as the rules need it: code without comments and literals, the paths it names, its tests.
//!
//! No parser: text that is Rust is read rightly, other text somehow. Knows no rule.

use std::collections::BTreeSet;

pub(crate) struct Source {
    /// From the repository's root, `src/edge/mod.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Production,
    /// A whole file of tests: another one declares it under `#[cfg(test)]`.
    Tests,
}

/// `src/edge/mod.rs` and `src/edge.rs` belong to `edge`; `lib.rs` to none.
pub(crate) fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    (module != "lib").then_some(module)
}

/// Steps of `super` from a file's top level to the crate's root.
fn depth_of(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches("/mod.rs");
    inside.split('/').count()
}

/// Modules of the crate's root that a source names by a path from that root.
pub(crate) fn modules_used(source: &Source) -> BTreeSet<String> {
    let dense = dense(&code_of(&source.text));
    let depth = depth_of(&source.path);
    let mut used = BTreeSet::new();
    for (start, name) in identifiers(&dense) {
        let rest = &dense[start..];
        let preceded = dense[..start].ends_with("::");
        let (below_root, is_root) = match name {
            "crate" | "aquatint" if !preceded => (rest[name.len()..].strip_prefix("::"), true),
            "super" if !preceded => {
                let supers = rest.len() - rest.trim_start_matches("super::").len();
                (Some(&rest[supers..]), supers / "super::".len() >= depth)
            }
            _ => (None, false),
        };
        if let (Some(below), true) = (below_root, is_root) {
            used.extend(first_names(below).into_iter().map(String::from));
        }
    }
    used
}

/// `edge::config` begins with `edge`; `{edge, key::{a, b}}` with `edge` and `key`.
fn first_names(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else {
        return identifiers(path).take(1).map(|(_, name)| name).collect();
    };
    let mut names = Vec::new();
    let mut depth = 0usize;
    let mut expected = true;
    for (start, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expected = true,
            _ if depth == 0 && expected => {
                names.extend(identifiers(&group[start..]).take(1).map(|(_, name)| name));
                expected = false;
            }
            _ => {}
        }
    }
    names
}

/// Whether the identifier at `start` begins a path or is imported: not a field, a variable or a part of a path.
pub(crate) fn names_a_crate(code: &str, start: usize, name: &str) -> bool {
    let before = code[..start].trim_end();
    let after = code[start + name.len()..].trim_start();
    let above = before.strip_suffix("::").unwrap_or(before);
    let is_part = above.len() < before.len() && above.ends_with(|c| is_identifier(c) || c == '>');
    let begins = !is_part && !before.ends_with('.');
    let imported = above.trim_end().ends_with("use") || above.trim_end().ends_with("extern crate");
    begins && (imported || after.starts_with("::"))
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Identifiers and keywords with where they start.
pub(crate) fn identifiers(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let parts = code.split(|c| !is_identifier(c)).filter(|part| !part.is_empty());
    parts.map(move |part| (part.as_ptr() as usize - code.as_ptr() as usize, part))
}

/// Code without spaces, but for one between two words.
fn dense(code: &str) -> String {
    let mut dense = String::with_capacity(code.len());
    for word in code.split_whitespace() {
        let touching = dense.ends_with(is_identifier) && word.starts_with(is_identifier);
        dense.push_str(if touching { " " } else { "" });
        dense.push_str(word);
    }
    dense
}

/// The code without its test modules.
pub(crate) fn without_tests(source: &Source) -> String {
    if source.part == Part::Tests {
        return String::new();
    }
    let code = code_of(&source.text);
    let mut kept = String::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("#[cfg(test)]") {
        let item = &rest[at..];
        let end = test_module_length(item).unwrap_or("#[cfg(test)]".len());
        kept.push_str(&rest[..at]);
        rest = &item[end..];
    }
    kept + rest
}

/// The bytes of `#[cfg(test)] mod tests { .. }`; none when the attribute stands on something else.
fn test_module_length(item: &str) -> Option<usize> {
    let open = item
        .find(['{', ';'])
        .filter(|open| item[*open..].starts_with('{'))?;
    identifiers(&item[..open]).find(|(_, name)| *name == "mod")?;
    let mut depth = 0;
    for (at, character) in item[open..].char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(open + at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The files that a source declares as modules of tests, by the paths they may have.
pub(crate) fn test_files(source: &Source) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let below = match file.trim_end_matches(".rs") {
        "mod" | "lib" | "main" => folder.to_string(),
        module => format!("{folder}/{module}"),
    };
    let mut found = Vec::new();
    let mut lines = source.text.lines().map(str::trim);
    while lines.by_ref().any(|line| line == "#[cfg(test)]") {
        let item: Vec<&str> = lines.clone().take(2).collect();
        match item[..] {
            [path, _] if path.starts_with("#[path = ") => {
                found.extend(path.split('"').nth(1).map(|name| format!("{folder}/{name}")));
            }
            [declaration, ..] if declaration.ends_with(';') => {
                let module = identifiers(declaration)
                    .skip_while(|(_, word)| *word != "mod")
                    .nth(1);
                let names = module
                    .into_iter()
                    .flat_map(|(_, name)| [format!("{name}.rs"), format!("{name}/mod.rs")]);
                found.extend(names.map(|name| format!("{below}/{name}")));
            }
            _ => {}
        }
    }
    found
}

/// The text with spaces where comments, strings and character literals were; its lines stay.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let begins_word = !code.ends_with(is_identifier);
        let length = literal_length(rest, begins_word);
        if length == 0 {
            code.push(character);
            rest = &rest[character.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// Bytes of the comment or literal that `rest` starts with, 0 if with none.
fn literal_length(rest: &str, begins_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    let raw = rest
        .trim_start_matches('b')
        .strip_prefix('r')
        .filter(|_| begins_word);
    if let Some(raw) = raw {
        let fence = raw.len() - raw.trim_start_matches('#').len();
        let quote = raw[fence..].starts_with('"');
        let end = format!("\"{}", "#".repeat(fence));
        let start = rest.len() - raw.len() + fence + 1;
        return if quote {
            rest[start..]
                .find(&end)
                .map_or(rest.len(), |at| start + at + end.len())
        } else {
            0
        };
    }
    // A lifetime is a quote that no second one closes after one character.
    let mut characters = rest.chars();
    match (characters.next(), characters.next(), characters.next()) {
        (Some('\''), Some('\\'), _) | (Some('\''), Some(_), Some('\'')) => quoted_length(rest, '\''),
        _ => 0,
    }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}
