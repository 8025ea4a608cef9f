"""The rendered manifests of an overlay, as Kubernetes would see them: pods, services, network policies."""

import re
from dataclasses import dataclass, field

import yaml

WORKLOADS = ("Deployment", "StatefulSet", "Job")


@dataclass
class Pod:
    """One pod that Kubernetes would start, with a single container."""

    name: str
    workload: dict
    spec: dict
    labels: dict
    annotations: dict
    container: dict = field(init=False)

    def __post_init__(self):
        (self.container,) = self.spec["containers"]

    @property
    def image(self):
        return self.container["image"]

    @property
    def component(self):
        return self.labels["app.kubernetes.io/component"]

    @property
    def is_topline(self):
        return re.fullmatch(r"(.*/)?topline:.+", self.image) is not None

    @property
    def ports(self):
        """Name to number."""
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}

    @property
    def has_certificate(self):
        """Whether it speaks TLS on its port `http`."""
        return any("secret" in volume for volume in self.spec.get("volumes", []))

    def port(self, name_or_number):
        return self.ports[name_or_number] if isinstance(name_or_number, str) else name_or_number

    @property
    def probes(self):
        kinds = ("startupProbe", "readinessProbe", "livenessProbe")
        return {kind: self.container[kind] for kind in kinds if kind in self.container}


def selects(selector, labels):
    """Whether a label selector takes an object of these labels."""
    operators = {
        "In": lambda value, values: value in values,
        "NotIn": lambda value, values: value not in values,
        "Exists": lambda value, _: value is not None,
        "DoesNotExist": lambda value, _: value is None,
    }
    return all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items()) and all(
        operators[e["operator"]](labels.get(e["key"]), e.get("values"))
        for e in selector.get("matchExpressions", [])
    )


class Manifests:
    def __init__(self, path):
        with open(path) as file:
            self.documents = [document for document in yaml.safe_load_all(file) if document]

    def of(self, kind):
        return [document for document in self.documents if document["kind"] == kind]

    def named(self, kind, name):
        (found,) = [d for d in self.of(kind) if d["metadata"]["name"] == name]
        return found

    def replicas(self, workload):
        name = workload["metadata"]["name"]
        for scaler in self.of("HorizontalPodAutoscaler"):
            if scaler["spec"]["scaleTargetRef"]["name"] == name:
                return scaler["spec"]["minReplicas"]
        return workload["spec"].get("replicas", 1)

    def pods(self):
        return [
            self._pod(workload, number)
            for kind in WORKLOADS
            for workload in self.of(kind)
            for number in range(self.replicas(workload))
        ]

    def _pod(self, workload, number):
        template = workload["spec"]["template"]
        labels = dict(template["metadata"]["labels"])
        if workload["kind"] == "StatefulSet":
            labels["apps.kubernetes.io/pod-index"] = str(number)
        name = f"{workload['metadata']['name']}-{number}"
        annotations = template["metadata"].get("annotations", {})
        return Pod(name, workload, template["spec"], labels, annotations)

    def service(self, name):
        found = [s for s in self.of("Service") if s["metadata"]["name"] == name]
        return found[0] if found else None

    def behind(self, service):
        """The pods of a service."""
        selector = {"matchLabels": service["spec"]["selector"]}
        return [pod for pod in self.pods() if selects(selector, pod.labels)]

    def environment(self, pod):
        """The environment of the container, without what the overlay leaves to a Secret made by hand."""
        values = {}
        for source in pod.container.get("envFrom", []):
            values.update(self.named("ConfigMap", source["configMapRef"]["name"])["data"])
        for variable in pod.container.get("env", []):
            values[variable["name"]] = self._value(variable, pod)
        return {name: value for name, value in values.items() if value is not None}

    def _value(self, variable, pod):
        if "value" in variable:
            return variable["value"]
        source = variable["valueFrom"]
        if "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "metadata.name"
            return pod.name
        reference = source["secretKeyRef"]
        for secret in self.of("Secret"):
            if secret["metadata"]["name"] == reference["name"]:
                import base64

                return base64.b64decode(secret["data"][reference["key"]]).decode()
        return None

    def allows(self, source, target, port):
        """Whether the network policies let `source` connect to `target`; either is None for what is no pod."""
        leaves = source is None or self._passes("Egress", "to", source, target, port)
        arrives = target is None or self._passes("Ingress", "from", target, source, port)
        return leaves and arrives

    def _passes(self, direction, peers, pod, other, port):
        rules = [
            rule
            for policy in self.of("NetworkPolicy")
            if selects(policy["spec"]["podSelector"], pod.labels)
            and direction in policy["spec"]["policyTypes"]
            for rule in policy["spec"].get(direction.lower(), [])
        ]
        return any(self._matches(rule, peers, other, port) for rule in rules)

    @staticmethod
    def _matches(rule, peers, other, port):
        if all(p["port"] != port for p in rule.get("ports", [{"port": port}])):
            return False
        if peers not in rule:
            return True
        return any(
            other is not None
            and "namespaceSelector" not in peer
            and "ipBlock" not in peer
            and selects(peer["podSelector"], other.labels)
            for peer in rule[peers]
        )
