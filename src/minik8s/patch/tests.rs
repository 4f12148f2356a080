use super::*;
use serde_json::{Value, json};

fn manager(name: &str) -> Manager {
    Manager { name: name.to_owned(), subresource: String::new() }
}

fn applied(live: &Value, wanted: Value, by: &str) -> Value {
    apply(live, &wanted, &manager(by), false, Schema::BuiltIn).unwrap()
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec})
}

#[test]
fn a_field_no_longer_applied_goes() {
    let live = applied(&Value::Null, object(json!({"a": 1, "b": {"c": 2}})), "x");
    let live = applied(&live, object(json!({"a": 1})), "x");
    assert_eq!(live["spec"], json!({"a": 1}));
}

#[test]
fn a_field_that_another_manager_has_too_stays() {
    let live = applied(&Value::Null, object(json!({"a": 1, "b": 2})), "x");
    let live = applied(&live, object(json!({"b": 2})), "y");
    let live = applied(&live, object(json!({"a": 1})), "x");
    assert_eq!(live["spec"], json!({"a": 1, "b": 2}));
}

#[test]
fn another_managers_value_is_a_conflict_until_forced() {
    let live = applied(&Value::Null, object(json!({"a": 1})), "x");
    let wanted = object(json!({"a": 2}));
    let conflicts = apply(&live, &wanted, &manager("y"), false, Schema::BuiltIn).unwrap_err();
    assert_eq!(conflicts, [Conflict { manager: "x".to_owned(), field: ".spec.a".to_owned() }]);

    let live = apply(&live, &wanted, &manager("y"), true, Schema::BuiltIn).unwrap();
    assert_eq!(live["spec"]["a"], 2);
    let live = applied(&live, object(json!({})), "x");
    assert_eq!(live["spec"]["a"], 2, "x no longer owns it");
}

#[test]
fn the_same_again_changes_nothing() {
    let wanted = object(json!({"containers": [{"name": "a", "env": [{"name": "E", "value": "1"}]}]}));
    let live = applied(&Value::Null, wanted.clone(), "x");
    assert_eq!(applied(&live, wanted, "x"), live);
}

#[test]
fn items_of_a_list_belong_to_their_managers() {
    let one = |name: &str, image: &str| json!({"name": name, "image": image});
    let live = applied(&Value::Null, object(json!({"containers": [one("a", "1"), one("b", "1")]})), "x");
    let live = applied(&live, object(json!({"containers": [one("c", "1")]})), "y");
    let live = applied(&live, object(json!({"containers": [one("b", "2")]})), "x");
    assert_eq!(live["spec"]["containers"], json!([one("b", "2"), one("c", "1")]));
}

#[test]
fn an_update_takes_fields_over() {
    let live = applied(&Value::Null, object(json!({"a": 1})), "x");
    let mut updated = live.clone();
    updated["spec"]["a"] = json!(2);
    track_update(&live, &mut updated, &manager("y"), Schema::BuiltIn);
    let conflicts = apply(&updated, &object(json!({"a": 1})), &manager("x"), false, Schema::BuiltIn);
    assert_eq!(conflicts.unwrap_err()[0].manager, "y");
}

#[test]
fn a_custom_list_merges_as_its_schema_says() {
    let schema = json!({"properties": {"spec": {"properties": {
        "tags": {"x-kubernetes-list-type": "set", "items": {}},
        "plain": {"items": {}},
    }}}});
    let with = |live: &Value, spec: Value, by: &str| {
        let schema = Schema::Custom(&schema);
        apply(live, &object(spec), &manager(by), true, schema).unwrap()
    };
    let live = with(&Value::Null, json!({"tags": ["a"], "plain": [1]}), "x");
    let live = with(&live, json!({"tags": ["b"], "plain": [2]}), "y");
    assert_eq!(live["spec"], json!({"tags": ["a", "b"], "plain": [2]}));
    let live = with(&live, json!({"tags": []}), "x");
    assert_eq!(live["spec"]["tags"], json!(["b"]));
}

#[test]
fn items_of_a_list_are_in_the_order_in_which_they_were_applied_last() {
    let named = |names: &[&str]| {
        object(json!({"containers": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()}))
    };
    let names = |live: &Value| -> String {
        let containers = live["spec"]["containers"].as_array().unwrap().iter();
        containers.map(|item| item["name"].as_str().unwrap()).collect()
    };
    let live = applied(&Value::Null, named(&["a", "c"]), "x");
    let live = applied(&live, named(&["a", "b", "c"]), "x");
    assert_eq!(names(&live), "abc");
    let live = applied(&live, named(&["z"]), "y");
    let live = applied(&live, named(&["c", "b"]), "x");
    assert_eq!(names(&live), "cbz");
}

#[test]
fn a_list_that_was_owned_as_a_whole_may_merge_under_keys_later() {
    let list = |kind: &str| {
        json!({"properties": {"spec": {"properties": {
            "conditions": {"x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["type"], "items": {}},
        }}}})
    };
    let with = |live: &Value, kind: &str, types: &[&str]| {
        let conditions: Vec<Value> = types.iter().map(|type_| json!({"type": type_, "status": "True"})).collect();
        let schema = list(kind);
        apply(live, &object(json!({"conditions": conditions})), &manager("x"), true, Schema::Custom(&schema)).unwrap()
    };
    let live = with(&Value::Null, "atomic", &["A", "B"]);
    let live = with(&live, "map", &["A"]);
    assert_eq!(live["spec"]["conditions"], json!([{"type": "A", "status": "True"}]));
}

#[test]
fn finalizers_and_labels_of_several_managers_add_up() {
    let wanted = |finalizer: &str, label: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": "a", "finalizers": [finalizer], "labels": {label: "1"},
        }})
    };
    let live = applied(&Value::Null, wanted("f/x", "x"), "x");
    let live = applied(&live, wanted("f/y", "y"), "y");
    assert_eq!(live["metadata"]["finalizers"], json!(["f/x", "f/y"]));
    let live = applied(&live, json!({"metadata": {"name": "a"}}), "x");
    assert_eq!(live["metadata"]["finalizers"], json!(["f/y"]));
    assert_eq!(live["metadata"]["labels"], json!({"y": "1"}));
}

#[test]
fn a_strategic_patch_merges_lists_under_their_keys() {
    let mut live = json!({"spec": {"containers": [{"name": "a", "image": "1", "tty": true}], "args": [1]}});
    strategic_merge(
        &mut live,
        &json!({"spec": {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{"name": "a", "image": "2", "tty": null}, {"name": "b"}],
            "args": [2],
        }}),
    );
    assert_eq!(live, json!({"spec": {"containers": [{"name": "a", "image": "2"}, {"name": "b"}], "args": [2]}}));
}
