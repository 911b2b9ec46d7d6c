//! A future that goes on at once when it has woken itself.
//!
//! A handler that asks for its request's body wakes the connection that it runs in (hyper's body
//! channel), while this is being polled. Tokio then puts the connection behind all that is ready and
//! wakes another worker to take it over: for each command a second thread starts for nothing, or the
//! connection moves to a processor that knows nothing of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// How often in a row a future may be polled before others have their turn. A request with a body takes
/// two (it wakes its connection once), so there is room for another that follows directly.
const MOST_TURNS: usize = 4;

const RESTING: u8 = 0;
const POLLED: u8 = 1;
const WOKEN: u8 = 2;

/// Polls `F` again where it was woken meanwhile.
pub struct RepollOnSelfWake<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Who is to be woken, and whether that is being polled right now.
#[derive(Default)]
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl<F> RepollOnSelfWake<F> {
    /// Wraps a future.
    pub fn new(future: F) -> Self {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        Self {
            future: Box::pin(future),
            bell,
            waker,
        }
    }
}

impl<F: Future> Future for RepollOnSelfWake<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.bell.task.register(context.waker());
        for _ in 0..MOST_TURNS {
            this.bell.state.store(POLLED, Ordering::Release);
            let mut inner = Context::from_waker(&this.waker);
            if let Poll::Ready(output) = this.future.as_mut().poll(&mut inner) {
                return Poll::Ready(output);
            }
            let is_resting = this.bell.state.compare_exchange(
                POLLED,
                RESTING,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            if is_resting.is_ok() {
                return Poll::Pending;
            }
        }
        this.bell.state.store(RESTING, Ordering::Release);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let noted = self
            .state
            .compare_exchange(POLLED, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if noted == Err(RESTING) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        hint,
        sync::atomic::{AtomicBool, AtomicUsize},
        thread,
    };

    use super::*;

    /// Counts how often its task was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A future that is polled `polls` times before it is ready, with what it does each time.
    fn ready_after(
        polls: usize,
        mut each: impl FnMut(&Waker) + Send + 'static,
    ) -> RepollOnSelfWake<impl Future<Output = ()>> {
        let mut polled = 0;
        RepollOnSelfWake::new(poll_fn(move |context| {
            polled += 1;
            if polled == polls {
                return Poll::Ready(());
            }
            each(context.waker());
            Poll::Pending
        }))
    }

    fn poll<F: Future>(future: &mut RepollOnSelfWake<F>, count: &Arc<Count>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(count));
        Pin::new(future).poll(&mut Context::from_waker(&waker))
    }

    fn woken(count: &Arc<Count>) -> usize {
        count.0.load(Ordering::SeqCst)
    }

    #[test]
    fn who_wakes_itself_goes_on_at_once() {
        let count = Arc::default();
        let mut future = ready_after(3, Waker::wake_by_ref);

        assert!(poll(&mut future, &count).is_ready());
        assert_eq!(woken(&count), 0);
    }

    #[test]
    fn who_always_wakes_itself_lets_others_go_first() {
        let count = Arc::default();
        let mut future = ready_after(usize::MAX, Waker::wake_by_ref);

        assert!(poll(&mut future, &count).is_pending());
        assert_eq!(woken(&count), 1);
    }

    #[test]
    fn who_is_woken_by_others_is_woken_through_its_task() {
        let count = Arc::default();
        let (keep, kept) = std::sync::mpsc::channel();
        let mut future = ready_after(3, move |waker| keep.send(waker.clone()).unwrap());

        for wakes in [1, 2] {
            assert!(poll(&mut future, &count).is_pending());
            kept.recv().unwrap().wake();
            assert_eq!(woken(&count), wakes);
        }
        assert!(poll(&mut future, &count).is_ready());
    }

    /// While it is polled or after: either it is noted for the next turn, or it wakes the task.
    #[test]
    fn a_wake_from_another_thread_is_never_lost() {
        for pause in 0..2000 {
            let count = Arc::default();
            let (hand_over, handed_over) = std::sync::mpsc::channel::<Waker>();
            let is_due = Arc::new(AtomicBool::new(false));
            let due = Arc::clone(&is_due);
            let other = thread::spawn(move || {
                let waker = handed_over.recv().unwrap();
                while !due.load(Ordering::Acquire) {
                    hint::spin_loop();
                }
                waker.wake();
            });
            let mut future = ready_after(2, move |waker| {
                hand_over.send(waker.clone()).unwrap();
                is_due.store(true, Ordering::Release);
                (0..pause).for_each(|_| hint::spin_loop());
            });

            let first = poll(&mut future, &count);
            other.join().unwrap();

            assert!(first.is_ready() || woken(&count) == 1);
        }
    }
}
