//! Reading from the disk away from the threads that carry out async code.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::database::closed;
use crate::error::Result;

/// Does blocking work. Where several threads carry out async code, one that is there for such work does it; else the caller,
/// whom nobody else waits for.
///
/// # Errors
/// The work's; `Unavailable` if the runtime is shut down first.
///
/// # Panics
/// If the work does.
pub(crate) async fn away<T, W>(work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T> + Send + 'static,
{
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
            match runtime.spawn_blocking(work).await {
                Ok(done) => done,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => Err(closed()),
            }
        }
        _ => work(),
    }
}
