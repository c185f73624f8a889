//! PassKit.
