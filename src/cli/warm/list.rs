//! A list of URLs, one a line, read as it is worked off.
//!
//! Invariant: it holds one line at most, of a bounded length. It does not know what a URL is.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

/// Of a line; an edge takes no URL that is longer.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Of a line that is too long, as it is shown.
const SHOWN_CHARS_MAX: usize = 80;

/// Standard input.
const STDIN: &str = "-";

pub(super) struct List {
    lines: Box<dyn AsyncBufRead + Send + Unpin>,
    /// In bytes; `None` where the end is not known before it comes.
    pub(super) length: Option<u64>,
    read: Progress,
}

/// How many bytes of it have been read.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Url(String),
    /// Its beginning.
    TooLong(String),
}

impl Progress {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl List {
    pub(super) async fn open(path: &str) -> io::Result<Self> {
        if path == STDIN {
            let stdin = io::stdin().as_fd().try_clone_to_owned()?;
            let stdin = File::from_std(stdin.into());
            return Ok(List::new(BufReader::new(stdin), None));
        }
        let file = File::open(Path::new(path)).await?;
        let metadata = file.metadata().await?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let length = metadata.is_file().then_some(metadata.len());
        Ok(List::new(BufReader::new(file), length))
    }

    #[cfg(test)]
    pub(super) fn of(text: &'static [u8]) -> Self {
        List::new(text, None)
    }

    fn new(lines: impl AsyncBufRead + Send + Unpin + 'static, length: Option<u64>) -> Self {
        List {
            lines: Box::new(lines),
            length,
            read: Progress::default(),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.read.clone()
    }

    /// The next URL; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Item>> {
        while let Some((line, length)) = self.line().await? {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if length > LINE_BYTES_MAX {
                return Ok(Some(Item::TooLong(text.chars().take(SHOWN_CHARS_MAX).collect())));
            }
            if !text.is_empty() && !text.starts_with('#') {
                return Ok(Some(Item::Url(text.to_owned())));
            }
        }
        Ok(None)
    }

    /// A line, as much of it as may be held, and its whole length.
    async fn line(&mut self) -> io::Result<Option<(Vec<u8>, usize)>> {
        let (mut line, mut length) = (Vec::new(), 0);
        loop {
            let arrived = self.lines.fill_buf().await?;
            if arrived.is_empty() {
                return Ok((length > 0).then_some((line, length)));
            }
            let end = arrived.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(arrived.len(), |end| end + 1);
            let room = LINE_BYTES_MAX.saturating_sub(line.len());
            line.extend_from_slice(&arrived[..taken.min(room)]);
            length += taken;
            self.lines.consume(taken);
            self.read.0.fetch_add(taken as u64, Ordering::Relaxed);
            if end.is_some() {
                return Ok(Some((line, length)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn items(mut list: List) -> Vec<Item> {
        let mut items = Vec::new();
        while let Some(item) = list.next().await.unwrap() {
            items.push(item);
        }
        items
    }

    fn url(text: &str) -> Item {
        Item::Url(text.into())
    }

    #[tokio::test]
    async fn blank_lines_and_comments_are_skipped_and_the_last_line_needs_no_end() {
        let text: &[u8] =
            b"# all\r\n\r\nhttp://a/1\r\n   \n  http://a/2  \nhttp://a/#x\n#http://a/3\nhttp://a/4";
        let list = List::of(text);
        let progress = list.progress();
        let expected = ["http://a/1", "http://a/2", "http://a/#x", "http://a/4"].map(url);
        assert_eq!(items(list).await, expected);
        assert_eq!(progress.get(), text.len() as u64);
        assert_eq!(items(List::of(b"")).await, []);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_held() {
        let mut text = vec![b'a'; 10 << 20];
        text.extend_from_slice(b"\nhttp://a/1\n");
        let list = List::new(BufReader::with_capacity(512, std::io::Cursor::new(text)), None);
        let items = items(list).await;
        assert_eq!(
            items,
            [Item::TooLong("a".repeat(SHOWN_CHARS_MAX)), url("http://a/1")]
        );
    }
}
