//! `aquatint warm`: a running edge fetches images, so that clients find them stored.
//!
//! 1. workers, as many as may ask at once, take URLs from the list one by one, at the pace that is wanted;
//! 2. each asks the edge and waits as long as that takes; where the edge has no place free it waits and asks again;
//! 3. what comes of each is told and counted here, in one place.
//!
//! Invariant: no more of the list is held than the workers work at, however long it is. What goes wrong with one URL stops no
//! other; only an edge that is not there, or wants no orders of this caller, ends it all.

mod list;
mod pace;
mod show;
mod tally;

use super::CommandError;
use super::access::{self, Access, shown, text};
use super::client::{Admin, Client, Method, NoAnswer, Repeat, Request};
use super::exit::Exit;
use super::get::went_well;
use clap::Args;
use list::{Item, List};
use pace::Pace;
use serde_json::{Value, json};
use show::Show;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tally::Tally;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// An image may take as long as the edge lets it: `admin.warm_deadline`.
const IMAGE_PATIENCE: Duration = Duration::from_secs(300);

/// How often an edge that can not be reached, or has no place free, is asked again.
const REACHES_MAX: u32 = 3;
const BUSY_MAX: u32 = 300;

const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX_S: u64 = 60;

/// Also the results that may wait to be printed.
const CONCURRENCY_MAX: u16 = 256;

#[derive(Args, Debug)]
pub(super) struct Warm {
    /// A file with one URL a line, or - for standard input. Blank lines, and those that begin with #, are skipped.
    #[arg(value_name = "FILE")]
    list: String,
    /// Requests at once; the edge has a limit of its own, admin.warm_max.
    #[arg(long, value_name = "COUNT", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=CONCURRENCY_MAX as i64))]
    concurrency: u16,
    /// Requests a second at most.
    #[arg(long, value_name = "PER SECOND", value_parser = pace::rate)]
    rate: Option<f64>,
    #[command(flatten)]
    access: Access,
}

/// What came of one URL.
#[derive(Debug)]
pub(super) struct Warmed {
    url: String,
    ending: Ending,
    /// As the edge told it, where it did.
    told: Value,
}

#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Well,
    Failed { why: String },
}

/// What workers have in common.
struct Work {
    list: Mutex<(List, Pace)>,
    admin: Admin,
    done: mpsc::Sender<Result<Warmed, CommandError>>,
}

pub(super) async fn run(warm: &Warm, output: &mut impl Write) -> Result<Exit, CommandError> {
    let list = List::open(&warm.list)
        .await
        .map_err(|cause| unreadable(&warm.list, &cause))?;
    let mut show = Show::new(&warm.access, &list);
    let progress = list.progress();
    let (done, mut results) = mpsc::channel(CONCURRENCY_MAX.into());
    let work = Arc::new(Work {
        list: Mutex::new((list, Pace::new(warm.rate))),
        admin: warm.access.admin.clone(),
        done,
    });
    let mut workers = JoinSet::new();
    for _ in 0..warm.concurrency {
        workers.spawn(work.clone().run(warm.access.client()?));
    }
    drop(work);
    let mut tally = Tally::begin();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let ended = loop {
        tokio::select! {
            result = results.recv() => match result {
                Some(Ok(warmed)) => {
                    tally.count(&warmed);
                    show.one(&warmed, &tally, progress.get(), output)?;
                }
                Some(Err(fatal)) => break Err(fatal),
                None => break Ok(()),
            },
            _ = &mut interrupted => {
                tally.interrupt();
                break Ok(());
            }
        }
    };
    workers.abort_all();
    show.end(&tally, output)?;
    ended.map(|()| tally.exit())
}

fn unreadable(list: &str, cause: &std::io::Error) -> CommandError {
    CommandError::Usage(format!("{}: {cause}", shown(list)))
}

impl Work {
    async fn run(self: Arc<Self>, mut client: Client) {
        // When nobody takes results any more, it is over.
        while let Some(result) = self.next(&mut client).await {
            if self.done.send(result).await.is_err() {
                return;
            }
        }
    }

    /// `None` at the list's end.
    async fn next(&self, client: &mut Client) -> Option<Result<Warmed, CommandError>> {
        let item = {
            let (list, pace) = &mut *self.list.lock().await;
            let item = list.next().await;
            if matches!(item, Ok(Some(_))) {
                pace.wait().await;
            }
            item
        };
        match item {
            Ok(None) => None,
            Ok(Some(Item::Url(url))) => Some(self.warm(client, url).await),
            Ok(Some(Item::TooLong(beginning))) => Some(Ok(Warmed::failed(beginning, "the line is too long"))),
            Err(cause) => Some(Err(CommandError::System(cause))),
        }
    }

    async fn warm(&self, client: &mut Client, url: String) -> Result<Warmed, CommandError> {
        let body = json!({ "url": url }).to_string();
        let request = Request {
            method: Method::Post,
            path: "/api/v1/warm",
            headers: vec![("Content-Type", "application/json")],
            body: body.as_bytes(),
            repeat: Repeat::Harmless,
        };
        let (mut reaches, mut busy) = (0, 0);
        loop {
            match client.ask(&request, IMAGE_PATIENCE).await {
                Ok(answer) if answer.status == 429 && busy < BUSY_MAX => {
                    busy += 1;
                    let pause_s = answer.retry_after_s.unwrap_or(1).clamp(1, PAUSE_MAX_S);
                    tokio::time::sleep(Duration::from_secs(pause_s)).await;
                }
                Ok(answer) => return self.judge(url, access::told(&self.admin, &answer, "outcome")),
                Err(NoAnswer::Unsent(_)) if reaches < REACHES_MAX => {
                    reaches += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failed @ NoAnswer::Unsent(_)) => return Err(access::unanswered(&self.admin, failed)),
                Err(NoAnswer::Unheard(cause)) => {
                    return Ok(Warmed::failed(url, &format!("the edge gave no answer: {cause}")));
                }
            }
        }
    }

    /// What would be so for every URL is fatal.
    fn judge(&self, url: String, told: Result<Value, CommandError>) -> Result<Warmed, CommandError> {
        match told {
            Ok(told) => Ok(Warmed::of(url, told)),
            Err(CommandError::Refused { status, message }) if !matches!(status, 401 | 403 | 404 | 405) => {
                Ok(Warmed::failed(url, &message))
            }
            Err(fatal) => Err(fatal),
        }
    }
}

impl Warmed {
    fn of(url: String, told: Value) -> Self {
        let ending = match went_well(&told) {
            true => Ending::Well,
            false => Ending::Failed {
                why: format!("{} {}", told["status"], text(&told["note"]))
                    .trim()
                    .to_owned(),
            },
        };
        Warmed { url, ending, told }
    }

    fn failed(url: String, why: &str) -> Self {
        Warmed {
            url,
            ending: Ending::Failed { why: why.to_owned() },
            told: Value::Null,
        }
    }

    /// Of a URL that the edge would not even look at there is none.
    fn outcome(&self) -> &str {
        match text(&self.told["outcome"]) {
            "" => "refused",
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> (Work, mpsc::Receiver<Result<Warmed, CommandError>>) {
        let (done, results) = mpsc::channel(1);
        let work = Work {
            list: Mutex::new((List::of(b""), Pace::new(None))),
            admin: "http://127.0.0.1:1".parse().unwrap(),
            done,
        };
        (work, results)
    }

    #[test]
    fn what_is_wrong_with_one_url_stops_no_other_and_what_is_wrong_with_all_does() {
        let (work, _results) = work();
        for (status, is_fatal) in [
            (400, false),
            (422, false),
            (429, false),
            (401, true),
            (403, true),
            (404, true),
        ] {
            let told = Err(access::refused(status, &Value::Null));
            let judged = work.judge("http://a/b".into(), told);
            assert_eq!(judged.is_err(), is_fatal, "{status}");
        }
        let told = json!({"outcome": "miss", "status": 404, "note": "n"});
        let warmed = work.judge("http://a/b".into(), Ok(told)).unwrap();
        assert_eq!(warmed.ending, Ending::Failed { why: "404 n".into() });
    }
}
