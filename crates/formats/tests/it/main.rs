//! The tests of this crate's public interface, in one program.

#[cfg(test)]
mod common;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod stl;
#[cfg(test)]
mod told_apart;
