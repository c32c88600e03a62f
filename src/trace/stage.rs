//! The steps of a request that have a span each.

/// One step; the root is the request as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Request,
    LookUp,
    /// From the question to the header of the answer; of what is kept, to the end of its body.
    Origin,
    Store,
    /// From the wish for a variant to its being there, whoever makes it.
    Transform,
    /// Until a worker is free.
    Queue,
    Decode,
    Resize,
    Adjust,
    Encode,
    PurgeOrder,
    /// Until the log has taken the order and it is applied.
    Commit,
    Send,
}

/// Which side of a connection a step is, as OpenTelemetry has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
    Inside,
}

impl Stage {
    pub(super) fn name(self) -> &'static str {
        match self {
            Stage::Request => "request",
            Stage::LookUp => "look up",
            Stage::Origin => "origin",
            Stage::Store => "store",
            Stage::Transform => "transform",
            Stage::Queue => "queue",
            Stage::Decode => "decode",
            Stage::Resize => "resize",
            Stage::Adjust => "adjust",
            Stage::Encode => "encode",
            Stage::PurgeOrder => "purge order",
            Stage::Commit => "commit",
            Stage::Send => "send",
        }
    }

    pub(super) fn side(self) -> Side {
        match self {
            Stage::Request => Side::Server,
            Stage::Origin => Side::Client,
            _ => Side::Inside,
        }
    }
}
