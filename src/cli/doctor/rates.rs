//! What the facts of jobs, rates and providers mean: pure, like `judge`.

use std::fmt::Display;

use super::Finding;
use super::judge::seconds;
use crate::app::{FxFacts, JobFacts, ProviderFacts, REFRESH_JOB};

/// A runner looks each second.
const BEHIND_OLD_S: i64 = 60;

pub fn jobs(f: &FxFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.push(match (f.jobs.len(), f.runner) {
        (0, _) => Finding::ok("jobs", "none is scheduled"),
        (n, true) => Finding::ok("jobs", format!("{n} scheduled, and an instance runs them")),
        (n, false) => Finding::warn(
            "jobs",
            format!("{n} scheduled, and no instance runs them"),
            "Start `rowcast serve`, with `scheduler.enabled` as it is by default.",
        ),
    });
    found.extend(f.jobs.iter().map(|j| job(j, f.runner)));
    found
}

fn job(j: &JobFacts, runner: bool) -> Finding {
    let name = format!("job {}", j.name);
    let look = format!("`select * from rowcast.job_run` or GET /api/jobs/{}/runs shows each run.", j.name);
    let error = j.error.as_deref().unwrap_or("no reason was recorded");
    if let Some(problem) = &j.problem {
        return Finding::fail(
            &name,
            format!("never runs: {problem}"),
            "Schedule it again with another cron line or time zone.",
        );
    }
    if !j.may {
        return Finding::fail(
            &name,
            format!("cannot run as {}, who scheduled it", j.role),
            format!("`grant {} to` the role that the server connects as.", j.role),
        );
    }
    match j.outcome.as_deref() {
        Some(outcome @ ("failed" | "timed_out")) => {
            let outcome = outcome.replace('_', " ");
            let of = format!("{} of {} in the last hour", j.failed, j.runs);
            let hint = if j.core { "See the rates and their providers below.".to_owned() } else { look };
            Finding::fail(&name, format!("its last run {outcome} ({of}): {error}"), hint)
        }
        Some("skipped_overlap") => Finding::warn(
            &name,
            format!("takes longer than its cron line allows: {} skipped in the last hour", j.skipped),
            "Make it quicker, or run it less often.",
        ),
        _ if j.missed > 0 => Finding::warn(
            &name,
            format!("{} of its ticks in the last hour came when no instance ran jobs", j.missed),
            "They are not made up for: run it now with `select rowcast.run_job(…)` if it matters, and run two instances.",
        ),
        _ if j.failed > 0 => {
            Finding::warn(&name, format!("{} of {} runs in the last hour failed, not the last", j.failed, j.runs), look)
        }
        None => Finding::ok(&name, if runner { "has not been due yet" } else { "never ran" }),
        Some(_) => Finding::ok(&name, format!("its last run was well, {} in the last hour", j.runs)),
    }
}

pub fn rates(f: &FxFacts) -> Vec<Finding> {
    let refreshing = f.jobs.iter().any(|j| j.core && j.name == REFRESH_JOB);
    if f.rates == 0 && !refreshing {
        return vec![Finding::ok("rates", "none, and no provider is configured")];
    }
    let mut found = vec![published(f, refreshing)];
    // Rows of providers that are no longer configured say nothing.
    let newest = f.providers.iter().filter_map(|p| p.judged_s).min().unwrap_or(0);
    let current = |p: &&ProviderFacts| p.judged_s.is_none_or(|s| s <= newest + 86_400);
    found.extend(f.providers.iter().filter(current).map(provider));
    found
}

fn published(f: &FxFacts, refreshing: bool) -> Finding {
    let count = |n: i64, what: &dyn Display| if n > 0 { format!(", {n} {what}") } else { String::new() };
    let when =
        f.refreshed_s.map_or_else(|| "never refreshed".into(), |s| format!("refreshed {} ago", seconds(s.max(0))));
    let detail = format!(
        "{} published, {when}{}{}{}",
        f.rates,
        count(f.by_hand, &"held by hand"),
        count(f.cached, &"last good values"),
        count(f.expired, &"expired")
    );
    let ask = "See the providers below; `rowcast rates refresh` asks them now.";
    match () {
        _ if !refreshing => Finding::warn(
            "rates",
            format!("{detail}, and nothing refreshes them"),
            "Configure a provider, such as [provider.source.ecb], and start `rowcast serve`.",
        ),
        _ if f.expired > 0 => Finding::fail("rates", detail, format!("Expired rates are not quoted. {ask}")),
        _ if f.rates == 0 => Finding::warn("rates", detail, ask),
        _ if f.cached > 0 => Finding::warn("rates", detail, format!("Nobody quotes these freshly. {ask}")),
        _ if !f.runner && f.refreshed_s.is_none_or(|s| s > BEHIND_OLD_S) => {
            Finding::warn("rates", detail, "No instance refreshes them: start `rowcast serve`.")
        }
        _ => Finding::ok("rates", detail),
    }
}

fn provider(p: &ProviderFacts) -> Finding {
    let name = format!("provider {}", p.name);
    let answered =
        p.answered_s.map_or_else(|| "never answered".into(), |s| format!("answered {} ago", seconds(s.max(0))));
    let detail = p.detail.as_deref().unwrap_or("took too long");
    let said = format!("{detail}; {answered}");
    let holds = p.held_s.is_none_or(|s| s > 0);
    let forget = format!("`delete from rowcast_fx.provider_state where provider = '{}'` and restart", p.name);
    match (p.breaker.as_str(), p.why.as_deref(), p.outcome.as_str()) {
        (_, Some("auth"), _) => Finding::fail(&name, said, "Set another key in its environment variable, and restart."),
        ("open", Some("quota"), _) if holds => Finding::fail(
            &name,
            said,
            format!(
                "Raise its min_interval_ms, so that the month's requests last. With more requests bought: {forget}."
            ),
        ),
        ("open", Some("rate_limited"), _) if holds => {
            Finding::warn(&name, said, "Raise its min_interval_ms; it is asked again by itself.")
        }
        ("open", _, _) if holds => Finding::fail(
            &name,
            said,
            "Can this machine reach it? A proxy (HTTPS_PROXY) and base_url decide where it is looked for. It is tried again by itself.",
        ),
        (_, _, "failed") => {
            Finding::warn(&name, said, "Once is no matter; after five in a row it is left alone for a while.")
        }
        (_, _, "slow") => Finding::warn(
            &name,
            format!("was not done in time; {answered}"),
            "Its answer counts in the next refresh. Raise rates.round_ms, or lower its timeout_ms.",
        ),
        _ => Finding::ok(&name, answered),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Fail, Ok, Warn};
    use super::*;

    fn job_facts() -> JobFacts {
        JobFacts {
            name: "nightly".into(),
            core: false,
            problem: None,
            outcome: Some("ok".into()),
            error: None,
            failed: 0,
            missed: 0,
            skipped: 0,
            runs: 10,
            may: true,
            role: "reporting".into(),
        }
    }

    fn provider_facts() -> ProviderFacts {
        ProviderFacts {
            name: "fixer".into(),
            outcome: "answered".into(),
            breaker: "closed".into(),
            why: None,
            detail: None,
            held_s: None,
            answered_s: Some(5),
            judged_s: Some(5),
        }
    }

    fn facts() -> FxFacts {
        let refresh = JobFacts { name: REFRESH_JOB.into(), core: true, ..job_facts() };
        FxFacts {
            runner: true,
            jobs: vec![refresh, job_facts()],
            rates: 60,
            cached: 0,
            expired: 0,
            by_hand: 0,
            refreshed_s: Some(300),
            providers: vec![provider_facts()],
        }
    }

    fn verdict(f: &FxFacts, name: &str) -> Verdict {
        let found = [jobs(f), rates(f)].concat();
        let finding = found.iter().find(|x| x.name == name).unwrap_or_else(|| panic!("no {name} in {found:?}"));
        assert_eq!(finding.verdict == Ok, finding.hint.is_none(), "{finding:?}");
        finding.verdict
    }

    #[test]
    fn jobs_and_rates_are_judged() {
        type Case = (&'static str, Verdict, fn(&mut FxFacts));
        let cases: [Case; 19] = [
            ("jobs", Ok, |_| {}),
            ("jobs", Ok, |f| (f.jobs, f.runner) = (vec![], false)),
            ("jobs", Warn, |f| f.runner = false),
            ("job nightly", Ok, |_| {}),
            ("job nightly", Ok, |f| f.jobs[1].outcome = None),
            ("job nightly", Fail, |f| f.jobs[1].problem = Some("61 is no minute".into())),
            ("job nightly", Fail, |f| f.jobs[1].may = false),
            ("job nightly", Fail, |f| f.jobs[1].outcome = Some("failed".into())),
            ("job nightly", Fail, |f| f.jobs[1].outcome = Some("timed_out".into())),
            ("job nightly", Warn, |f| f.jobs[1].failed = 1),
            ("job nightly", Warn, |f| f.jobs[1].missed = 7),
            ("job nightly", Warn, |f| f.jobs[1].outcome = Some("skipped_overlap".into())),
            ("rates", Ok, |_| {}),
            ("rates", Ok, |f| f.by_hand = 1),
            ("rates", Warn, |f| f.cached = 4),
            ("rates", Fail, |f| (f.cached, f.expired) = (4, 1)),
            ("rates", Warn, |f| f.runner = false),
            ("rates", Warn, |f| f.jobs.clear()),
            ("rates", Ok, |f| (f.jobs, f.rates, f.providers) = (vec![], 0, vec![])),
        ];
        for (name, want, change) in cases {
            let mut facts = facts();
            change(&mut facts);
            assert_eq!(verdict(&facts, name), want, "{facts:?}");
        }
    }

    #[test]
    fn providers_are_judged() {
        type Case = (Verdict, fn(&mut ProviderFacts));
        let cases: [Case; 9] = [
            (Ok, |_| {}),
            (Ok, |p| (p.outcome, p.why, p.held_s) = ("held".into(), Some("interval".into()), Some(60))),
            (Ok, |p| (p.outcome, p.why, p.held_s) = ("held".into(), Some("no_news".into()), Some(60))),
            (Fail, |p| (p.outcome, p.breaker, p.why) = ("held".into(), "open".into(), Some("auth".into()))),
            (Fail, |p| (p.breaker, p.why, p.held_s) = ("open".into(), Some("quota".into()), Some(9_000))),
            (Fail, |p| (p.breaker, p.why, p.held_s) = ("open".into(), Some("failing".into()), Some(30))),
            (Warn, |p| (p.breaker, p.why, p.held_s) = ("open".into(), Some("rate_limited".into()), Some(30))),
            (Warn, |p| p.outcome = "failed".into()),
            (Warn, |p| p.outcome = "slow".into()),
        ];
        for (want, change) in cases {
            let mut facts = facts();
            change(&mut facts.providers[0]);
            assert_eq!(verdict(&facts, "provider fixer"), want, "{facts:?}");
        }
        // Long out of the configuration.
        let mut facts = facts();
        let gone =
            ProviderFacts { name: "gone".into(), outcome: "failed".into(), judged_s: Some(90_000), ..provider_facts() };
        facts.providers.push(gone);
        assert_eq!(rates(&facts).len(), 2);
    }
}
