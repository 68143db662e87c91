//! One case of the catalogue: what is sent, and what must come of it.

use reqwest::RequestBuilder;

use crate::support::Answer;

/// A case.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) steps: Vec<(Ask, Must)>,
    /// Whether something of what it sends is taken and stays, as it may when it only looks hostile.
    pub(super) is_kept: bool,
}

/// A request.
pub(super) enum Ask {
    /// By a client library.
    Call(Box<RequestBuilder>),
    /// Bytes on a connection of their own, where a library would tidy them up.
    Wire(Vec<u8>),
}

/// What must come of a request.
pub(super) enum Must {
    /// It is refused with this status and this code.
    Refuse(u16, &'static str),
    /// It is no HTTP that could be read, so it is answered with this status before there is a
    /// request, without a body, and the connection ends.
    Drop(u16),
    /// It is answered with this status, and this holds.
    Answer(u16, Check),
}

type Check = Box<dyn Fn(&Answer) -> Result<(), String>>;

impl Row {
    pub(super) fn refused(
        name: impl Into<String>,
        ask: impl Into<Ask>,
        status: u16,
        code: &'static str,
    ) -> Self {
        Self::new(name, ask.into(), Must::Refuse(status, code))
    }

    pub(super) fn dropped(name: impl Into<String>, ask: impl Into<Ask>, status: u16) -> Self {
        Self::new(name, ask.into(), Must::Drop(status))
    }

    pub(super) fn answered(
        name: impl Into<String>,
        ask: impl Into<Ask>,
        status: u16,
        holds: impl Fn(&Answer) -> Result<(), String> + 'static,
    ) -> Self {
        Self::new(name, ask.into(), Must::Answer(status, Box::new(holds)))
    }

    fn new(name: impl Into<String>, ask: Ask, must: Must) -> Self {
        Self {
            name: name.into(),
            steps: vec![(ask, must)],
            is_kept: false,
        }
    }

    /// The same case, which leaves something on purpose.
    pub(super) fn and_kept(mut self) -> Self {
        self.is_kept = true;
        self
    }

    /// The same case, which goes on with the steps of another.
    pub(super) fn then(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    /// The same case, which goes on with a request that is refused in the same way.
    pub(super) fn or(mut self, ask: impl Into<Ask>) -> Self {
        let must = match self.steps.last() {
            Some((_, Must::Refuse(status, code))) => Must::Refuse(*status, code),
            Some((_, Must::Drop(status))) => Must::Drop(*status),
            _ => panic!("{}: only refusals are repeated", self.name),
        };
        self.steps.push((ask.into(), must));
        self
    }
}

impl From<RequestBuilder> for Ask {
    fn from(request: RequestBuilder) -> Self {
        Self::Call(Box::new(request))
    }
}

impl From<Vec<u8>> for Ask {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Wire(bytes)
    }
}

impl From<String> for Ask {
    fn from(text: String) -> Self {
        Self::Wire(text.into_bytes())
    }
}

/// Says what is wrong when something does not hold.
pub(super) fn ensure(holds: bool, wrong: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong.into()) }
}

/// For answers of which the status says everything.
pub(super) fn anything(_: &Answer) -> Result<(), String> {
    Ok(())
}
