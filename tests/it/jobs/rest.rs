use serde_json::{Value, json};

use super::until_run;
use crate::auth::{KeyFile, token};
use crate::kit::{Server, TestDb, http_client};

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let get = http_client().get(server.http(path)).bearer_auth(token("1", json!({"is_staff": true})));
    let answer = get.send().await.expect("it serves");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn post(server: &Server, path: &str) -> (u16, Value) {
    let post = http_client().post(server.http(path)).bearer_auth(token("1", json!({"is_staff": true})));
    let answer = post.send().await.expect("it serves");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_run_and_looked_back_at() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    assert_eq!(get(&server, "/api/jobs").await, (200, json!({"jobs": []})));
    db.exec("select rowcast.schedule('sum', '0 0 1 1 *', 'select 1 / 0')").await;

    let (status, asked) = post(&server, "/api/jobs/sum/runs").await;
    assert_eq!((status, &asked["job"]), (202, &json!("sum")));
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
    assert_eq!(post(&server, "/api/jobs/nothing/runs").await.0, 404);
    assert_eq!(get(&server, "/api/jobs/sum/runs?limit=0").await.0, 400);
}

/// They run SQL, and their errors show it. A server whose channels are open to all has not opened its jobs.
#[tokio::test]
async fn jobs_are_for_staff() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.connection.open = true;
    })
    .await;
    db.exec("select rowcast.schedule('sum', '0 0 1 1 *', 'select 1 / 0')").await;
    let admin = db.text("select rowcast.create_api_key('ops', admin => true)").await;
    let (nobody, user, staff) = (String::new(), token("2", json!({})), token("1", json!({"is_staff": true})));
    for (who, list, run) in [(&nobody, 401, 401), (&user, 403, 403), (&staff, 200, 202), (&admin, 200, 202)] {
        let client = http_client();
        for (request, want) in [
            (client.get(server.http("/api/jobs")), list),
            (client.get(server.http("/api/jobs/sum/runs")), list),
            (client.post(server.http("/api/jobs/sum/runs")), run),
        ] {
            let request = if who.is_empty() { request } else { request.bearer_auth(who) };
            assert_eq!(request.send().await.expect("an answer").status().as_u16(), want);
        }
        if run != 202 {
            assert_eq!(db.text("select count(*)::text from rowcast.job_run").await, "0");
        }
    }
    server.stop().await;
}
