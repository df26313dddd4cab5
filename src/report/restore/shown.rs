//! Plans and ends of steps, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Condition, Expected, Holds, Plan, PlanStep, Progress, StepEnd, Who};
use crate::clock::spoken;

/// How a step ended.
pub fn step(end: &StepEnd) -> String {
    let how = if end.already { "done already" } else { "done" };
    let mut text = format!("restore {}: {how}\n", end.step);
    for sentence in &end.said {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {sentence}");
    }
    text
}

/// A plan as a page.
pub fn plan(plan: &Plan) -> String {
    let mut text = format!(
        "restore of {} from backup {}, complete at {}\nholds: {}\nrestores: {}\n",
        plan.foundation,
        plan.backup,
        plan.finished,
        plan.components.join(", "),
        plan.scope
    );
    if !plan.target.is_empty() {
        text.push_str("\nThe target\n");
        list(&mut text, &plan.target);
    }
    if !plan.conditions.is_empty() {
        text.push_str("\nBefore you begin\n");
        for condition in &plan.conditions {
            let mark = match condition.holds {
                Holds::Yes => "ok     ",
                Holds::No => "MISSING",
                Holds::Look => "look   ",
            };
            let _ = writeln!(text, "  {mark}  {}: {}", condition.what, condition.why);
        }
    }
    text.push_str("\nThe steps, in this order\n");
    for (at, step) in plan.steps.iter().enumerate() {
        one_step(&mut text, at + 1, step);
    }
    if let Some(total) = &plan.total {
        let _ = writeln!(text, "\nIn all {}", takes(total));
    }
    text
}

fn one_step(text: &mut String, number: usize, step: &PlanStep) {
    let state = match step.state {
        Progress::Open => "",
        Progress::Done => "  [done already]",
        Progress::NotNeeded => "  [not needed]",
        Progress::Unknown => "  [the target does not tell whether it is done]",
    };
    let who = match step.who {
        Who::Automatic(_) => "",
        Who::Person => "by hand: ",
        Who::Decision => "to decide: ",
    };
    let _ = writeln!(text, "\n{number:>3}. {who}{}{state}", step.title);
    if let Who::Automatic(command) = &step.who {
        let _ = writeln!(text, "       $ {command}");
    }
    if let Some(expected) = &step.expected {
        let _ = writeln!(text, "       takes {}", takes(expected));
    }
    for note in &step.notes {
        let _ = writeln!(text, "       {note}");
    }
}

fn list(text: &mut String, sentences: &[String]) {
    for sentence in sentences {
        let _ = writeln!(text, "  {sentence}");
    }
}

fn takes(expected: &Expected) -> String {
    let (least, most) = (spoken(expected.least), spoken(expected.most));
    if least == most {
        format!("about {least}: {}", expected.because)
    } else {
        format!("{least} to {most}: {}", expected.because)
    }
}

/// A plan for programs: durations in seconds, absent is absent.
pub fn plan_json(plan: &Plan) -> Value {
    let mut value = json!({
        "foundation": plan.foundation,
        "backup": plan.backup,
        "finished": plan.finished,
        "components": plan.components,
        "scope": plan.scope,
        "target": plan.target,
        "conditions": plan.conditions.iter().map(condition_json).collect::<Vec<_>>(),
        "steps": plan.steps.iter().map(step_json).collect::<Vec<_>>(),
    });
    if let (Some(map), Some(total)) = (value.as_object_mut(), &plan.total) {
        map.insert("expected".to_owned(), expected_json(total));
    }
    value
}

fn expected_json(expected: &Expected) -> Value {
    json!({
        "least_seconds": expected.least.as_secs(),
        "most_seconds": expected.most.as_secs(),
        "because": expected.because,
    })
}

fn condition_json(condition: &Condition) -> Value {
    json!({
        "what": condition.what,
        "why": condition.why,
        "holds": match condition.holds {
            Holds::Yes => json!(true),
            Holds::No => json!(false),
            Holds::Look => Value::Null,
        },
    })
}

fn step_json(step: &PlanStep) -> Value {
    let mut value = json!({
        "title": step.title,
        "who": match step.who {
            Who::Automatic(_) => "lifeboat",
            Who::Person => "person",
            Who::Decision => "decision",
        },
        "state": match step.state {
            Progress::Open => "open",
            Progress::Done => "done",
            Progress::NotNeeded => "not needed",
            Progress::Unknown => "unknown",
        },
        "notes": step.notes,
    });
    if let Some(map) = value.as_object_mut() {
        if let Who::Automatic(command) = &step.who {
            map.insert("command".to_owned(), json!(command));
        }
        if let Some(expected) = &step.expected {
            map.insert("expected".to_owned(), expected_json(expected));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample() -> Plan {
        Plan {
            foundation: "prod".to_owned(),
            backup: "ID".to_owned(),
            finished: "2026-11-22T01:02:03Z".to_owned(),
            components: vec!["director".to_owned()],
            scope: "the director alone".to_owned(),
            target: vec!["it is not set up".to_owned()],
            conditions: vec![Condition {
                holds: Holds::No,
                what: "stemcell".to_owned(),
                why: "is not in the mirror".to_owned(),
            }],
            steps: vec![
                PlanStep {
                    title: "the infrastructure".to_owned(),
                    who: Who::Person,
                    state: Progress::Open,
                    notes: vec!["networks".to_owned()],
                    expected: None,
                },
                PlanStep {
                    title: "restore the director".to_owned(),
                    who: Who::Automatic("lifeboat restore director ID".to_owned()),
                    state: Progress::Done,
                    notes: Vec::new(),
                    expected: Some(Expected {
                        least: Duration::from_secs(900),
                        most: Duration::from_secs(1800),
                        because: "1 GiB".to_owned(),
                    }),
                },
            ],
            total: Some(Expected {
                least: Duration::from_secs(60),
                most: Duration::from_secs(120),
                because: "the sum of 1 steps".to_owned(),
            }),
        }
    }

    #[test]
    fn a_plan_is_a_page_and_a_document() {
        let text = plan(&sample());
        for line in [
            "restore of prod from backup ID, complete at 2026-11-22T01:02:03Z",
            "  MISSING  stemcell: is not in the mirror",
            "  1. by hand: the infrastructure",
            "  2. restore the director  [done already]",
            "       $ lifeboat restore director ID",
            "In all 1 min 00 s to 2 min 00 s: the sum of 1 steps",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains(": 1 GiB"), "{text}");
        let value = plan_json(&sample());
        assert_eq!(value["conditions"][0]["holds"], json!(false));
        assert_eq!(value["steps"][1]["command"], "lifeboat restore director ID");
        assert_eq!(value["steps"][1]["expected"]["least_seconds"], 900);
        assert_eq!(value["steps"][0].get("command"), None);
        assert_eq!(value["expected"]["most_seconds"], 120);
    }

    #[test]
    fn a_step_says_whether_it_had_to_do_anything() {
        let end = |already| StepEnd {
            step: "bosh-state".to_owned(),
            already,
            said: vec!["it is gone".to_owned()],
        };
        assert_eq!(
            step(&end(false)),
            "restore bosh-state: done\n  it is gone\n"
        );
        assert!(step(&end(true)).starts_with("restore bosh-state: done already\n"));
    }
}
