//! Tests against the live three-zone cluster.
