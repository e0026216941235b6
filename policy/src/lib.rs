//! Filtering modes, contexts, rules and address lists, compiled into flat tables.
