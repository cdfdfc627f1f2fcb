//! Who may listen: nobody, unless something says so.

use crate::app::{AccessFacts, Pattern};

use super::Finding;

/// `open`: channels without a rule are everybody's. `endpoints`: the channels that the configuration's endpoints show.
pub fn access(facts: &AccessFacts, open: bool, endpoints: &[String]) -> Vec<Finding> {
    let failing = facts.rules.iter().filter_map(|rule| {
        let problem = rule.problem.as_ref()?;
        let name = format!("access {} {}", rule.action, rule.pattern);
        let hint = "It lets nobody in: define it again with rowcast.define_access(), or mend what it reads.";
        Some(Finding::fail(&name, problem.clone(), hint))
    });
    let mut found: Vec<Finding> = failing.collect();
    let rules = facts.rules.iter().filter(|rule| rule.action == "listen").map(|rule| &rule.pattern);
    let read = |text: &String| Pattern::parse(text).ok();
    let families: Vec<Pattern> = facts.families.iter().filter_map(read).collect();
    let narrow = |pattern: Pattern| pattern.clone().except(pattern.besides(&families).cloned().collect());
    let opening: Vec<Pattern> = rules.chain(&facts.keys).chain(endpoints).filter_map(read).map(narrow).collect();
    let closed: Vec<&String> = facts.watched.iter().filter(|template| !opened(template, &opening)).collect();
    found.push(match (&closed[..], open) {
        (_, true) => Finding::ok("access", "connection.open: channels without a rule are everybody's"),
        ([], _) => Finding::ok("access", "something says who may listen to each watched channel"),
        ([first, ..], _) => {
            let all: Vec<&str> = closed.iter().map(|template| template.as_str()).collect();
            Finding::warn(
                "access",
                format!("nobody may listen to {}", all.join(", ")),
                format!(
                    "Everybody: `select rowcast.define_access('{}', everyone => true)`. Without everyone: whoever is \
                     authenticated. More in docs/AUTH.md.",
                    first.replace('\'', "''")
                ),
            )
        }
    });
    found
}

/// Is any channel of this template, whatever its keys?
fn opened(template: &str, opening: &[Pattern]) -> bool {
    let sample = Pattern::parse(template).ok().and_then(|pattern| pattern.fill(|_, _| Some("a key")));
    sample.is_some_and(|name| opening.iter().any(|pattern| pattern.matches(name.as_str()).is_some()))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok, Warn};
    use super::*;
    use crate::app::RuleFacts;

    #[test]
    fn what_nobody_may_listen_to_is_named_with_the_line_that_opens_it() {
        let rule = |pattern: &str, action: &str, problem: Option<&str>| RuleFacts {
            pattern: pattern.into(),
            action: action.into(),
            problem: problem.map(Into::into),
        };
        let facts = |watched: &[&str], rules: Vec<RuleFacts>| AccessFacts {
            watched: watched.iter().map(|s| (*s).to_owned()).collect(),
            families: watched.iter().map(|s| (*s).to_owned()).collect(),
            rules,
            keys: vec!["for-a-server:{id}".into()],
        };
        let endpoints = ["shown:{id}".to_owned()];
        let told = |facts: &AccessFacts, open: bool| {
            let found = access(facts, open, &endpoints);
            found.into_iter().map(|f| (f.verdict, f.detail, f.hint.unwrap_or_default())).collect::<Vec<_>>()
        };
        let all = facts(
            &["orders:{id}", "o'k:{id}", "news", "shown:{id}", "for-a-server:{id}"],
            vec![rule("news", "listen", None), rule("orders:{id}", "publish", None), rule("orders:7", "listen", None)],
        );
        let [(verdict, detail, hint)] = &told(&all, false)[..] else { panic!("one finding") };
        assert_eq!((*verdict, &**detail), (Warn, "nobody may listen to orders:{id}, o'k:{id}"));
        assert!(hint.contains("select rowcast.define_access('orders:{id}', everyone => true)"), "{hint}");
        assert_eq!(told(&all, true)[0].0, Ok);
        let mended = facts(&["orders:{id}"], vec![rule("{anything}", "listen", None)]);
        assert_eq!(told(&mended, false)[0].0, Ok);
        let rules = || vec![rule("student:{id}", "listen", None)];
        let within = told(&facts(&["student:{id}", "student:{id}:grades"], rules()), false);
        assert_eq!(within[0].1, "nobody may listen to student:{id}:grades");
        assert_eq!(told(&facts(&["student:{id}:grades"], rules()), false)[0].0, Ok, "no family's pattern");
        let failing = facts(&[], vec![rule("a:{id}", "listen", Some("relation \"b\" does not exist"))]);
        let found = told(&failing, false);
        assert_eq!((found[0].0, found[1].0), (Fail, Ok));
    }
}
