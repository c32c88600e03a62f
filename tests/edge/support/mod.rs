//! The parts a test is made of: an edge, an origin that does as it is told, clients that see every byte.

pub(crate) mod answer;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod command;
pub(crate) mod edge;
pub(crate) mod handover;
pub(crate) mod http2;
pub(crate) mod image;
pub(crate) mod load;
pub(crate) mod nobody;
pub(crate) mod origin;
pub(crate) mod picture;
pub(crate) mod purging;
pub(crate) mod reply;
pub(crate) mod variant;
pub(crate) mod wait;

pub(crate) use answer::Answer;
pub(crate) use certificate::Certificate;
pub(crate) use client::{Client, HOST, get, get_with, request};
pub(crate) use edge::{Edge, Setup};
pub(crate) use http2::Http2;
pub(crate) use nobody::Nobody;
pub(crate) use origin::Origin;
pub(crate) use picture::picture;
pub(crate) use reply::Reply;
pub(crate) use wait::{Gate, PATIENCE, eventually};
