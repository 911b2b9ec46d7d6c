//! One question for all who ask it at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// The answer to a question that is asked once for all who want it at the same time. Nobody gets an
/// answer to a question that was asked before they came.
#[derive(Debug, Default)]
pub(super) struct SharedAnswer<T> {
    /// How many have come.
    came: AtomicU64,
    /// How many of them had come when the last question was asked, and its answer.
    last: Mutex<(u64, T)>,
}

impl<T: Copy> SharedAnswer<T> {
    /// Asks, or waits for the answer to a question that is asked after this call.
    ///
    /// # Errors
    /// As `ask`. The next one who waits then asks again.
    pub(super) async fn get<E, F: Future<Output = Result<T, E>>>(
        &self,
        ask: impl FnOnce() -> F,
    ) -> Result<T, E> {
        let number = self.came.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        let mut last = self.last.lock().await;
        if last.0 < number {
            let came = self.came.load(Ordering::SeqCst);
            *last = (came, ask().await?);
        }
        Ok(last.1)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::future::join_all;
    use tokio::time::{Duration, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_come_during_a_question_share_the_next_one() {
        let (answer, asked) = (SharedAnswer::default(), AtomicU64::new(0));
        let ask = async || {
            let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(number)
        };

        let first = answer.get(ask);
        let others = async {
            sleep(Duration::from_millis(500)).await;
            join_all((0..100).map(|_| answer.get(ask))).await
        };
        let (first, others) = tokio::join!(first, others);

        assert_eq!(first, Ok(1));
        assert_eq!(others, vec![Ok(2); 100]);
    }

    #[tokio::test]
    async fn an_answer_from_before_is_never_given() {
        let answer = SharedAnswer::default();
        for number in 1..=3 {
            let ask = async || Ok::<_, Infallible>(number);
            assert_eq!(answer.get(ask).await, Ok(number));
        }
    }

    #[tokio::test]
    async fn after_an_error_the_next_one_asks_again() {
        let answer = SharedAnswer::<u8>::default();

        assert_eq!(
            answer.get(async || Err("no answer")).await,
            Err("no answer")
        );
        assert_eq!(answer.get(async || Ok::<_, &str>(7)).await, Ok(7));
    }
}
