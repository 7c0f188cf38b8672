//! Real directory servers, databases and a scripted hostile server for tests.
