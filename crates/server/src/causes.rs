//! What led to an error.

use std::error::Error as StdError;
use std::iter;

/// The first of this type among the error itself and what caused it.
pub(crate) fn cause<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    causes(error).find_map(<dyn StdError>::downcast_ref)
}

/// The error itself and everything that caused it, outermost first, in a line.
pub(crate) fn causes_in_a_line(error: &(dyn StdError + 'static)) -> String {
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.join(": ")
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}
