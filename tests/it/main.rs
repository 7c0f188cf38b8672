//! System tests, one file per behaviour.
