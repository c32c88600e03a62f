//! What a pingora or h2 error says about the origin.
//!
//! Invariant: in doubt a failure is not one that may be retried. It decides nothing; it names.

use super::error::OriginError;
use pingora_core::{BError, Error, ErrorType, RetryType};
use std::io::ErrorKind;
use std::sync::Arc;

/// Before any byte of the request was sent.
pub(super) fn connecting(error: &BError) -> OriginError {
    let reason = reason(error);
    match error.root_etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => OriginError::Timeout {
            stage: super::error::Stage::Connect,
        },
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert => OriginError::Tls { reason },
        _ => OriginError::Connect { reason },
    }
}

/// While the request was being sent.
pub(super) fn sending(error: &BError) -> OriginError {
    let reason = reason(error);
    match error.etype() {
        ErrorType::InvalidHTTPHeader => OriginError::Unsendable { reason },
        _ => OriginError::Reset { reason },
    }
}

/// While the response's header was awaited; `limit` is how long a header may be.
pub(super) fn awaiting_header(error: &BError, limit: u64) -> OriginError {
    match error.etype() {
        ErrorType::InvalidHTTPHeader if is_too_long(error) => OriginError::Oversized { limit },
        ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 => malformed(error),
        _ => broken(error),
    }
}

/// While the body was being read, with `received` bytes of it there.
pub(super) fn reading_body(error: &BError, expected: Option<u64>, received: u64) -> OriginError {
    let truncated = OriginError::Truncated { expected, received };
    // pingora's own names; their constants are not public.
    if let ErrorType::Custom("InvalidChunk" | "InvalidTrailerEnd") = error.etype() {
        return malformed(error);
    }
    if *error.etype() == ErrorType::ConnectionClosed || io_kind(error) == Some(ErrorKind::UnexpectedEof) {
        return truncated;
    }
    match (h2_error(error), expected) {
        // h2 itself holds DATA frames against Content-Length and refuses the frame that breaks it.
        (Some(h2), Some(_)) if is_own_protocol_error(h2) => truncated,
        _ => broken(error),
    }
}

/// Whether a connection taken from the pool died before the origin sent any byte of a response.
///
/// For HTTP/1.1 only pingora's message tells how much had arrived; another wording reads as "some".
pub(super) fn died_unanswered(error: &BError) -> bool {
    let nothing_read = error
        .context
        .as_ref()
        .is_some_and(|context| context.as_str().trim_end().ends_with("bytes already read: 0"));
    match error.etype() {
        ErrorType::WriteError => true,
        // The origin refused the stream, or went away without having looked at it.
        ErrorType::H2Error => error.retry == RetryType::Decided(true),
        ErrorType::ConnectionClosed => nothing_read,
        ErrorType::ReadError => match h2_error(error) {
            Some(_) => error.retry == RetryType::ReusedOnly,
            None => nothing_read && is_disconnect(error),
        },
        _ => false,
    }
}

/// An end of the connection, as opposed to bytes that could not be understood.
fn is_disconnect(error: &Error) -> bool {
    matches!(
        io_kind(error),
        Some(
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
        )
    )
}

/// pingora refuses header blocks of 1 MiB or 256 fields with the type it has for garbage.
fn is_too_long(error: &Error) -> bool {
    let too_many = error
        .cause
        .as_ref()
        .is_some_and(|cause| cause.to_string() == "too many headers");
    let context = error.context.as_ref().map_or("", |context| context.as_str());
    too_many || context.starts_with("Response header larger than")
}

fn broken(error: &BError) -> OriginError {
    match h2_error(error) {
        Some(h2) if h2.is_library() => malformed(error),
        _ if io_kind(error) == Some(ErrorKind::InvalidData) => malformed(error),
        _ => OriginError::Reset {
            reason: reason(error),
        },
    }
}

fn is_own_protocol_error(h2: &h2::Error) -> bool {
    h2.is_library() && h2.reason() == Some(h2::Reason::PROTOCOL_ERROR)
}

fn h2_error(error: &Error) -> Option<&h2::Error> {
    error.root_cause().downcast_ref()
}

fn io_kind(error: &Error) -> Option<ErrorKind> {
    let cause = error.root_cause();
    cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
}

fn malformed(error: &BError) -> OriginError {
    OriginError::Malformed {
        reason: reason(error),
    }
}

/// Before a garbled header, which pingora quotes at full length: it may hold cookies, and is left out.
const QUOTED: &str = "buf: ";
const CAUSE: &str = " cause: ";

/// Short, for logs.
fn reason(error: &BError) -> Arc<str> {
    let text = error.to_string();
    let told = match text.split_once(QUOTED) {
        None => text,
        Some((before, quoted)) => {
            let cause = quoted.rfind(CAUSE).map_or("", |at| &quoted[at..]);
            format!("{}{cause}", before.trim_end_matches(" context: "))
        }
    };
    told.chars().take(200).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_garbled_header_is_not_quoted() {
        let garbled = "buf: HTTP/1.1 200 OK\\r\\nSet-Cookie: secret cause: a secret";
        let error = Error::because(ErrorType::InvalidHTTPHeader, garbled, "invalid header name");
        assert_eq!(&*reason(&error), " InvalidHTTPHeader cause: invalid header name");
        let error = Error::explain(ErrorType::ReadError, "reading the header");
        assert_eq!(&*reason(&error), " ReadError context: reading the header");
    }
}
