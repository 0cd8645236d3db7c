//! What the process is told to do: signals, and wishes of its own API. One thread takes them, one after the other.
//!
//! Invariant: an order is given from any thread without waiting; who wants to know what it came to holds an answer.

use std::{
    io,
    sync::mpsc::{self, Receiver, Sender},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::Signals,
};

use crate::promise::{Answer, Promise, promise};

/// One of them.
#[derive(Debug)]
pub enum Order {
    /// SIGHUP: read the configuration again. With who wants to know what it came to.
    Reload(Option<Promise<Reloaded>>),
    /// SIGUSR1: open the log's file anew.
    Reopen,
    /// SIGUSR2: another process has taken the ports over.
    HandOver,
    /// SIGQUIT: take nobody in any more and wait for those who are there.
    Drain,
    /// SIGTERM, SIGINT: tell everybody to go. The signal's number.
    Stop(i32),
}

/// What a reload came to: the keys that are others now, or why everything stays as it was.
pub type Reloaded = Result<Vec<String>, Vec<String>>;

/// Who gives orders; for any thread.
#[derive(Clone, Debug)]
pub struct Orders(Sender<Order>);

/// Signals are orders from now on. Those that come before anybody takes them wait.
///
/// # Errors
/// What the system says.
pub fn listen() -> io::Result<(Orders, Receiver<Order>)> {
    let (sender, orders) = mpsc::channel();
    let mut signals = Signals::new([SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGTERM, SIGINT])?;
    let sent = sender.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let order = match signal {
                SIGHUP => Order::Reload(None),
                SIGUSR1 => Order::Reopen,
                SIGUSR2 => Order::HandOver,
                SIGQUIT => Order::Drain,
                signal => Order::Stop(signal),
            };
            if sent.send(order).is_err() {
                return;
            }
        }
    })?;
    Ok((Orders(sender), orders))
}

impl Orders {
    /// Reads the configuration again; nobody answers when the process is about to end.
    pub fn reload(&self) -> Answer<Reloaded> {
        let (promise, answer) = promise();
        // Nobody takes orders any more: the promise is dropped with the order.
        let _ = self.0.send(Order::Reload(Some(promise)));
        answer
    }
}
