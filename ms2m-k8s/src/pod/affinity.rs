//! What a pod requires of its node. By affinity and not by the node's name, so that the scheduler looks after room and taints.

use serde_json::{Map, Value, json};

use crate::api::PINNED_TO;
use crate::node::HOSTNAME;

type Object = Map<String, Value>;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const TERMS: &str = "nodeSelectorTerms";

/// Adds to what a pod's spec requires. `kind` is `matchFields` or `matchExpressions`; every term of the spec's own stays.
pub(super) fn require(spec: &mut Object, kind: &str, requirement: &Value) {
    let required = object(object(object(spec, "affinity"), "nodeAffinity"), REQUIRED);
    let terms = required.entry(TERMS).or_insert_with(|| json!([]));
    if terms.as_array().is_none_or(Vec::is_empty) {
        *terms = json!([{}]);
    }
    for term in terms.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        match term.get_mut(kind).and_then(Value::as_array_mut) {
            Some(requirements) => requirements.push(requirement.clone()),
            None => drop(term.insert(kind.to_owned(), json!([requirement]))),
        }
    }
}

/// Takes such requirements away. What is left of it requires nothing is taken away with it: a term without requirements matches no node.
pub(super) fn release(spec: &mut Object, kind: &str, such: impl Fn(&Value) -> bool) {
    let path = format!("/nodeAffinity/{REQUIRED}/{TERMS}");
    let terms = spec.get_mut("affinity").and_then(|affinity| affinity.pointer_mut(&path)).and_then(Value::as_array_mut);
    let Some(terms) = terms else { return };
    terms.retain_mut(|term| {
        let Some(requirements) = term.get_mut(kind).and_then(Value::as_array_mut) else { return true };
        let before = requirements.len();
        requirements.retain(|requirement| !such(requirement));
        let (changed, empty) = (requirements.len() < before, requirements.is_empty());
        if let Some(term) = term.as_object_mut().filter(|_| changed && empty) {
            term.remove(kind);
            return !term.is_empty();
        }
        true
    });
    if terms.is_empty() {
        without(spec, &["affinity", "nodeAffinity", REQUIRED]);
    }
}

/// Holds the pods of a template on the node of that host name, and nowhere else where an earlier pin has held them.
pub(crate) fn pin(template: &mut Value, hostname: &str) {
    if !template.is_object() {
        return;
    }
    let before = pinned_to(template).map(str::to_owned);
    let Some(template) = template.as_object_mut() else { return };
    let spec = object(template, "spec");
    if let Some(before) = before {
        release_pin(spec, &before);
    }
    require(spec, "matchExpressions", &pin_to(hostname));
    object(object(template, "metadata"), "annotations").insert(PINNED_TO.to_owned(), hostname.into());
}

/// The host name of the node that a pod's or a template's metadata says it is pinned to.
pub(crate) fn pinned_to(pod: &Value) -> Option<&str> {
    pod["metadata"]["annotations"][PINNED_TO].as_str()
}

/// What [`pin`] has added to a spec.
pub(super) fn release_pin(spec: &mut Object, hostname: &str) {
    let pin = pin_to(hostname);
    release(spec, "matchExpressions", |requirement| *requirement == pin);
}

fn pin_to(hostname: &str) -> Value {
    json!({ "key": HOSTNAME, "operator": "In", "values": [hostname] })
}

/// Removes the last of a path, and on the way back what is empty then.
fn without(parent: &mut Object, path: &[&str]) {
    let [field, rest @ ..] = path else { return };
    match parent.get_mut(*field).and_then(Value::as_object_mut) {
        Some(child) if !rest.is_empty() => {
            without(child, rest);
            if child.is_empty() {
                parent.remove(*field);
            }
        }
        _ => drop(parent.remove(*field)),
    }
}

fn object<'a>(parent: &'a mut Object, field: &str) -> &'a mut Object {
    if !parent.get(field).is_some_and(Value::is_object) {
        parent.insert(field.to_owned(), json!({}));
    }
    parent.get_mut(field).and_then(Value::as_object_mut).expect("it was just made one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(affinity: Value) -> Value {
        let mut template = json!({ "metadata": { "labels": { "app": "orders" } }, "spec": { "containers": [] } });
        if !affinity.is_null() {
            template["spec"]["affinity"] = affinity;
        }
        template
    }

    fn terms(template: &Value) -> &Value {
        &template["spec"]["affinity"]["nodeAffinity"][REQUIRED][TERMS]
    }

    #[test]
    fn a_template_is_pinned_and_pinned_elsewhere_and_nothing_is_left_of_the_first_pin() {
        let mut pinned = template(Value::Null);
        pin(&mut pinned, "n1");
        assert_eq!(pinned_to(&pinned), Some("n1"));
        assert_eq!(*terms(&pinned), json!([{ "matchExpressions": [{ "key": HOSTNAME, "operator": "In", "values": ["n1"] }] }]));
        let mut again = pinned.clone();
        pin(&mut again, "n1");
        assert_eq!(again, pinned, "once is enough");
        pin(&mut pinned, "n2");
        let mut at_once = template(Value::Null);
        pin(&mut at_once, "n2");
        assert_eq!(pinned, at_once);
    }

    #[test]
    fn what_the_workload_requires_itself_stays() {
        let ssd = json!({ "key": "disk", "operator": "In", "values": ["ssd"] });
        let big = json!({ "key": "size", "operator": "Gt", "values": ["8"] });
        let own = json!({
            "podAntiAffinity": { "kept": true },
            "nodeAffinity": { REQUIRED: { TERMS: [{ "matchExpressions": [ssd] }, { "matchFields": [big] }] } },
        });
        let mut pinned = template(own.clone());
        pin(&mut pinned, "n1");
        let here = pin_to("n1");
        assert_eq!(*terms(&pinned), json!([{ "matchExpressions": [ssd, here] }, { "matchFields": [big], "matchExpressions": [here] }]));
        let spec = pinned["spec"].as_object_mut().unwrap();
        release_pin(spec, "n9");
        release_pin(spec, "n1");
        assert_eq!(spec["affinity"], own);
    }

    #[test]
    fn what_only_a_pin_has_required_is_gone_with_it() {
        let mut pinned = template(Value::Null);
        pin(&mut pinned, "n1");
        release_pin(pinned["spec"].as_object_mut().unwrap(), "n1");
        assert_eq!(pinned["spec"], template(Value::Null)["spec"]);
    }
}
