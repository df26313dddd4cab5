//! Configuration documents: YAML 1.2, or JSON, which is nearly a part of it.

use std::path::Path;

use serde_json::Value;

use super::Invalid;
use super::layers::Layer;

/// Larger documents are not configurations.
const LIMIT: u64 = 1024 * 1024;

/// Reads a document; `name` is what errors call it.
///
/// # Errors
/// When it is neither YAML nor JSON. The parser's own words are not repeated: they quote
/// the document.
pub fn parse(text: &str, name: &str) -> Result<Layer, Invalid> {
    let invalid = |message: String| Invalid {
        place: name.to_owned(),
        message,
    };
    if text.len() as u64 > LIMIT {
        return Err(invalid("is larger than 1 MiB".to_owned()));
    }
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        return Ok(Layer::new(format!("{name}: "), value));
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    let value = serde_saphyr::from_str_with_options::<Value>(text, options).map_err(|error| {
        let at = error.location().map_or_else(String::new, |at| {
            format!(" at line {}, column {}", at.line(), at.column())
        });
        invalid(format!(
            "is not valid YAML{at} (indentation, a quote or a key given twice)"
        ))
    })?;
    Ok(Layer::new(format!("{name}: "), value))
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read or is no document.
pub fn read(path: &Path) -> Result<Layer, Invalid> {
    let name = path.display().to_string();
    let failed = |message: &str| Invalid {
        place: name.clone(),
        message: message.to_owned(),
    };
    let length = std::fs::metadata(path).map(|file| file.len());
    if length.is_ok_and(|length| length > LIMIT) {
        return Err(failed("is larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed("there is no such file"),
        std::io::ErrorKind::PermissionDenied => failed("may not be read"),
        std::io::ErrorKind::IsADirectory => failed("is a directory; name a file"),
        std::io::ErrorKind::InvalidData => failed("is not UTF-8 text"),
        _ => failed("cannot be read"),
    })?;
    parse(&text, &name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn merged(text: &str) -> Value {
        Layers::new(vec![parse(text, "x.yml").unwrap()])
            .merged()
            .unwrap()
    }

    #[test]
    fn yaml_and_json_are_read_alike() {
        let yaml = merged("foundation: prod\nstores:\n- {name: a, path: /x}\n");
        let json = merged(r#"{"foundation":"prod","stores":[{"name":"a","path":"/x"}]}"#);
        assert_eq!(yaml, json);
    }

    #[test]
    fn a_number_with_a_leading_zero_stays_a_text() {
        assert_eq!(merged("a: 0123")["a"], "0123");
        assert_eq!(merged("a: yes")["a"], "yes");
    }

    #[test]
    fn a_syntax_error_names_the_line_and_nothing_else() {
        for text in [
            "a: 1\nb: [hunter2\n",
            "a: 1\na: hunter2\n",
            "a: \"hunter2\n",
            "a: b: hunter2",
        ] {
            let error = parse(text, "x.yml").expect_err(text).to_string();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.starts_with("x.yml: is not valid YAML"), "{error}");
        }
    }
}
