//! The control thread: admin endpoints, signals, snapshot generations.
