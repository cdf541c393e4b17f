//! Test clusters, fixtures and contract suites. Never in the binary.
