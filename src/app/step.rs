//! The steps of a start that ask the database. Each ends: a database that takes connections and says nothing (half open,
//! or about to restart) would otherwise keep a server that is neither up nor down.

use std::time::Duration;

use anyhow::Context as _;

use super::server::StartError;

/// Pause before a step is tried again.
const PAUSE: Duration = Duration::from_millis(500);
const TRIES: u32 = 3;

/// Tries a step again where there was no answer; a refusal is final.
pub async fn patiently<T, E>(what: &str, limit: Duration, step: impl AsyncFn() -> Result<T, E>) -> anyhow::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    for _ in 1..TRIES {
        match tokio::time::timeout(limit, step()).await {
            Ok(answer) => return answer.with_context(|| format!("cannot {what}")),
            Err(_) => {
                let waited_ms = limit.as_millis() as u64;
                tracing::warn!(waited_ms, "app.start: no answer of the database to '{what}'; trying again");
                tokio::time::sleep(PAUSE.min(limit)).await;
            }
        }
    }
    match tokio::time::timeout(limit, step()).await {
        Ok(answer) => answer.with_context(|| format!("cannot {what}")),
        Err(_) => Err(silent(what, limit)),
    }
}

/// A step that is not tried again.
pub async fn once<T, E: Into<StartError>>(
    what: &str,
    limit: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, StartError> {
    match tokio::time::timeout(limit, step).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(silent(what, limit).into()),
    }
}

fn silent(what: &str, limit: Duration) -> anyhow::Error {
    anyhow::anyhow!("cannot {what}: no answer of the database within {} s", limit.as_secs())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Error;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn silence_is_asked_again_and_then_named_and_a_refusal_is_final() {
        let tries = Cell::new(0);
        let silent = patiently("look", LIMIT, async || {
            tries.set(tries.get() + 1);
            std::future::pending::<Result<(), Error>>().await
        });
        assert!(silent.await.expect_err("no answer").to_string().starts_with("cannot look: no answer"));
        assert_eq!(tries.take(), TRIES);

        let late = patiently("look", LIMIT, async || {
            tries.set(tries.get() + 1);
            if tries.get() == 1 { std::future::pending().await } else { Ok::<_, Error>(7) }
        });
        assert_eq!((late.await.expect("the second try"), tries.take()), (7, 2));

        let refused = patiently("look", LIMIT, async || {
            tries.set(tries.get() + 1);
            Err::<(), _>(Error::other("no such database"))
        });
        assert_eq!((refused.await.expect_err("refused").to_string().as_str(), tries.take()), ("cannot look", 1));
    }
}
