//! What the labels of metrics may say.
//!
//! Invariant: a label is an enum, so that no request mints a series. It does not know which metric has it.

/// What a label may say.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];
    fn name(self) -> &'static str;
    /// The position in [`Label::ALL`].
    fn position(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            fn position(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// How a request ended.
    Outcome {
        /// A fresh stored response, from memory.
        HitMemory = "hit_memory",
        /// A fresh stored response, of which something had to be read from the SSD.
        HitSsd = "hit_ssd",
        /// A stored response past its freshness, allowed by a stale window.
        Stale = "stale",
        /// A stored response that the origin confirmed with a 304.
        Revalidated = "revalidated",
        /// Fetched from the origin for this request.
        Miss = "miss",
        /// Shared the origin request of another.
        Coalesced = "coalesced",
        /// Passed through without the cache.
        Bypass = "bypass",
        /// Another node has answered it.
        Peer = "peer",
        /// Refused by the guard.
        Refused = "refused",
        /// No answer could be had from the origin.
        Error = "error",
        /// An order of a purge was carried out, or is on its way.
        Purge = "purge",
    }
}

label! {
    /// The first digit of a status code.
    StatusClass { Informational = "1xx", Success = "2xx", Redirection = "3xx", ClientError = "4xx", ServerError = "5xx" }
}

impl StatusClass {
    pub fn of(status: u16) -> Self {
        match status {
            ..200 => StatusClass::Informational,
            200..300 => StatusClass::Success,
            300..400 => StatusClass::Redirection,
            400..500 => StatusClass::ClientError,
            _ => StatusClass::ServerError,
        }
    }
}

impl Outcome {
    /// A hit of which something was read from `tier`; what is no hit stays what it is.
    pub fn read_from(self, tier: Tier) -> Self {
        match (self, tier) {
            (Outcome::HitMemory, Tier::Ssd) => Outcome::HitSsd,
            (outcome, _) => outcome,
        }
    }
}

label! {
    /// Why a request was refused.
    Rejection {
        UrlTooLong = "url_too_long",
        HeaderTooLarge = "header_too_large",
        NoHost = "no_host",
        BadTarget = "bad_target",
        Method = "method",
        /// An OPTIONS that goes no further: answered, and with nothing.
        Options = "options",
        Expectation = "expectation",
        Malformed = "malformed",
        LateHeader = "late_header",
        BodyTooLarge = "body_too_large",
        /// It could not be sent on, because of itself: its body broke off, or its framing is none.
        Unsendable = "unsendable",
        NoRoute = "no_route",
        ReservedPath = "reserved_path",
        OnlyIfCached = "only_if_cached",
        BadUrl = "bad_url",
        /// Of an image's transform.
        BadParameters = "bad_parameters",
        Overloaded = "overloaded",
        NoVariant = "no_variant",
        /// An order of a purge; why it was refused is counted by way.
        Purge = "purge",
    }
}

label! {
    /// How a client speaks to the edge.
    Protocol { Http1 = "http1", Http2 = "http2", Http1Tls = "http1_tls", Http2Tls = "http2_tls" }
}

label! {
    /// What an address of an origin is worth.
    AddressState {
        Up = "up",
        /// By what its probes said.
        Down = "down",
        /// By how requests went; until a trial has been answered.
        BreakerOpen = "breaker_open",
    }
}

label! {
    /// Where a connection to an origin came from.
    ConnectionKind { New = "new", Reused = "reused" }
}

label! {
    /// How a reload of the configuration ended.
    ReloadResult { Applied = "applied", Refused = "refused" }
}

label! {
    /// A listener that has a certificate.
    TlsListener { EdgeTls = "edge_tls" }
}

label! {
    /// Of this build.
    BuildVersion { This = env!("CARGO_PKG_VERSION") }
}

label! {
    /// Why an origin request failed.
    OriginFailure {
        Resolve = "resolve",
        Connect = "connect",
        Tls = "tls",
        Timeout = "timeout",
        Reset = "reset",
        Malformed = "malformed",
        Truncated = "truncated",
        Oversized = "oversized",
        BreakerOpen = "breaker_open",
        Saturated = "saturated",
        File = "file",
    }
}

label! {
    /// A level of the cache.
    Tier { Memory = "memory", Ssd = "ssd" }
}

impl Tier {
    /// From where something was read that took two reads.
    pub fn and(self, other: Tier) -> Tier {
        match (self, other) {
            (Tier::Memory, Tier::Memory) => Tier::Memory,
            _ => Tier::Ssd,
        }
    }
}

label! {
    /// One of the two stores of a tier.
    Kind { Entries = "entries", Blobs = "blobs" }
}

label! {
    /// What a variant is.
    TransformFormat {
        Jpeg = "jpeg",
        Png = "png",
        Webp = "webp",
        Avif = "avif",
        Gif = "gif",
        /// The source's own, where that was not found out.
        Source = "source",
        /// The facts of a source, or a placeholder.
        Text = "text",
    }
}

label! {
    /// How the making of a variant ended.
    TransformResult {
        Made = "made",
        /// The source is what was asked for.
        Unchanged = "unchanged",
        /// WebP in place of an AVIF beyond the budget.
        StoodIn = "stood_in",
        /// The source can not be made anything of.
        Failed = "failed",
        TimedOut = "timed_out",
        /// Too many waited.
        Refused = "refused",
    }
}

label! {
    /// A step of making a variant.
    TransformStage {
        /// Waiting for a worker.
        Queue = "queue",
        Decode = "decode",
        Resize = "resize",
        Adjust = "adjust",
        Encode = "encode",
    }
}

label! {
    /// Why something was not written to the SSD.
    Drop { QueueFull = "queue_full", TooLarge = "too_large", Unavailable = "unavailable" }
}

label! {
    /// What a purge covers.
    PurgeScope {
        Url = "url",
        Exact = "exact",
        Prefix = "prefix",
        Tag = "tag",
        Host = "host",
        All = "all",
    }
}

label! {
    /// How a purge was ordered.
    PurgeWay {
        Webhook = "webhook",
        Api = "api",
        /// The method `PURGE` on the edge listener.
        Method = "method",
    }
}

label! {
    /// How an order of a purge ended.
    PurgeResult {
        Applied = "applied",
        /// It had been carried out before.
        Duplicate = "duplicate",
        /// Its commit was not known in time; how it ends is counted besides.
        Pending = "pending",
        /// The log did not take it.
        Failed = "failed",
        /// Wrong, or not allowed.
        Refused = "refused",
        /// Beyond the rate of its key.
        Limited = "limited",
    }
}

label! {
    /// What was found of a stored response when the origin was asked though nothing required it.
    AuditResult {
        Same = "same",
        /// The origin has another by now, and nothing has purged this one.
        Stale = "stale",
        /// The origin could not be asked, or did not say.
        Unknown = "unknown",
    }
}

label! {
    /// What came of exporting a span.
    TraceExport {
        /// The collector has taken it.
        Sent = "sent",
        /// The collector was not reached, was late or refused it; it is lost.
        Failed = "failed",
    }
}

label! {
    /// How a member of the cluster is.
    MemberState { Up = "up", Draining = "draining", Down = "down", Left = "left" }
}

label! {
    /// Why a message of gossip was not looked into.
    GossipDrop {
        /// It was not sealed with this cluster's secret.
        Unsealed = "unsealed",
        Malformed = "malformed",
        /// Of a protocol that is too old or too new.
        Version = "version",
        /// Another node says that it is this one.
        DuplicateId = "duplicate_id",
    }
}

label! {
    /// What a node does for another.
    QuestionErrand { Relay = "relay", Fill = "fill", Look = "look" }
}

label! {
    /// How a question to another node ended.
    QuestionResult {
        Answered = "answered",
        Unreachable = "unreachable",
        Deadline = "deadline",
        /// As many as may be were under way.
        Busy = "busy",
        BreakerOpen = "breaker_open",
        BrokenOff = "broken_off",
        /// The other is of another log of purges, or will not answer.
        Refused = "refused",
    }
}

label! {
    /// What became of a client's request for a key of other nodes.
    ForwardResult {
        /// One of the key's owners answered.
        Relayed = "relayed",
        /// A node beyond them did.
        Spilled = "spilled",
        /// None did, so this one.
        Local = "local",
    }
}

label! {
    /// Where what was missing came from.
    FillFrom { Peer = "peer", PreviousOwner = "previous_owner", Origin = "origin" }
}

label! {
    /// What a key is to a node of a cluster.
    KeyClass {
        Owned = "owned",
        /// Others own it, and copies of it are everywhere.
        Hot = "hot",
        Foreign = "foreign",
    }
}

label! {
    /// What became of a copy that was to be pushed to another owner.
    PushResult {
        Stored = "stored",
        /// The other did not want it: it has it, a purge covers it, or it is too large.
        Refused = "refused",
        Failed = "failed",
        /// Too much waited already.
        Dropped = "dropped",
    }
}

label! {
    /// What became of a copy of a hot key that was to be kept.
    HotCopyResult { Stored = "stored", Refused = "refused", Failed = "failed" }
}

label! {
    /// How a follower of the log of purges stands.
    FollowerState {
        /// It may serve what it has stored.
        Leased = "leased",
        /// It may not, and no receipt waits for it.
        Lapsed = "lapsed",
    }
}
