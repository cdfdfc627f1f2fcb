//! Who may do what: a writer nothing of rowcast's, the capture function nothing but append.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{captured, refusal};
use crate::kit::TestDb;

async fn as_role(db: &TestDb<'_>, role: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut session = PgConnection::connect(&db.url_as(role)).await.expect("may connect");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut session).await.map(drop)
}

#[tokio::test]
async fn a_writer_needs_no_rights_on_rowcast() {
    let db = TestDb::new().await;
    db.admin_exec("create role writer_of_rights login").await;
    for bulk in [false, true] {
        let t = format!("t_{bulk}");
        db.exec(&format!(
            "create table {t} (id int primary key, v int); grant select, insert, update, delete, truncate on {t} to writer_of_rights;
             select rowcast.watch('{t}', 't:{{id}}', columns => '{{v}}', \"when\" => 'new.id > 0 or old.id > 0', bulk => {bulk})"
        ))
        .await;
        for sql in [
            format!("insert into {t} values (1, 1)"),
            format!("update {t} set v = 2"),
            format!("delete from {t}"),
            format!("truncate {t}"),
        ] {
            as_role(&db, "writer_of_rights", &sql).await.unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
        }
        assert_eq!(captured(&db).await.len(), 4);
    }
    let e = as_role(&db, "writer_of_rights", "select * from rowcast.event").await.expect_err("no rights");
    assert_eq!(refusal(&e).code, "42501");
}

#[tokio::test]
async fn nothing_is_open_to_everybody() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 't')").await;
    let open = "
        select coalesce(string_agg(x, ', '), '') from (
          select p.oid::regprocedure::text from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
           where p.pronamespace = 'rowcast'::regnamespace and a.grantee = 0
          union all
          select c.oid::regclass::text from pg_class c, aclexplode(c.relacl) a
           where c.relnamespace = 'rowcast'::regnamespace and a.grantee = 0) o (x)";
    assert_eq!(db.text(open).await, "");
    // The last four are put into the query that asks, and name every operator with its schema.
    let loose = "
        select coalesce(string_agg(oid::regprocedure::text, ', '), '') from pg_proc
         where pronamespace = 'rowcast'::regnamespace and (prosecdef or proname <> all
           ('{watch,define_channel,define_access,nothing,claims,user_id,has_role,is_staff}'))
           and not exists (select from unnest(proconfig) c where c = 'search_path=pg_catalog, pg_temp')";
    assert_eq!(db.text(loose).await, "", "a search_path that is not pinned");
}

/// Of every schema of ours, whatever a later migration adds.
#[tokio::test]
async fn whatever_runs_with_anothers_rights_pins_its_search_path_and_is_closed() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 't')").await;
    let ours = "from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname ~ '^rowcast(_|$)'";
    let loose = format!(
        "select coalesce(string_agg(p.oid::regprocedure::text, ', '), '') {ours} and p.prosecdef
         and not exists (select from unnest(p.proconfig) c where c like 'search_path=pg_catalog%')"
    );
    assert_eq!(db.text(&loose).await, "", "SECURITY DEFINER, and no search_path");
    assert_ne!(db.text(&format!("select count(*)::text {ours} and p.prosecdef")).await, "0", "they were looked at");
    let open = "select coalesce(string_agg(p.oid::regprocedure::text, ', '), '')
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace,
             aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where n.nspname ~ '^rowcast(_|$)' and p.prosecdef and a.grantee = 0";
    assert_eq!(db.text(open).await, "", "executable by PUBLIC");
}

/// What a table's owner can do by a cast of his own: it runs as the capture function's owner (SECURITY.md).
#[tokio::test]
async fn a_hostile_cast_runs_as_the_powerless_role() {
    let db = TestDb::bare().await;
    install_as(&db, &db.admin_url()).await;
    let role = format!("hostile_{}", db.name);
    db.admin_exec(&format!(
        "create role {role} login; create schema hostile authorization {role};
         create table secret (x text); insert into secret values ('s')"
    ))
    .await;
    as_role(
        &db,
        &role,
        "create type hostile.bad as enum ('a');
         create table hostile.said (who text, outcome text);
         grant usage on schema hostile to public; grant insert on hostile.said to public;
         grant select on hostile.said to public;
         create function hostile.to_json(v hostile.bad) returns json language plpgsql as $$
         declare attempt text;
         begin
           foreach attempt in array array['select x from public.secret', 'select * from rowcast.event',
             'select * from rowcast.source', 'truncate rowcast.event', 'create table rowcast.mine (x int)',
             'create function rowcast.f() returns int language sql as ''select 1''', 'create role of_cast',
             'set role app', 'select rowcast.send(''a'', ''b'', ''1'')']
           loop
             begin
               execute attempt;
               insert into hostile.said values (current_user, 'did: ' || attempt);
             exception when others then insert into hostile.said values (current_user, sqlstate || ' ' || attempt);
             end;
           end loop;
           return '1';
         end $$;
         create cast (hostile.bad as json) with function hostile.to_json(hostile.bad);
         create table hostile.t (id int, b hostile.bad)",
    )
    .await
    .unwrap_or_else(|e| panic!("{e}"));
    db.admin_exec(
        "set search_path = public; select rowcast.watch('hostile.t', 'h'); insert into hostile.t values (1, 'a')",
    )
    .await;
    let said = db.texts("select who || ' ' || outcome from hostile.said").await;
    assert_eq!(said.len(), 9, "{said:?}");
    for outcome in said.into_iter().flatten() {
        // 0A000: a role cannot be set within SECURITY DEFINER.
        assert!(outcome.starts_with("rowcast_capture 42501 ") || outcome.ends_with("set role app"), "{outcome}");
        assert!(!outcome.contains("did:"), "{outcome}");
    }
}

#[tokio::test]
async fn configuring_needs_the_owners_rights_and_says_so() {
    let db = TestDb::new().await;
    db.admin_exec("create role guest_of_rights login").await;
    db.exec(
        "create table t (id int); grant usage on schema rowcast to guest_of_rights;
         grant execute on all functions in schema rowcast to guest_of_rights",
    )
    .await;
    for call in ["watch('t', 't')", "unwatch('t')", "define_channel('a:{b}')", "undefine_channel('a:{b}')"] {
        let e = as_role(&db, "guest_of_rights", &format!("select rowcast.{call}")).await.expect_err(call);
        let r = refusal(&e);
        assert!(r.code == "RC007" && r.message.contains("the rights of role app"), "{call}: {}", r.message);
        assert!(r.hint.contains("grant app to guest_of_rights"), "{}", r.hint);
    }
    // A member may; but the table must be his to watch, too.
    db.admin_exec("create role member_of_rights login in role app; create table public.theirs (id int)").await;
    let r =
        refusal(&as_role(&db, "member_of_rights", "select rowcast.watch('theirs', 't')").await.expect_err("not his"));
    assert!(r.code == "RC007" && r.message.contains("may not create triggers on table public.theirs"), "{}", r.message);
    db.admin_exec("grant trigger on public.theirs to app").await;
    let r =
        refusal(&as_role(&db, "member_of_rights", "select rowcast.watch('theirs', 't')").await.expect_err("no lock"));
    assert!(r.code == "RC007" && r.message.contains("may not lock table public.theirs"), "{}", r.message);
    // With these two rights he may, and take it back, though the table is not his.
    db.admin_exec("grant update on public.theirs to app").await;
    as_role(&db, "member_of_rights", "select rowcast.watch('theirs', 't:{id}')")
        .await
        .expect("trigger and update suffice");
    as_role(&db, "member_of_rights", "select rowcast.watch('t', 't:{id}')").await.expect("the owner's table");
    db.admin_exec("insert into public.theirs values (1); insert into public.t values (2)").await;
    assert_eq!(captured(&db).await, [r#"i {"id":1}"#, r#"i {"id":2}"#]);
    assert_eq!(db.text("select string_agg(distinct owner, ',') from rowcast.watched()").await, "app", "not the caller");
    as_role(&db, "member_of_rights", "select rowcast.unwatch('theirs')").await.expect("takes it back");
    db.admin_exec("insert into public.theirs values (1)").await;
    assert!(captured(&db).await.is_empty());
}

#[tokio::test]
async fn capture_runs_as_a_role_that_can_only_append() {
    let db = TestDb::bare().await;
    install_as(&db, &db.admin_url()).await;
    db.admin_exec("set search_path = public; create table t (id int primary key, v text); select rowcast.watch('t', 't:{id}', columns => '{v}')").await;
    let mut admin = PgConnection::connect(&db.admin_url()).await.expect("may connect");
    let mut ask =
        async |sql: &'static str| -> String { sqlx::query_scalar(sql).fetch_one(&mut admin).await.expect(sql) };
    assert_eq!(ask("select string_agg(distinct owner::text, ',') from rowcast.watched()").await, "rowcast_capture");
    let rights = "
        select string_agg(x, ', ' order by x) from (
          select c.relname || ':' || a.privilege_type as x from pg_class c, aclexplode(c.relacl) a
           where a.grantee = 'rowcast_capture'::regrole
          union all
          select p.proname || ':' || a.privilege_type from pg_proc p, aclexplode(p.proacl) a
           where a.grantee = 'rowcast_capture'::regrole and p.proname !~ '^capture_[0-9]'
          union all
          select n.nspname || ':' || a.privilege_type from pg_namespace n, aclexplode(n.nspacl) a
           where a.grantee = 'rowcast_capture'::regrole) x";
    assert_eq!(ask(rights).await, "bound_log:EXECUTE, event:INSERT, event_id:USAGE, lease:SELECT, rowcast:USAGE");
    db.admin_exec(
        "set search_path = public; insert into t values (1, 'a'); update t set v = 'b'; delete from t; truncate t",
    )
    .await;
    assert_eq!(ask("select string_agg(op::text, '' order by id) from rowcast.event where source > 0").await, "iudt");
    // A user's cast to json runs as that role, not as the writer or the owner.
    db.admin_exec(
        "set search_path = public; create type spy as enum ('x');
         create function spied(spy) returns json language plpgsql as $$ begin return to_json(current_user::text); end $$;
         create cast (spy as json) with function spied(spy); create table s (x spy); select rowcast.watch('s', 's');
         insert into s values ('x')",
    )
    .await;
    assert_eq!(ask("select new ->> 'x' from rowcast.event where source > 1").await, "rowcast_capture");
    // What a condition calls must be that role's to call.
    db.admin_exec(
        "create schema hidden; create function hidden.ok(int) returns bool language sql immutable as 'select true'",
    )
    .await;
    let call = "select rowcast.watch('public.t', 'c', \"when\" => 'hidden.ok(new.id)')";
    let r = refusal(&sqlx::raw_sql(call).execute(&mut admin).await.expect_err("no usage"));
    assert!(
        r.code == "RC004" && r.message.contains("hidden") && r.message.contains("rowcast_capture"),
        "{}",
        r.message
    );
    db.admin_exec("grant usage on schema hidden to rowcast_capture").await;
    db.admin_exec(call).await;
    // The role is nobody's login by accident: with powers, it is not used.
    db.admin_exec("set search_path = public; begin; alter role rowcast_capture login; create table u (id int); select rowcast.watch('u', 'u');
       do $$ begin if (select owner from rowcast.watched() where \"table\" = 'public.u') = 'rowcast_capture' then raise 'used'; end if; end $$; rollback")
        .await;
}

/// The migrations as they stand, by another role than the kit's.
async fn install_as(db: &TestDb<'_>, url: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("there").map(|f| f.expect("readable").path()).collect();
    files.retain(|f| f.is_file()); // the reference's have a folder of their own
    files.retain(|f| f.extension().is_some_and(|e| e == "sql"));
    files.sort();
    let mut session = PgConnection::connect(url).await.unwrap_or_else(|e| panic!("{e} in {}", db.name));
    for file in files {
        let sql = std::fs::read_to_string(&file).expect("readable");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut session).await.unwrap_or_else(|e| panic!("{e}\nin {file:?}"));
    }
}
