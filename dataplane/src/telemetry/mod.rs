//! Counters, latency histograms, events and logs.
