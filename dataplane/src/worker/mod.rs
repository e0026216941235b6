//! A worker: one ring, its connections, its pools, its timers.
