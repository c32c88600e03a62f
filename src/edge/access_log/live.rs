//! The live log: lines as they come, for whoever follows.
//!
//! Invariant: a follower is never waited for. What does not fit into its buffer it misses, and is told how many lines that
//! were. It does not know who follows, nor where lines are written to.

use super::config::AccessLog;
use super::filter::Filter;
use super::format;
use super::shown::Shown;
use super::text::Dates;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// Those who follow.
pub(super) struct Followers {
    count_max: usize,
    /// What may wait for each of those to come.
    bytes_max: usize,
    queues: Vec<Arc<Queue>>,
    closed: bool,
}

/// Between the writer and one follower.
pub(super) struct Queue {
    filter: Filter,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    missed: u64,
    closed: bool,
}

impl Followers {
    pub(super) fn new(config: &AccessLog) -> Self {
        Followers {
            count_max: config.followers_max,
            bytes_max: config.follower_buffer.as_usize(),
            queues: Vec::new(),
            closed: false,
        }
    }

    /// Those who follow already go on as they are.
    pub(super) fn limit(&mut self, config: &AccessLog) {
        self.count_max = config.followers_max;
        self.bytes_max = config.follower_buffer.as_usize();
    }

    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    /// `None` where as many follow as may.
    pub(super) fn add(&mut self, filter: Filter) -> Option<Arc<Queue>> {
        if self.len() >= self.count_max {
            return None;
        }
        let waiting = Waiting {
            closed: self.closed,
            ..Waiting::default()
        };
        let queue = Arc::new(Queue {
            filter,
            bytes_max: self.bytes_max,
            waiting: Mutex::new(waiting),
            changed: Notify::new(),
        });
        self.queues.push(queue.clone());
        Some(queue)
    }

    pub(super) fn remove(&mut self, queue: &Arc<Queue>) {
        self.queues.retain(|other| !Arc::ptr_eq(other, queue));
    }

    /// Hands a line to those who want it; `scratch` is where it is formatted.
    pub(super) fn tell(&self, shown: &Shown<'_>, dates: &mut Dates, scratch: &mut Vec<u8>) {
        scratch.clear();
        for queue in self
            .queues
            .iter()
            .filter(|queue| queue.filter.lets_through(shown))
        {
            if scratch.is_empty() {
                format::push_json(scratch, dates, shown);
            }
            queue.push(scratch);
        }
    }

    /// Wakes who has something to read: once for many lines.
    pub(super) fn wake(&self) {
        let has_news = |queue: &&Arc<Queue>| !queue.waiting.lock().is_empty();
        self.queues
            .iter()
            .filter(has_news)
            .for_each(|queue| queue.changed.notify_one());
    }

    /// No line comes any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for queue in &self.queues {
            queue.waiting.lock().closed = true;
            queue.changed.notify_one();
        }
    }
}

impl Queue {
    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        // What was missed stands behind the lines that wait: nothing may come between.
        if waiting.missed > 0 || waiting.lines.len() + line.len() > self.bytes_max {
            waiting.missed += 1;
        } else {
            waiting.lines.extend_from_slice(line);
        }
    }

    /// Whole lines; `None` when there will never be one again.
    pub(super) async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if !waiting.is_empty() {
                    return Some(waiting.take());
                }
                if waiting.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.missed == 0
    }

    fn take(&mut self) -> Bytes {
        let mut lines = std::mem::take(&mut self.lines);
        if self.missed > 0 {
            lines.extend_from_slice(format!("{{\"missed\":{}}}\n", self.missed).as_bytes());
            self.missed = 0;
        }
        lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::ShownQuery;
    use super::super::line::tests::line;
    use super::*;
    use crate::base::units::ByteSize;

    fn followers(follower_buffer: ByteSize) -> Followers {
        Followers::new(&AccessLog {
            followers_max: 2,
            follower_buffer,
            ..AccessLog::default()
        })
    }

    fn tell(followers: &Followers, target: &str) {
        let (line, mut query) = (line(target.as_bytes()), Vec::new());
        let shown = Shown::of(&line, ShownQuery::Known, &mut query);
        followers.tell(&shown, &mut Dates::default(), &mut Vec::new());
        followers.wake();
    }

    async fn next(queue: &Queue) -> String {
        String::from_utf8(queue.next().await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_how_many_lines_it_missed_and_goes_on() {
        let mut followers = followers(ByteSize(500));
        let queue = followers.add(Filter::default()).unwrap();
        for number in 0..5 {
            tell(&followers, &format!("/{number}"));
        }
        let lines = next(&queue).await;
        let mut told = lines.lines();
        assert!(told.next().unwrap().contains("\"path\":\"/0\""));
        assert_eq!(told.next(), Some("{\"missed\":4}"));
        assert_eq!(told.next(), None);
        tell(&followers, "/5");
        assert!(next(&queue).await.contains("\"path\":\"/5\""));
    }

    #[tokio::test]
    async fn who_follows_sees_what_its_filter_lets_through() {
        let mut followers = followers(ByteSize::mib(1));
        let all = followers.add(Filter::default()).unwrap();
        let some = followers.add(Filter::parse([("path", "/b")]).unwrap()).unwrap();
        tell(&followers, "/a");
        tell(&followers, "/b");
        assert_eq!(next(&all).await.lines().count(), 2);
        assert_eq!(next(&some).await.lines().count(), 1);
    }

    #[tokio::test]
    async fn no_more_follow_than_may_and_one_who_leaves_makes_room() {
        let mut followers = followers(ByteSize::mib(1));
        let first = followers.add(Filter::default()).unwrap();
        assert!(followers.add(Filter::default()).is_some());
        assert!(followers.add(Filter::default()).is_none());
        followers.remove(&first);
        assert!(followers.add(Filter::default()).is_some());
    }

    #[tokio::test]
    async fn the_end_is_told_after_the_last_line() {
        let mut followers = followers(ByteSize::mib(1));
        let queue = followers.add(Filter::default()).unwrap();
        tell(&followers, "/a");
        followers.close();
        assert_eq!(next(&queue).await.lines().count(), 1);
        assert!(queue.next().await.is_none());
        assert!(followers.add(Filter::default()).unwrap().next().await.is_none());
    }
}
