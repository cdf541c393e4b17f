//! The built-in kinds: facts tables, defaulting, validation, strategies, printer columns, subresources. No I/O.
