//! The demo's switch: on and off while the server runs.
//!
//! Turning it off does not wait for the demo's thread, so that a shard may do it.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{Demo, Options};

/// See the module.
#[derive(Debug)]
pub struct Control {
    options: Option<Options>,
    running: Mutex<Option<Demo>>,
}

/// Why the demo cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It publishes by RTMP, and RTMP is off.
    #[error("the demo publishes by RTMP, which is off (rtmp.enable)")]
    NoRtmp,
    /// The system gives no thread.
    #[error("the demo cannot start: {0}")]
    Thread(#[from] io::Error),
}

impl Control {
    /// Off. `options`: where the demo would go; `None`: nowhere.
    pub fn new(options: Option<Options>) -> Self {
        Self { options, running: Mutex::default() }
    }

    /// Where it goes, or would.
    pub fn options(&self) -> Option<&Options> {
        self.options.as_ref()
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// Turns it on, unless it is.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn start(&self) -> Result<(), ControlError> {
        let options = self.options.as_ref().ok_or(ControlError::NoRtmp)?;
        let mut running = self.lock();
        if running.is_none() {
            *running = Some(Demo::start(options.clone())?);
        }
        Ok(())
    }

    /// Turns it off, if it is on. Its last frames may still be on their way.
    pub fn stop(&self) {
        if let Some(demo) = self.lock().take() {
            // Its end is waited for elsewhere; where there is no thread for that, here.
            let _ = thread::Builder::new().name("demo-end".to_owned()).spawn(move || drop(demo));
        }
    }

    /// Turns it off and waits for its end.
    pub fn end(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Demo>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_may_be_turned_as_often_as_one_likes() {
        let control = Control::new(Some(Options::local(1)));
        assert!(!control.is_on());
        for _ in 0..2 {
            control.start().expect("a thread");
            control.start().expect("it is on already");
            assert!(control.is_on());
            control.stop();
            control.stop();
            assert!(!control.is_on());
        }
        control.start().expect("a thread");
        control.end();
        assert!(!control.is_on());
    }

    #[test]
    fn without_rtmp_there_is_no_demo() {
        let control = Control::new(None);
        assert!(matches!(control.start(), Err(ControlError::NoRtmp)));
    }
}
