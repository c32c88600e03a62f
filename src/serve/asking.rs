//! A question to an origin, as a trace tells it.
//!
//! Invariant: who asks through it hears and says what it would without. It does not know what the answer is good for.

use super::failure::FlightFailure;
use super::flight::Flight;
use crate::base::metrics::Label;
use crate::trace::{Span, Stage, Trace, attribute};
use crate::upstream::{
    BodyGone, Connected, Interim, Origin, OriginError, OriginRequest, OriginResponse, RequestBody, Reuse,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;

/// Who asks, and the span that says so.
pub(super) struct Asking<B> {
    span: Span,
    body: B,
}

/// What is told of a flight's questions.
pub(crate) struct Questions {
    trace: Trace,
    /// The latest, while its answer comes.
    latest: Mutex<Span>,
}

/// All who wait for a flight: they have no body to send.
pub(super) struct Crowd(pub(super) Arc<Flight>);

impl<B: RequestBody> Asking<B> {
    /// The origin hears of the span, where there is one.
    pub(super) fn begin(trace: &Trace, origin: &Origin, request: &mut OriginRequest, body: B) -> Self {
        let mut span = trace.stage(Stage::Origin);
        span.text(attribute::ORIGIN, origin.name());
        span.continue_in(&mut request.headers);
        Asking { span, body }
    }

    /// The span, which may go on until the body has come.
    pub(super) fn answered(self, answer: &Result<OriginResponse, OriginError>) -> Span {
        let mut span = self.span;
        match answer {
            Ok(response) => {
                let status = response.status.as_u16();
                span.number(attribute::HTTP_RESPONSE_STATUS_CODE, status.into());
            }
            Err(error) => {
                if let Some(reason) = error.failure() {
                    span.word(attribute::ERROR_TYPE, reason.name());
                }
                span.fail(error);
            }
        }
        span
    }
}

impl Questions {
    pub(super) fn of(trace: &Trace) -> Self {
        Questions {
            trace: trace.clone(),
            latest: Mutex::default(),
        }
    }

    pub(super) fn begin<B: RequestBody>(
        &self,
        origin: &Origin,
        request: &mut OriginRequest,
        body: B,
    ) -> Asking<B> {
        Asking::begin(&self.trace, origin, request, body)
    }

    /// It goes on until its body has come.
    pub(super) fn answered<B: RequestBody>(
        &self,
        asking: Asking<B>,
        answer: &Result<OriginResponse, OriginError>,
    ) {
        *self.latest.lock() = asking.answered(answer);
    }

    /// The body has come, or will not.
    pub(super) fn ended_with<T>(&self, body: Result<T, FlightFailure>) -> Result<T, FlightFailure> {
        let mut latest = std::mem::take(&mut *self.latest.lock());
        body.inspect_err(|failure| latest.fail(failure))
    }

    /// What came is stored, for as long as this lives.
    pub(super) fn store(&self) -> Span {
        drop(std::mem::take(&mut *self.latest.lock()));
        self.trace.stage(Stage::Store)
    }
}

impl<B: RequestBody> RequestBody for &mut Asking<B> {
    fn is_absent(&self) -> bool {
        self.body.is_absent()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        self.body.next().await
    }

    async fn interim(&mut self, interim: Interim) {
        self.body.interim(interim).await;
    }

    fn connected(&mut self, connected: Connected<'_>) {
        let (host, port) = attribute::host_and_port(connected.authority);
        self.span.text(attribute::SERVER_ADDRESS, host);
        if let Some(port) = port {
            self.span.number(attribute::SERVER_PORT, port.into());
        }
        let connection = match connected.reuse {
            Reuse::Fresh => "new",
            Reuse::Pooled => "reused",
        };
        self.span.word(attribute::CONNECTION, connection);
        self.body.connected(connected);
    }

    fn takes_trailers(&self) -> bool {
        self.body.takes_trailers()
    }
}

impl RequestBody for Crowd {
    fn is_absent(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        Ok(None)
    }

    async fn interim(&mut self, interim: Interim) {
        self.0.hint(interim);
    }
}
