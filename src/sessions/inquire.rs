//! What a shard answers when all shards are asked for their clients.
//!
//! A long roster is read in slices, between which media flows.

use std::{rc::Rc, time::Instant};

use super::{Context, Parcel};
use crate::{
    clients::{
        Entry, Inquiries,
        inquiry::{Answer, Busy, Gathered, Mail, Question},
    },
    conn_id::ConnId,
};
use shards::Shard;

/// Places of the roster that are read at once: some microseconds' worth.
const SLICE: usize = 128;

/// The inquiries of `shard`, by way of its outbox.
pub fn inquiries(shard: &Rc<Shard<Parcel>>) -> Rc<Inquiries> {
    let (id, shards) = (shard.id(), shard.placement().shards());
    let sender = Rc::clone(shard);
    let post = move |to, mail| match sender.outbox().send(to, Parcel::Mail(mail)) {
        Ok(()) => Ok(()),
        Err(Parcel::Mail(mail)) => Err(mail),
        Err(_) => unreachable!("what comes back is what was sent"),
    };
    Inquiries::new(id, shards, Box::new(post))
}

impl Context {
    /// Asks all shards, this one included.
    ///
    /// # Errors
    /// [`Busy`] when too many ask at a time.
    pub async fn ask(&self, question: Question) -> Result<Gathered, Busy> {
        self.inquiries.ask(question.clone(), self.answer(question)).await
    }

    /// Takes a letter that belongs to an inquiry.
    pub(super) fn read(self: &Rc<Self>, mail: Mail) {
        match mail {
            Mail::Answer { from, number, answer } => self.inquiries.note(from, number, answer),
            Mail::Question { from, number, question } => {
                let context = Rc::clone(self);
                let answering = async move {
                    let answer = context.answer(question).await;
                    context.inquiries.reply(from, number, answer);
                };
                shards::spawn(answering, |panic| tracing::error!("answering panicked: {panic}"));
            }
        }
    }

    async fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Clients(key) => {
                let (mut entries, mut from) = (Vec::new(), Some(0));
                while let Some(at) = from {
                    let wanted =
                        |card: &crate::clients::Card| key.as_ref().is_none_or(|key| card.key == *key);
                    from = self.roster.list(at, SLICE, wanted, self.shard.id(), &mut entries);
                    glommio::executor().yield_task_queue_now().await;
                }
                Answer::Entries(entries)
            }
            Question::Client(id) => Answer::Entries(self.client(id).into_iter().collect()),
            Question::Kick(id) => {
                let kicked = self.client(id).is_some() && self.connections.kick(id);
                if kicked {
                    tracing::info!(conn = %id, "an operator closes the connection");
                }
                Answer::Kicked(kicked)
            }
        }
    }

    fn client(&self, id: ConnId) -> Option<Entry> {
        self.roster.find(id, self.shard.id(), Instant::now())
    }
}
