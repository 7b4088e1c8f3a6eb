//! Which containers of a pod move together.

use ms2m_core::{Error, ErrorKind, Result};

use super::source::SourcePod;
use crate::api::annotations::CONTAINERS;

impl SourcePod {
    /// The containers whose state moves with that of the `consumer`, which is one of them, in the pod's order: those that the annotation
    /// [`CONTAINERS`] names, and the consumer alone without it. All others start fresh.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it names what is no ordinary container of the pod, one twice, or not the consumer.
    pub fn together(&self, consumer: &str) -> Result<Vec<String>> {
        let Some(said) = self.annotation(CONTAINERS) else { return Ok(vec![consumer.to_owned()]) };
        let named: Vec<&str> = said.split(',').map(str::trim).collect();
        let refuse = |why: String| {
            let message = format!("annotation {CONTAINERS} of the pod is `{}`: {why}", said.escape_default());
            Err(Error::fatal(ErrorKind::Invalid, message).with("pod", self.name()))
        };
        let spec = self.pod().spec.as_ref();
        let there: Vec<&str> = spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str()).collect();
        for (at, name) in named.iter().enumerate() {
            if named[..at].contains(name) {
                return refuse(format!("it names {name} twice: name each container once"));
            }
            if there.contains(name) {
                continue;
            }
            let is_init = spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).any(|init| init.name == *name);
            let is_ephemeral = spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten()).any(|one| one.name == *name);
            return refuse(match () {
                () if name.is_empty() => "it has an empty name in it: separate the containers by single commas".to_owned(),
                () if is_init => format!("{name} is an init container, and those do not run again: leave it out"),
                () if is_ephemeral => format!("{name} is an ephemeral container, which stays behind: leave it out"),
                () => format!("the pod has no container {}: it has {}", name.escape_default(), there.join(", ")),
            });
        }
        if !named.contains(&consumer) {
            return refuse(format!("{consumer}, whose queue is moved, is not among them: add it, or name another one as the consumer"));
        }
        Ok(there.into_iter().filter(|name| named.contains(name)).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(annotations: &Value) -> SourcePod {
        let pod = json!({
            "metadata": { "name": "orders-1", "annotations": annotations },
            "spec": {
                "initContainers": [{ "name": "schema" }],
                "containers": [{ "name": "logs" }, { "name": "cache" }, { "name": "orders" }],
                "ephemeralContainers": [{ "name": "debug" }],
            },
        });
        SourcePod::of(pod).unwrap()
    }

    fn together(said: &str) -> Result<Vec<String>> {
        pod(&json!({ CONTAINERS: said })).together("orders")
    }

    #[test]
    fn the_consumer_moves_alone_unless_others_are_named_and_then_in_the_pods_order() {
        assert_eq!(pod(&json!({})).together("orders").unwrap(), ["orders"]);
        assert_eq!(together("orders").unwrap(), ["orders"]);
        assert_eq!(together("orders, cache").unwrap(), ["cache", "orders"]);
        assert_eq!(together("orders,cache,logs").unwrap(), ["logs", "cache", "orders"]);
    }

    #[test]
    fn what_cannot_move_together_is_told() {
        for (said, why) in [
            ("", "an empty name"),
            ("orders,", "an empty name"),
            ("orders,cash", "it has logs, cache, orders"),
            ("orders,cache,cache", "cache twice"),
            ("orders,schema", "schema is an init container"),
            ("orders,debug", "debug is an ephemeral container"),
            ("cache", "orders, whose queue is moved, is not among them"),
            ("orders,\u{1b}", "\\u{1b}"),
        ] {
            let error = together(said).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(why) && !error.to_string().contains('\u{1b}'), "{said}: {error}");
        }
    }
}
