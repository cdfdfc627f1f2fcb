use serde_json::{Value, json};

use super::until_run;
use crate::kit::{Server, TestDb, http_client};

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let answer = http_client().get(server.http(path)).send().await.expect("it serves");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_run_and_looked_back_at() {
    let db = TestDb::new().await;
    let server = Server::start(&db).await;
    assert_eq!(get(&server, "/api/jobs").await, (200, json!({"jobs": []})));
    db.exec("select rowcast.schedule('sum', '0 0 1 1 *', 'select 1 / 0')").await;

    let asked = http_client().post(server.http("/api/jobs/sum/runs")).send().await.expect("it serves");
    assert_eq!(asked.status(), 202);
    let asked: Value = asked.json().await.expect("JSON");
    assert_eq!(asked["job"], "sum");
    until_run(&db, "sum", "failed", 1).await;

    let (_, runs) = get(&server, "/api/jobs/sum/runs?limit=1").await;
    let run = &runs["runs"][0];
    assert_eq!(
        (&run["id"], &run["outcome"], &run["error"]),
        (&asked["run"], &json!("failed"), &json!("division by zero"))
    );
    assert!(run["scheduled_at"].is_null() && run["started_at"].as_str() <= run["ended_at"].as_str(), "{run}");
    let (_, jobs) = get(&server, "/api/jobs").await;
    let job = &jobs["jobs"][0];
    assert_eq!(
        (&job["name"], &job["cron"], &job["core"], &job["role"]),
        (&json!("sum"), &json!("0 0 1 1 *"), &json!(false), &json!("app"))
    );
    assert_eq!((&job["running"], &job["last"]["outcome"]), (&json!(false), &json!("failed")));

    for path in ["/api/jobs/nothing/runs", "/api/jobs/nothing/runs?limit=5"] {
        let (status, problem) = get(&server, path).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some("not_found")));
    }
    let nothing = http_client().post(server.http("/api/jobs/nothing/runs")).send().await.expect("it serves");
    assert_eq!(nothing.status(), 404);
    assert_eq!(get(&server, "/api/jobs/sum/runs?limit=0").await.0, 400);
}
