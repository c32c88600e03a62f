//! What two processes say to each other: sockets once, then words.
//!
//! Invariant: a word is understood whole or not at all. It does not know what follows from it.

use super::HandOverError;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as BlockingStream;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Clear, TLS, admin, and two of the cluster's.
const SOCKETS_MAX: usize = 8;

/// Of the message that comes with the sockets.
const OFFER_BYTES_MAX: usize = 4096;

const WORD_BYTES_MAX: u64 = 64;

/// Which listener a socket is, with the address that the configuration gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::app) enum Place {
    Edge(SocketAddr),
    EdgeTls(SocketAddr),
    Admin(SocketAddr),
    /// TCP.
    Cluster(SocketAddr),
    /// UDP.
    Gossip(SocketAddr),
}

/// A listening socket for another process.
#[derive(Debug)]
pub(in crate::app) struct Handed {
    pub(in crate::app) place: Place,
    pub(in crate::app) socket: OwnedFd,
}

/// The sockets of the process before, as far as nobody has taken them up.
#[derive(Debug, Default)]
pub(in crate::app) struct Inherited(Vec<Handed>);

impl Inherited {
    /// `S` is of the place's kind.
    pub(in crate::app) fn take<S: From<OwnedFd>>(&mut self, place: &Place) -> Option<S> {
        let position = self.0.iter().position(|handed| handed.place == *place)?;
        Some(self.0.swap_remove(position).socket.into())
    }
}

/// What comes with the sockets, in their order.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Offer {
    process: u32,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Prepared,
    Yours,
    Ready,
    Retired,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Word::Prepared => "prepared",
            Word::Yours => "yours",
            Word::Ready => "ready",
            Word::Retired => "retired",
        }
    }
}

pub(super) fn send_sockets(channel: &BlockingStream, sockets: &[Handed]) -> io::Result<()> {
    let offer = Offer {
        process: std::process::id(),
        places: sockets.iter().map(|handed| handed.place).collect(),
    };
    let text = serde_json::to_vec(&offer)?;
    let descriptors: Vec<_> = sockets.iter().map(|handed| handed.socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if descriptors.len() > SOCKETS_MAX || !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(channel, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    match sent == text.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// The process that hands over, and its sockets.
pub(super) fn receive_sockets(channel: &BlockingStream) -> io::Result<(u32, Inherited)> {
    let mut text = [0; OFFER_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(channel, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
    let sockets: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let Offer { process, places } = serde_json::from_slice(&text[..received.bytes])?;
    if places.len() != sockets.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let pairs = places.into_iter().zip(sockets);
    let handed = pairs.map(|(place, socket)| Handed { place, socket }).collect();
    Ok((process, Inherited(handed)))
}

/// One end, once the sockets are through.
pub(super) struct Channel(BufReader<UnixStream>);

impl Channel {
    pub(super) fn new(stream: BlockingStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Channel(BufReader::new(UnixStream::from_std(stream)?)))
    }

    pub(super) async fn say(&mut self, word: Word) -> Result<(), HandOverError> {
        let line = format!("{}\n", word.text());
        let said = self.0.get_mut().write_all(line.as_bytes()).await;
        said.map_err(|_| HandOverError::Ended)
    }

    pub(super) async fn hear(&mut self, word: Word) -> Result<(), HandOverError> {
        let mut line = String::new();
        match (&mut self.0).take(WORD_BYTES_MAX).read_line(&mut line).await {
            Ok(_) if line.strip_suffix('\n') == Some(word.text()) => Ok(()),
            Ok(0) | Err(_) => Err(HandOverError::Ended),
            Ok(_) => Err(HandOverError::Misunderstood(line)),
        }
    }

    pub(super) async fn hear_within(&mut self, word: Word, deadline: Duration) -> Result<(), HandOverError> {
        let heard = timeout(deadline, self.hear(word)).await;
        heard.unwrap_or(Err(HandOverError::Late(deadline)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn a_socket_arrives_as_the_listener_it_was_and_is_taken_once() {
        let (sender, receiver) = BlockingStream::pair().unwrap();
        let listener = TcpListener::bind(address()).unwrap();
        let bound = listener.local_addr().unwrap();
        let place = Place::Edge(address());
        let socket = listener.into();
        send_sockets(&sender, &[Handed { place, socket }]).unwrap();
        let (process, mut inherited) = receive_sockets(&receiver).unwrap();
        assert_eq!(process, std::process::id());
        assert!(inherited.take::<TcpListener>(&Place::Admin(address())).is_none());
        let taken: TcpListener = inherited.take(&place).unwrap();
        assert_eq!(taken.local_addr().unwrap(), bound);
        assert!(inherited.take::<TcpListener>(&place).is_none());
    }

    #[test]
    fn what_is_no_offer_is_refused() {
        for wrong in [
            "",
            "hello",
            "{\"process\": 1}",
            "{\"process\":1,\"places\":[{\"edge\":\"127.0.0.1:1\"}]}",
        ] {
            let (mut sender, receiver) = BlockingStream::pair().unwrap();
            sender.write_all(wrong.as_bytes()).unwrap();
            drop(sender);
            assert!(receive_sockets(&receiver).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn another_word_and_the_end_are_told_apart() {
        let (one, other) = BlockingStream::pair().unwrap();
        let (mut one, mut other) = (Channel::new(one).unwrap(), Channel::new(other).unwrap());
        one.say(Word::Ready).await.unwrap();
        one.say(Word::Yours).await.unwrap();
        other.hear(Word::Ready).await.unwrap();
        let misunderstood = other.hear(Word::Prepared).await.unwrap_err();
        assert!(matches!(misunderstood, HandOverError::Misunderstood(word) if word == "yours\n"));
        drop(one);
        assert!(matches!(other.hear(Word::Ready).await, Err(HandOverError::Ended)));
    }
}
