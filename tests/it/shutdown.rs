//! Signals: the first asks, the second ends.

use rowcast::shutdown::Shutdown;

use crate::kit::{Binary, PATIENCE};

#[tokio::test]
async fn a_signal_triggers_and_a_second_one_ends_at_once() {
    for (first, second, code) in [(libc::SIGTERM, libc::SIGINT, 130), (libc::SIGINT, libc::SIGTERM, 143)] {
        let mut process = Binary::of_test("shutdown::a_process_to_be_ended").start();
        process.line_with("waiting for signals").await;
        process.signal(first);
        process.line_with("ending").await;
        process.signal(second);
        assert_eq!(process.ended().await.code(), Some(code));
    }
}

/// Not a test: the process above, which takes its time to end.
#[tokio::test]
#[ignore]
async fn a_process_to_be_ended() {
    let shutdown = Shutdown::on_signals().expect("a runtime");
    println!("waiting for signals");
    shutdown.wait().await;
    println!("ending");
    let _ = tokio::time::timeout(2 * PATIENCE, std::future::pending::<()>()).await;
}
