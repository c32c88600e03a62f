//! The process before, as the one that takes its place sees it.
//!
//! Invariant: while it lives, nothing of its cache or its log is opened before it has said so. It does not know why it ends.

use super::channel::{Channel, Inherited, Word, receive_sockets};
use super::{HandOverError, STANDARD_INPUT, VARIABLE};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

pub(in crate::app) struct Predecessor {
    channel: Channel,
    process: u32,
}

impl Predecessor {
    /// Where there is one, with its sockets. To be called once, within a runtime.
    pub(in crate::app) fn find() -> Result<Option<(Predecessor, Inherited)>, HandOverError> {
        if std::env::var_os(VARIABLE).is_none_or(|value| value != STANDARD_INPUT) {
            return Ok(None);
        }
        let input = std::io::stdin().as_fd().try_clone_to_owned();
        let stream = UnixStream::from(input.map_err(HandOverError::Sockets)?);
        let (process, inherited) = receive_sockets(&stream).map_err(HandOverError::Sockets)?;
        let channel = Channel::new(stream).map_err(HandOverError::Sockets)?;
        Ok(Some((Predecessor { channel, process }, inherited)))
    }

    /// Says that all is prepared, and waits until log and cache are free.
    pub(in crate::app) async fn release(&mut self) -> Result<(), HandOverError> {
        self.channel.say(Word::Prepared).await?;
        self.channel.hear(Word::Yours).await
    }

    /// Says that log and cache are open, and waits until the other answers nothing from its own any more: also where it
    /// has ended.
    ///
    /// # Errors
    /// When it says something else: it may not have.
    pub(in crate::app) async fn retire(mut self) -> Result<(), HandOverError> {
        let retired = async {
            self.channel.say(Word::Ready).await?;
            self.channel.hear(Word::Retired).await
        };
        match retired.await {
            Ok(()) | Err(HandOverError::Ended) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(process = self.process, "serving in the place of another process");
        Ok(())
    }
}
