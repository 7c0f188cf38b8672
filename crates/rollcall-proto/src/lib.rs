//! Rollcall's gRPC contract: generated code, conversions and the error mapping.
