//! Collects errors and warnings while a config is read.

use std::cell::{Cell, RefCell};

use super::error::{ConfigError, ConfigWarning, Where};

/// More errors than this are counted only: a file of another kind would otherwise print millions.
const MAX_ERRORS: usize = 1000;

/// Everything that was found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<ConfigWarning>>,
    not_kept: Cell<usize>,
}

impl Problems {
    pub(super) fn error(&self, error: ConfigError) {
        self.error_with(|| error);
    }

    /// The same for an error that takes work to describe.
    pub(super) fn error_with(&self, error: impl FnOnce() -> ConfigError) {
        if self.has_room() {
            let error = error();
            self.errors.borrow_mut().push(error);
        } else {
            self.not_kept.set(self.not_kept.get() + 1);
        }
    }

    /// Whether one more error would be kept.
    pub(super) fn has_room(&self) -> bool {
        self.errors.borrow().len() < MAX_ERRORS
    }

    pub(super) fn warning(&self, warning: ConfigWarning) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MAX_ERRORS {
            warnings.push(warning);
        }
    }

    /// The warnings, or every error; in order of file (as they were read), line and column.
    pub(super) fn finish(self, main_file: &std::path::Path) -> Result<Vec<ConfigWarning>, Vec<ConfigError>> {
        let mut errors = self.errors.into_inner();
        if errors.is_empty() {
            let mut warnings = self.warnings.into_inner();
            warnings.sort_by(|a, b| order(&a.place, main_file).cmp(&order(&b.place, main_file)));
            return Ok(warnings);
        }
        errors.sort_by(|a, b| order(&a.place, main_file).cmp(&order(&b.place, main_file)));
        if self.not_kept.get() > 0 {
            errors.push(ConfigError {
                place: Where::File(main_file.to_owned()),
                key: String::new(),
                message: format!("{} more errors are not shown", self.not_kept.get()),
                advice: "correct those above first".to_owned(),
            });
        }
        Err(errors)
    }
}

/// Variables first, then the main file, then the others by name.
fn order<'a>(place: &'a Where, main_file: &std::path::Path) -> (u8, &'a Where) {
    match place {
        Where::Variable(_) => (0, place),
        Where::File(file) if file == main_file => (1, place),
        Where::Text(text) if *text.file == *main_file => (1, place),
        Where::Text(_) | Where::File(_) => (2, place),
    }
}
