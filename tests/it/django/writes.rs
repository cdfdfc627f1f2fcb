//! Each write, the state messages that it must lead to, one per order, and the row events, each once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::project::project;
use super::{serve, subscriber};

struct Write {
    name: &'static str,
    python: &'static str,
    /// Orders, and what of their state is new; `null` where the order is gone.
    orders: &'static [(i64, &'static str)],
    events: &'static [&'static str],
}

const WRITES: &[Write] = &[
    Write {
        name: "create",
        python: "order = BaseOrder.objects.create(name='one', price=10.5, actual_price=100, customer=carl)",
        orders: &[(1, r#"{"status": "New", "actual_price": "100.00"}"#)],
        events: &[r#"orders insert {"id":1,"name":"one","status":"New","price":10.5}"#],
    },
    Write {
        name: "save",
        python: "order.status = 'Paid'; order.save()",
        orders: &[(1, r#"{"status": "Paid"}"#)],
        events: &[r#"orders update {"id":1,"name":"one","status":"Paid","price":10.5}"#],
    },
    Write {
        name: "save of some fields",
        python: "order.message = 'hi'; order.save(update_fields=['message'])",
        orders: &[(1, r#"{"message": "hi"}"#)],
        events: &[r#"orders update {"id":1,"name":"one","status":"Paid","price":10.5}"#],
    },
    Write {
        name: "save that changes nothing",
        python: "BaseOrder.objects.filter(pk=1).update(message='hi')",
        orders: &[],
        events: &[],
    },
    Write {
        name: "one-to-one child, table name in mixed case",
        python: "division = LeagueOfLegendsDivisionOrder.objects.create(order=order, reached_rank=gold, reached_division=3)",
        orders: &[(1, r#"{"reached_rank": "Gold", "reached_division": 3}"#)],
        events: &[],
    },
    Write {
        name: "three tables in one transaction",
        python: "with transaction.atomic():\n    order.status = 'Continue'; order.save()\n    \
                 division.reached_division = 2; division.save()\n    \
                 paid = Transaction.objects.create(user=carl, order=order, amount=2.5, type='card')",
        orders: &[(1, r#"{"status": "Continue", "reached_division": 2, "paid": "2.50"}"#)],
        events: &[r#"orders update {"id":1,"name":"one","status":"Continue","price":10.5}"#],
    },
    Write {
        name: "bulk_create",
        python: "two, three = BaseOrder.objects.bulk_create([BaseOrder(name='two', price=2), BaseOrder(name='three', price=3)])",
        orders: &[
            (2, r#"{"status": "New", "actual_price": "0.00"}"#),
            (3, r#"{"status": "New", "actual_price": "0.00"}"#),
        ],
        events: &[
            r#"orders insert {"id":2,"name":"two","status":"New","price":2}"#,
            r#"orders insert {"id":3,"name":"three","status":"New","price":3}"#,
        ],
    },
    Write {
        name: "bulk_create that updates what is there",
        python: "BaseOrder.objects.bulk_create([BaseOrder(id=3, name='three', status='Again')], \
                 update_conflicts=True, unique_fields=['id'], update_fields=['status'])",
        orders: &[(3, r#"{"status": "Again"}"#)],
        events: &[r#"orders update {"id":3,"name":"three","status":"Again","price":3}"#],
    },
    Write {
        name: "bulk_update",
        python: "two.status = 'B'; three.status = 'C'; BaseOrder.objects.bulk_update([two, three], ['status'])",
        orders: &[(2, r#"{"status": "B"}"#), (3, r#"{"status": "C"}"#)],
        events: &[
            r#"orders update {"id":2,"name":"two","status":"B","price":2}"#,
            r#"orders update {"id":3,"name":"three","status":"C","price":3}"#,
        ],
    },
    Write {
        name: "queryset.update with F()",
        python: "BaseOrder.objects.filter(pk__in=[1, 2]).order_by().update(actual_price=F('actual_price') + 0.25)",
        orders: &[(1, r#"{"actual_price": "100.25"}"#), (2, r#"{"actual_price": "0.25"}"#)],
        events: &[
            r#"orders update {"id":1,"name":"one","status":"Continue","price":10.5}"#,
            r#"orders update {"id":2,"name":"two","status":"B","price":2}"#,
        ],
    },
    Write {
        name: "get_or_create, twice",
        python: "for _ in range(2): BaseOrder.objects.get_or_create(name='four', defaults={'price': 4})",
        orders: &[(4, r#"{"status": "New", "actual_price": "0.00"}"#)],
        events: &[r#"orders insert {"id":4,"name":"four","status":"New","price":4}"#],
    },
    Write {
        name: "update_or_create",
        python: "BaseOrder.objects.update_or_create(name='four', defaults={'status': 'Seen'})",
        orders: &[(4, r#"{"status": "Seen"}"#)],
        events: &[r#"orders update {"id":4,"name":"four","status":"Seen","price":4}"#],
    },
    Write {
        name: "rollback",
        python: "try:\n    with transaction.atomic():\n        BaseOrder.objects.filter(pk=4).update(status='never')\n        \
                 Transaction.objects.create(user=carl, order_id=4, amount=1, type='card')\n        raise KeyError\n\
                 except KeyError: pass",
        orders: &[],
        events: &[],
    },
    Write {
        name: "savepoint",
        python: "with transaction.atomic():\n    BaseOrder.objects.filter(pk=4).update(status='kept')\n    try:\n        \
                 with transaction.atomic():\n            BaseOrder.objects.filter(pk=4).update(status='lost', price=9)\n            \
                 raise KeyError\n    except KeyError: pass",
        orders: &[(4, r#"{"status": "kept"}"#)],
        events: &[r#"orders update {"id":4,"name":"four","status":"kept","price":4}"#],
    },
    Write {
        name: "raw SQL",
        python: "with connection.cursor() as cursor: cursor.execute('update accounts_baseorder set status = %s where id = %s', ['raw', 4])",
        orders: &[(4, r#"{"status": "raw"}"#)],
        events: &[r#"orders update {"id":4,"name":"four","status":"raw","price":4}"#],
    },
    Write {
        name: "select_for_update",
        python: "with transaction.atomic():\n    o = BaseOrder.objects.select_for_update().get(pk=4); o.message = 'held'; o.save()",
        orders: &[(4, r#"{"message": "held"}"#)],
        events: &[r#"orders update {"id":4,"name":"four","status":"raw","price":4}"#],
    },
    Write {
        name: "a child that moves to another parent",
        python: "paid.order = two; paid.save()",
        orders: &[(1, r#"{"paid": null}"#), (2, r#"{"paid": "2.50"}"#)],
        events: &[],
    },
    Write {
        name: "a child without a parent",
        python: "Transaction.objects.bulk_create([Transaction(user=carl, amount=n, type='cash') for n in range(3)])",
        orders: &[],
        events: &[],
    },
    Write {
        name: "a user takes orders",
        python: "BaseOrder.objects.filter(pk__in=[2, 3]).update(booster=bea)",
        orders: &[(2, r#"{"booster_username": "bea"}"#), (3, r#"{"booster_username": "bea"}"#)],
        events: &[
            r#"orders update {"id":2,"name":"two","status":"B","price":2}"#,
            r#"orders update {"id":3,"name":"three","status":"C","price":3}"#,
        ],
    },
    Write {
        name: "a user logs in and changes the password",
        python: "bea.set_password('swordfish'); bea.save(); Client().force_login(bea)",
        orders: &[],
        events: &[],
    },
    Write {
        name: "a user is renamed",
        python: "bea.username = 'queen'; bea.save()",
        orders: &[(2, r#"{"booster_username": "queen"}"#), (3, r#"{"booster_username": "queen"}"#)],
        events: &[],
    },
    Write {
        name: "an inherited child with its parent",
        python: "placement = LeagueOfLegendsPlacementOrder.objects.create(name='five', number_of_match=5)",
        orders: &[(5, r#"{"status": "New", "actual_price": "0.00", "matches": 5}"#)],
        events: &[r#"orders insert {"id":5,"name":"five","status":"New","price":0}"#],
    },
    Write {
        name: "only the inherited child",
        python: "LeagueOfLegendsPlacementOrder.objects.filter(pk=5).update(number_of_match=F('number_of_match') + 1)",
        orders: &[(5, r#"{"matches": 6}"#)],
        events: &[],
    },
    Write {
        name: "many-to-many",
        python: "order.tags.add(fast, duo); order.tags.add(fast); order.tags.set([duo])",
        orders: &[],
        events: &[
            r#"order-tags:1 insert {"id":1,"baseorder_id":1,"tag_id":1}"#,
            r#"order-tags:1 insert {"id":2,"baseorder_id":1,"tag_id":2}"#,
            r#"order-tags:1 delete {"id":1,"baseorder_id":1,"tag_id":1}"#,
        ],
    },
    Write {
        name: "a UUID for a key, exact decimals, JSON",
        python: "receipt = Receipt.objects.create(id=UUID('6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de'), order=order, \
                 total='10.50', lines={'a': [1]})",
        orders: &[],
        events: &[
            r#"receipt:6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de insert {"id":"6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de","total":10.50,"lines":{"a": [1]},"order_id":1}"#,
        ],
    },
    Write {
        name: "a form of the admin",
        python: "admin = Client(); admin.force_login(ada)\n\
                 answer = admin.post('/admin/accounts/baseorder/1/change/', {'name': 'one', 'status': 'Admin', 'message': 'hi'})\n\
                 assert answer.status_code == 302, answer.content",
        orders: &[(1, r#"{"status": "Admin"}"#)],
        events: &[r#"orders update {"id":1,"name":"one","status":"Admin","price":10.5}"#],
    },
    Write {
        name: "an action of the admin",
        python: "answer = admin.post('/admin/accounts/baseorder/', {'action': 'delete_selected', 'post': 'yes', '_selected_action': [4]})\n\
                 assert answer.status_code == 302, answer.content",
        orders: &[(4, "null")],
        events: &[r#"orders delete {"id":4,"name":"four","status":"raw","price":4}"#],
    },
    Write {
        name: "on delete set null",
        python: "bea.delete()",
        orders: &[(2, r#"{"booster_username": null}"#), (3, r#"{"booster_username": null}"#)],
        events: &[
            r#"orders update {"id":2,"name":"two","status":"B","price":2}"#,
            r#"orders update {"id":3,"name":"three","status":"C","price":3}"#,
        ],
    },
    Write {
        name: "delete with cascade",
        python: "with transaction.atomic():\n    paid.order = order; paid.save()\n    BaseOrder.objects.get(pk=1).delete()",
        orders: &[(1, "null"), (2, r#"{"paid": null}"#)],
        events: &[
            r#"order-tags:1 delete {"id":2,"baseorder_id":1,"tag_id":2}"#,
            r#"orders delete {"id":1,"name":"one","status":"Admin","price":10.5}"#,
            r#"receipt:6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de delete {"id":"6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de","total":10.50,"lines":{"a": [1]},"order_id":1}"#,
        ],
    },
    Write {
        name: "delete of an inherited child with its parent, and of a queryset",
        python: "with transaction.atomic():\n    placement.delete()\n    BaseOrder.objects.filter(pk=3).delete()",
        orders: &[(3, "null"), (5, "null")],
        events: &[
            r#"orders delete {"id":5,"name":"five","status":"New","price":0}"#,
            r#"orders delete {"id":3,"name":"three","status":"C","price":3}"#,
        ],
    },
    // Behind everything: had anything come twice, it would be in the way of this.
    Write {
        name: "the end",
        python: "with transaction.atomic():\n    for n in range(1, 6): BaseOrder.objects.update_or_create(pk=n, defaults={'name': 'end', 'status': 'End'})",
        orders: &[
            (1, r#"{"status": "End", "actual_price": "0.00"}"#),
            (2, r#"{"status": "End"}"#),
            (3, r#"{"status": "End", "actual_price": "0.00"}"#),
            (4, r#"{"status": "End", "actual_price": "0.00"}"#),
            (5, r#"{"status": "End", "actual_price": "0.00"}"#),
        ],
        events: &[
            r#"orders insert {"id":1,"name":"end","status":"End","price":0}"#,
            r#"orders update {"id":2,"name":"end","status":"End","price":2}"#,
            r#"orders insert {"id":3,"name":"end","status":"End","price":0}"#,
            r#"orders insert {"id":4,"name":"end","status":"End","price":0}"#,
            r#"orders insert {"id":5,"name":"end","status":"End","price":0}"#,
        ],
    },
];

const WORLD: &str = "
bea, carl, ada = [BaseUser.objects.create_user(name) for name in ('bea', 'carl', 'ada')]
BaseUser.objects.filter(pk=ada.pk).update(is_staff=True, is_superuser=True)
fast, duo = [Tag.objects.create(name=name) for name in ('fast', 'duo')]
gold = LeagueOfLegendsRank.objects.create(rank_name='Gold')
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_write_arrives_once_and_right() {
    let Some(project) = project().await else { return };
    project.managed(&["migrate", "--verbosity", "0"]).await;
    let right = format!("select has_schema_privilege('{}', 'rowcast', 'usage')::text", project.web);
    assert_eq!(project.db.text(&right).await, "false", "a writer needs no right on rowcast");
    let server = serve(&project.db).await;
    let mut shell = project.shell(&project.web).await;
    shell.run(WORLD).await;

    let mut orders = BTreeMap::new();
    for id in 1..=5 {
        orders.insert(id, (subscriber(&server, &format!("order:{id}")).await, Value::Null));
    }
    let mut events = Vec::new();
    for channel in ["order-tags:1", "orders", "receipt:6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de"] {
        events.push((channel, subscriber(&server, channel).await));
    }

    for write in WRITES {
        shell.run(write.python).await;
        for (id, news) in write.orders {
            let (client, state) = orders.get_mut(id).expect("an order of the test");
            *state = after(*id, state, news);
            let frame = client.next_of("event").await;
            assert_eq!(frame["data"], *state, "{}, order {id}", write.name);
        }
        let mut seen = Vec::new();
        for (channel, client) in &mut events {
            project.db.exec(&format!("select rowcast.send('{channel}', 'mark')")).await;
            loop {
                let frame = client.next_of("event").await;
                if frame["event"] == "mark" {
                    break;
                }
                seen.push(format!("{channel} {} {}", frame.str_of("event"), frame.raw_of("data")));
            }
        }
        // In which order one statement writes its rows is Postgres' own affair.
        seen.sort();
        let mut expected = write.events.to_vec();
        expected.sort();
        assert_eq!(seen, expected, "{}", write.name);
    }
    let recorded =
        "select coalesce(string_agg(e::text, ' '), '') from rowcast.event e join rowcast.source s on s.id = e.source
                     where s.name like '%baseuser'";
    let recorded = project.db.text(recorded).await;
    assert!(recorded.contains("queen") && !recorded.contains("pbkdf2"), "{recorded}");
    server.stop().await;
}

/// The whole message: what it was, with what is new.
fn after(id: i64, state: &Value, news: &str) -> Value {
    let news: Value = serde_json::from_str(news).expect("the table's JSON");
    let Value::Object(news) = news else { return Value::Null };
    let mut whole = match state {
        Value::Null => json!({
            "type": "order.update", "order_id": id, "booster_username": null, "reached_rank": null,
            "reached_division": null, "matches": null, "paid": null, "message": null,
        }),
        known => known.clone(),
    };
    whole.as_object_mut().expect("an object").extend(news);
    whole
}
