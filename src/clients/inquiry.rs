//! A question to all shards: each answers in its own time, and who asks waits for a bounded one.
//!
//! The question travels as [`Mail`] over the mesh, the answers come back the same way; nothing is shared and nothing blocks.
//! Invariant: an inquiry ends after [`PATIENCE`] at the latest, and names the shards whose answers it does not have.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use futures_lite::FutureExt;
use glommio::timer;
use shards::{ShardId, media::StreamKey};

use super::Entry;
use crate::conn_id::ConnId;

/// How long a shard may take to answer.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// Inquiries of one shard at a time: each may hold a list of all clients.
const OPEN_MAX: usize = 32;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// Who publishes and plays: all, or those of one stream.
    Clients(Option<StreamKey>),
    /// What one client has come to.
    Client(ConnId),
    /// That one client goes.
    Kick(ConnId),
}

/// What one shard answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These; of one client: it, if it is here.
    Entries(Vec<Entry>),
    /// Whether it was here.
    Kicked(bool),
}

impl Answer {
    /// Nobody else will have more to say.
    fn is_final(&self, question: &Question) -> bool {
        match (question, self) {
            (Question::Client(_), Self::Entries(entries)) => !entries.is_empty(),
            (_, Self::Kicked(kicked)) => *kicked,
            _ => false,
        }
    }
}

/// What shards send each other about it.
#[derive(Clone, Debug)]
pub enum Mail {
    /// Asks.
    Question {
        /// Who.
        from: ShardId,
        /// Which of its inquiries.
        number: u64,
        /// What.
        question: Question,
    },
    /// Answers.
    Answer {
        /// Who.
        from: ShardId,
        /// To which inquiry.
        number: u64,
        /// What.
        answer: Answer,
    },
}

/// What an inquiry came to.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// The answers, in the order in which they came.
    pub answers: Vec<Answer>,
    /// The shards that did not answer in time. Empty when an answer settled the matter before.
    pub late: Vec<ShardId>,
}

impl Gathered {
    /// All clients that were named, those who came first before the others.
    pub fn entries(self) -> (Vec<Entry>, Vec<ShardId>) {
        let lists = self.answers.into_iter().filter_map(|answer| match answer {
            Answer::Entries(entries) => Some(entries),
            Answer::Kicked(_) => None,
        });
        let mut all: Vec<Entry> = lists.flatten().collect();
        all.sort_by_key(|entry| (entry.card.began, entry.card.id));
        (all, self.late)
    }

    /// Whether any shard did as it was told.
    pub fn kicked(&self) -> bool {
        self.answers.iter().any(|answer| matches!(answer, Answer::Kicked(true)))
    }
}

/// Too many inquiries are open on this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many questions are being answered on this shard; try again shortly")]
pub struct Busy;

/// The way to the other shards.
pub type Post = Box<dyn Fn(ShardId, Mail) -> Result<(), Mail>>;

/// An inquiry that waits.
struct Open {
    question: Question,
    gathered: Gathered,
    waker: Option<Waker>,
}

/// The inquiries of one shard.
pub struct Inquiries {
    shard: ShardId,
    shards: usize,
    post: Post,
    open: RefCell<HashMap<u64, Open, foldhash::fast::RandomState>>,
    next: Cell<u64>,
}

impl Inquiries {
    /// Of `shard`, which is one of `shards`.
    pub fn new(shard: ShardId, shards: usize, post: Post) -> Rc<Self> {
        Rc::new(Self { shard, shards, post, open: RefCell::default(), next: Cell::default() })
    }

    /// Which shard this is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Asks all shards. `here` answers for this one.
    ///
    /// # Errors
    /// [`Busy`]: the bound on inquiries at a time.
    pub async fn ask(
        self: &Rc<Self>,
        question: Question,
        here: impl Future<Output = Answer>,
    ) -> Result<Gathered, Busy> {
        if self.open.borrow().len() >= OPEN_MAX {
            return Err(Busy);
        }
        let number = self.next.get();
        self.next.set(number + 1);
        let all: Vec<ShardId> = (0..self.shards).map_while(|n| u16::try_from(n).ok()).map(ShardId).collect();
        let gathered = Gathered { answers: Vec::new(), late: all.clone() };
        self.open.borrow_mut().insert(number, Open { question: question.clone(), gathered, waker: None });
        let open = Closes { all: Rc::clone(self), number };
        for to in all.into_iter().filter(|to| *to != self.shard) {
            // A shard that takes no letters is late.
            let _ = (self.post)(to, Mail::Question { from: self.shard, number, question: question.clone() });
        }
        self.note(self.shard, number, here.await);
        let answered = poll_fn(|cx| {
            let mut all = self.open.borrow_mut();
            match all.get_mut(&number) {
                Some(open) if !open.gathered.late.is_empty() => {
                    open.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        });
        answered.or(timer::sleep(PATIENCE)).await;
        Ok(open.take())
    }

    /// Notes an answer.
    pub fn note(&self, from: ShardId, number: u64, answer: Answer) {
        let mut all = self.open.borrow_mut();
        // One that is over needs no more answers.
        let Some(open) = all.get_mut(&number) else { return };
        open.gathered.late.retain(|late| *late != from);
        if answer.is_final(&open.question) {
            open.gathered.late.clear();
        }
        open.gathered.answers.push(answer);
        if open.gathered.late.is_empty()
            && let Some(waker) = open.waker.take()
        {
            waker.wake();
        }
    }

    /// Sends an answer to the shard that asked. What finds no room is late.
    pub fn reply(&self, to: ShardId, number: u64, answer: Answer) {
        let _ = (self.post)(to, Mail::Answer { from: self.shard, number, answer });
    }
}

/// An inquiry that ends with its asker, should that be dropped.
struct Closes {
    all: Rc<Inquiries>,
    number: u64,
}

impl Closes {
    fn take(self) -> Gathered {
        let open = self.all.open.borrow_mut().remove(&self.number);
        open.map(|open| open.gathered).unwrap_or_default()
    }
}

impl Drop for Closes {
    fn drop(&mut self) {
        self.all.open.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, time::Instant};

    use glommio::LocalExecutorBuilder;

    use super::*;

    type Outbox = Rc<RefCell<Vec<(ShardId, Mail)>>>;

    fn inquiries(shards: usize) -> (Rc<Inquiries>, Outbox) {
        let outbox = Outbox::default();
        let posted = Rc::clone(&outbox);
        let post = move |to, mail| {
            posted.borrow_mut().push((to, mail));
            Ok(())
        };
        (Inquiries::new(ShardId(0), shards, Box::new(post)), outbox)
    }

    fn on_an_executor<F: Future<Output = ()> + 'static>(story: impl FnOnce() -> F + Send + 'static) {
        let executor = LocalExecutorBuilder::default().io_memory(1 << 20);
        executor.spawn(story).expect("an executor").join().expect("no panic");
    }

    #[test]
    fn all_shards_are_asked_and_their_answers_gathered() {
        on_an_executor(|| async move {
            let (inquiries, outbox) = inquiries(3);
            let answering = Rc::clone(&inquiries);
            let others = glommio::spawn_local(async move {
                timer::sleep(Duration::from_millis(5)).await;
                for (to, mail) in outbox.take() {
                    let Mail::Question { from: ShardId(0), number, .. } = mail else { panic!("{mail:?}") };
                    answering.note(to, number, Answer::Entries(Vec::new()));
                }
            });
            let asked = inquiries.ask(Question::Clients(None), ready(Answer::Entries(Vec::new())));
            let gathered = asked.await.expect("not busy");
            others.await;
            assert_eq!((gathered.answers.len(), gathered.late), (3, vec![]));
            assert!(inquiries.open.borrow().is_empty());
        });
    }

    #[test]
    fn a_late_shard_is_named_and_not_waited_for() {
        on_an_executor(|| async move {
            let (inquiries, outbox) = inquiries(2);
            let start = Instant::now();
            let asked = inquiries.ask(Question::Clients(None), ready(Answer::Entries(Vec::new())));
            let gathered = asked.await.expect("not busy");
            assert_eq!((gathered.answers.len(), gathered.late), (1, vec![ShardId(1)]));
            assert!(start.elapsed() >= PATIENCE && start.elapsed() < 4 * PATIENCE, "{:?}", start.elapsed());
            let Some((_, Mail::Question { number, .. })) = outbox.borrow_mut().pop() else {
                panic!("it was asked")
            };
            // Its answer comes to nobody.
            inquiries.note(ShardId(1), number, Answer::Kicked(false));
            assert!(inquiries.open.borrow().is_empty());
        });
    }

    #[test]
    fn who_has_the_client_settles_the_matter() {
        on_an_executor(|| async move {
            let (inquiries, _) = inquiries(64);
            let start = Instant::now();
            let asked = inquiries.ask(Question::Kick(ConnId::random()), ready(Answer::Kicked(true)));
            let gathered = asked.await.expect("not busy");
            assert!(gathered.kicked() && gathered.late.is_empty());
            assert!(start.elapsed() < PATIENCE);
        });
    }
}
