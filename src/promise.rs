//! One value from one thread to whoever waits for it: a task of a shard, or a thread.
//!
//! Invariant: every promise ends, kept or broken. A [`Promise`] that is dropped is broken, so nobody waits for ever for what
//! was lost on its way.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// Both ends of a promise.
pub fn promise<T>() -> (Promise<T>, Answer<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Waiting(None)), ready: Condvar::new() });
    (Promise { slot: Arc::clone(&slot), kept: false }, Answer { slot })
}

/// Who promised the value.
#[derive(Debug)]
pub struct Promise<T> {
    slot: Arc<Slot<T>>,
    kept: bool,
}

/// Who waits for it. As a future it may be polled on any thread.
#[derive(Debug)]
#[must_use = "an answer nobody waits for is a question nobody had"]
pub struct Answer<T> {
    slot: Arc<Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Waiting(Option<Waker>),
    /// `None`: the promise was broken, or the value has been taken.
    Done(Option<T>),
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, value: Option<T>) {
        let before = std::mem::replace(&mut *self.lock(), State::Done(value));
        self.ready.notify_all();
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Promise<T> {
    /// Whether anybody still waits for it.
    pub fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.slot) > 1
    }

    /// Gives the value.
    pub fn keep(mut self, value: T) {
        self.kept = true;
        self.slot.finish(Some(value));
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if !self.kept {
            self.slot.finish(None);
        }
    }
}

impl<T> Future for Answer<T> {
    /// `None`: the promise was broken.
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut *self.slot.lock() {
            State::Done(value) => Poll::Ready(value.take()),
            State::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Answer<T> {
    /// Waits on this thread, `limit` at most. Not for executors, which must never stand still.
    pub fn wait(self, limit: Duration) -> Option<T> {
        let until = Instant::now() + limit;
        let mut state = self.slot.lock();
        loop {
            if let State::Done(value) = &mut *state {
                return value.take();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let (again, _) =
                self.slot.ready.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = again;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{pin::pin, thread};

    #[test]
    fn a_value_reaches_who_waits_on_a_thread_and_who_polls() {
        let (promise, answer) = promise();
        let sender = thread::spawn(move || promise.keep(7));
        assert_eq!(answer.wait(Duration::from_secs(10)), Some(7));
        sender.join().unwrap();

        let (promise, answer) = self::promise();
        let mut answer = pin!(answer);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Pending);
        promise.keep("yes");
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Ready(Some("yes")));
    }

    #[test]
    fn a_promise_that_is_lost_is_broken_and_one_that_takes_too_long_is_given_up() {
        let (lost, answer) = promise::<u8>();
        drop(lost);
        assert_eq!(answer.wait(Duration::from_secs(10)), None);
        let (late, answer) = promise::<u8>();
        assert!(late.is_awaited());
        assert_eq!(answer.wait(Duration::from_millis(1)), None);
        assert!(!late.is_awaited());
    }
}
