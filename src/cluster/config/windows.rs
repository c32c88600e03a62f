//! How much may be sent on a connection between nodes ahead of being read.
//!
//! Invariant: the connection's window holds what all its messages may send together, so that one that nobody reads holds back itself
//! and no other. It does not know what the messages are.

use crate::base::units::ByteSize;

/// RFC 9113 section 6.9.1.
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    pub stream: u32,
    pub connection: u32,
}

impl Windows {
    /// Of a connection with so many messages at once. Where they are too many for the window that is wanted, each has a smaller one.
    pub(super) fn of(stream: ByteSize, streams: u32) -> Self {
        let streams = streams.max(1);
        let wanted = u32::try_from(stream.bytes()).unwrap_or(u32::MAX);
        let stream = wanted.min(WINDOW_BYTES_MAX / streams);
        Windows {
            stream,
            connection: stream.saturating_mul(streams),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config::Config;

    #[test]
    fn a_connection_has_room_for_all_that_nobody_reads() {
        for streams_max in [1, 2, 512, 3_333, 10_000] {
            for stream_window in [ByteSize::kib(64), ByteSize::kib(256), ByteSize::mib(16)] {
                let config = Config {
                    streams_max,
                    stream_window,
                    ..Config::default()
                };
                let windows = config.windows_of_questions();
                assert!(windows.connection <= WINDOW_BYTES_MAX);
                assert!(u64::from(windows.stream) * u64::from(streams_max) <= u64::from(windows.connection));
                assert!(u64::from(windows.stream) <= stream_window.bytes());
                assert!(windows.stream >= 64 << 10);
            }
        }
    }

    #[test]
    fn all_that_a_peer_may_answer_at_once_has_room() {
        for (requests_max, expected) in [(488, 1_000), (usize::MAX, 10_000)] {
            let config = Config {
                requests_max,
                ..Config::default()
            };
            let windows = config.windows_of_answers();
            assert_eq!(windows.connection / windows.stream, expected);
        }
    }
}
