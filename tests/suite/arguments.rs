//! Recorded arguments, `evals/arguments.jsonl`, replayed in their order: what an assistant may send
//! is accepted, and its usual mistakes are answered with the argument and the way out.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use engine::testing::settings;
use serde_json::Value;

use crate::protocol::{Session, error_text};
use crate::support::client::{call, request};
use crate::support::project::Project;

/// The files that the recorded arguments name.
fn project() -> Project {
    let place = Project::new();
    place.write(
        "feedback.csv",
        "id,text,label\n1,I love this,short\n2,I hate this a lot,long\n3,Arrived on time,middle\n",
    );
    place.write("lines.txt", "I love this\nI hate this\n");
    place.write("bare.csv", "I love this,1\nI hate this,2\n");
    place.write("rows.jsonl", r#"{"message": {"body": "I love this"}}"#);
    let mut tickets = String::from("id,text\n");
    for number in 1..=60 {
        let problem = if number % 2 == 0 { "invoice with a wrong price" } else { "crash at the start" };
        writeln!(tickets, "{number},case {number} is about a {problem}").unwrap();
    }
    place.write("tickets.csv", tickets);
    place
}

/// Returns whether a value fits a schema, in the keywords that the tools use. Null means absent.
fn fits(schema: &Value, value: &Value) -> bool {
    let limits = |number: f64| {
        number >= schema["minimum"].as_f64().unwrap_or(f64::MIN)
            && number <= schema["maximum"].as_f64().unwrap_or(f64::MAX)
    };
    match value {
        Value::Null => true,
        Value::Bool(_) => schema["type"] == "boolean",
        Value::Number(number) => {
            (schema["type"] == "number" || schema["type"] == "integer" && number.is_i64())
                && limits(number.as_f64().unwrap())
        }
        Value::String(_) => {
            schema["type"] == "string" && schema["enum"].as_array().is_none_or(|values| values.contains(value))
        }
        Value::Array(items) => schema["type"] == "array" && items.iter().all(|item| fits(&schema["items"], item)),
        Value::Object(fields) => {
            let required = schema["required"].as_array().into_iter().flatten();
            let field = |name: &str| schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
            schema["type"] == "object"
                && required.filter_map(Value::as_str).all(|name| fields.contains_key(name))
                && fields.iter().all(|(name, value)| fits(field(name), value))
        }
    }
}

#[tokio::test]
async fn recorded_arguments_are_accepted_and_mistakes_are_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("evals/arguments.jsonl");
    let place = project();
    let mut session = Session::with(&place.script, settings(), place.root().to_owned());
    let tools = session.ask(&request(0, "tools/list", serde_json::json!({}))).await["result"]["tools"].take();
    let (mut accepted, mut refused) = (0, 0);
    for (line, recorded) in (1..).zip(fs::read_to_string(path).unwrap().lines()) {
        let Value::Object(recorded) = serde_json::from_str(recorded).unwrap() else { panic!("line {line}") };
        let (tool, arguments) = (recorded["tool"].as_str().unwrap(), &recorded["arguments"]);
        session.send(&call(line, tool, arguments.clone())).await;
        let answer = session.receive_answer(line).await;
        let result = &answer["result"];
        assert!(result.is_object(), "line {line}: {answer}");
        if let Some(named) = recorded.get("names") {
            let error = error_text(result);
            let mut named = named.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            let missing = named.find(|name| !error.contains(name));
            assert_eq!(missing, None, "line {line}: {error}");
            refused += 1;
        } else {
            assert_eq!(result["isError"], false, "line {line}: {result}");
            let described = tools.as_array().unwrap().iter().find(|described| described["name"] == tool).unwrap();
            assert!(fits(&described["inputSchema"], arguments), "line {line}: the schema refuses {arguments}");
            accepted += 1;
        }
    }
    assert!(accepted >= 30 && refused >= 60, "{accepted} accepted, {refused} refused");
}
