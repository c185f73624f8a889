use super::*;
pub(super) fn config(_: &str, _: &Path) -> Result<meant::Config, Vec<Fault>> { Err(vec![]) }
