//! The config file: what is written, what it means, what is wrong with it.
