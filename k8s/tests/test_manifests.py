"""What can be told from the rendered manifests alone: that their parts fit together."""

import json
import os
import re
import unittest

from manifests import WORKLOADS, Manifests, selects

OVERLAYS = {name: Manifests(f"{os.environ['RENDERED']}/{name}.yaml") for name in ("kind", "kind-full", "kind-tls", "eks", "eks-full", "eks-tls")}


# Of docs/kubernetes.md, "Sizing", in bytes.
WORKER, WORKER_PAIR, LINE, KEY = 54e6, 450, 8, 64
REPLICA, REPLICA_PAIR, RENDERED = 40e6, 240, 256 << 20
BULK, BODY, CONNECTION = 500e6, 131072, 570e3
# The part of a memory limit that may be taken.
USABLE = 0.9


def memory_limit(pod):
    """In bytes."""
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", pod.container["resources"]["limits"]["memory"]).groups()
    return int(number) << {"Mi": 20, "Gi": 30}[unit]


class Overlay:
    """The same tests for each overlay."""

    manifests: Manifests

    def test_every_reference_is_to_something(self):
        """ConfigMaps, service accounts, headless services; a Secret may be made by hand."""
        names = {
            kind: {document["metadata"]["name"] for document in self.manifests.of(kind)}
            for kind in ("ConfigMap", "ServiceAccount", "Service", "PersistentVolumeClaim")
        }
        for pod in self.manifests.pods():
            self.assertIn(pod.spec["serviceAccountName"], names["ServiceAccount"], pod.name)
            if "serviceName" in pod.workload["spec"]:
                self.assertIn(pod.workload["spec"]["serviceName"], names["Service"], pod.name)
            volumes = [v["configMap"]["name"] for v in pod.spec.get("volumes", []) if "configMap" in v]
            claims = [v["persistentVolumeClaim"]["claimName"] for v in pod.spec.get("volumes", []) if "persistentVolumeClaim" in v]
            self.assertLessEqual(set(claims), names["PersistentVolumeClaim"], pod.name)
            sources = [s["configMapRef"]["name"] for s in pod.container.get("envFrom", [])]
            self.assertLessEqual({*volumes, *sources}, names["ConfigMap"], pod.name)

    def test_selectors_select_what_they_should(self):
        for workload in (w for kind in WORKLOADS[:2] for w in self.manifests.of(kind)):
            spec, name = workload["spec"], workload["metadata"]["name"]
            self.assertTrue(selects(spec["selector"], spec["template"]["metadata"]["labels"]), name)
            for other in (w for kind in WORKLOADS[:2] for w in self.manifests.of(kind)):
                if other is not workload:
                    self.assertFalse(selects(spec["selector"], other["spec"]["template"]["metadata"]["labels"]), name)
        pods = self.manifests.pods()
        for kind in ("PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
            for document in self.manifests.of(kind):
                key = "podSelector" if kind == "NetworkPolicy" else "selector"
                selector, name = document["spec"][key], document["metadata"]["name"]
                self.assertTrue(any(selects(selector, pod.labels) for pod in pods), f"{kind} {name} selects nothing")
        for service in self.manifests.of("Service"):
            self.assertTrue(self.manifests.behind(service), service["metadata"]["name"])

    def test_peers_of_network_policies_are_there(self):
        pods = self.manifests.pods()
        for policy in self.manifests.of("NetworkPolicy"):
            for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
                for peer in rule.get("from", []) + rule.get("to", []):
                    if "namespaceSelector" not in peer and "ipBlock" not in peer:
                        self.assertTrue(any(selects(peer["podSelector"], p.labels) for p in pods), policy["metadata"]["name"])

    def test_ports_of_network_policies_are_declared(self):
        for policy in self.manifests.of("NetworkPolicy"):
            served = [p for p in self.manifests.pods() if selects(policy["spec"]["podSelector"], p.labels)]
            for rule in policy["spec"].get("ingress", []):
                for port in rule.get("ports", []):
                    for pod in served:
                        self.assertIn(port["port"], pod.ports.values(), f"{policy['metadata']['name']}, {pod.name}")

    def test_disruption_budgets_let_nodes_be_drained(self):
        for budget in self.manifests.of("PodDisruptionBudget"):
            self.assertGreaterEqual(budget["spec"]["maxUnavailable"], 1)

    def test_there_are_as_many_workers_as_pods(self):
        jobs = [w for w in self.manifests.of("StatefulSet") if w["metadata"]["labels"]["app.kubernetes.io/component"] == "job"]
        self.assertTrue(jobs)
        self.assertEqual(len({workload["spec"]["replicas"] for workload in jobs}), 1)
        for workload in jobs:
            (container,) = workload["spec"]["template"]["spec"]["containers"]
            (workers,) = [e["value"] for e in container["env"] if e["name"] == "TOPLINE_WORKERS"]
            self.assertEqual(workers, str(workload["spec"]["replicas"]), workload["metadata"]["name"])

    def test_what_a_worker_may_hold_fits_its_memory(self):
        """And what all workers may hold that of a replica: a full worker stops counting before anybody is killed."""
        pods = self.manifests.pods()
        workers, replicas = ([pod for pod in pods if pod.component == component] for component in ("job", "query"))
        self.assertTrue(workers and replicas)
        limits = {tuple(self.environment(pod, f"TOPLINE_MAX_{name}") for name in ("PAIRS", "PANE_ENTRIES", "KEYS")) for pod in workers}
        self.assertEqual(len(limits), 1, "a worker and its standby hold the same")
        ((pairs, entries, keys),) = limits
        for pod in workers:
            partitions = self.environment(pod, "TOPLINE_PARTITIONS")
            of_one = -(-partitions // self.environment(pod, "TOPLINE_WORKERS"))
            full = WORKER + of_one * (WORKER_PAIR * pairs + LINE * entries + KEY * keys)
            self.assertLessEqual(full, USABLE * memory_limit(pod), pod.name)
        for pod in replicas:
            full = REPLICA + REPLICA_PAIR * pairs * self.environment(pod, "TOPLINE_PARTITIONS") + RENDERED
            self.assertLessEqual(full, USABLE * memory_limit(pod), pod.name)

    def test_what_clients_may_send_fits_the_memory_of_ingest(self):
        longest = {"ItemID": str(2**64 - 1), "numberOfItems:": 2**32 - 1}
        purchase = json.dumps({"items": [longest] * 1000}, indent=4)
        found = [pod for pod in self.manifests.pods() if pod.component == "ingest"]
        self.assertTrue(found)
        for pod in found:
            body = self.environment(pod, "TOPLINE_MAX_PURCHASE_BYTES")
            self.assertGreaterEqual(body, len(purchase), pod.name)
            self.assertEqual(body, BODY, "CONNECTION is of such bodies")
            self.assertEqual(self.environment(pod, "TOPLINE_MAX_BULK_REQUESTS"), 16, "BULK is of so many")
            full = BULK + CONNECTION * self.environment(pod, "TOPLINE_MAX_CONNECTIONS")
            self.assertLessEqual(full, USABLE * memory_limit(pod), pod.name)

    def environment(self, pod, name):
        """A number that the manifests set."""
        return int(self.manifests.environment(pod)[name])

    def test_setup_registers_the_spus_there_are(self):
        setup = self.manifests.named("Job", "topline-setup")["spec"]["template"]["spec"]["containers"][0]["args"]
        spus = [pod for pod in self.manifests.pods() if pod.component == "spu"]
        first = int(next(e["value"] for e in spus[0].container["env"] if e["name"] == "SPU_MIN"))
        wanted = [
            f"--register-spu={first + i}={pod.name}.fluvio-spu:{pod.port('public')},{pod.name}.fluvio-spu:{pod.port('private')}"
            for i, pod in enumerate(spus)
        ]
        self.assertEqual([a for a in setup if a.startswith("--register-spu")], wanted)
        (replication,) = [int(a.split("=")[1]) for a in setup if a.startswith("--replication=")]
        self.assertLessEqual(replication, len(spus))

    def test_images_have_a_tag(self):
        for pod in self.manifests.pods():
            self.assertRegex(pod.image, r":[^:/]+$")

    def test_the_grace_period_is_longer_than_the_drain(self):
        for pod in self.manifests.pods():
            stop = pod.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if pod.is_topline and pod.workload["kind"] != "Job":
                # --drain-timeout, once for requests, and once more for batches under way.
                drain = 20 * (2 if pod.component == "ingest" else 1)
                self.assertGreater(pod.spec["terminationGracePeriodSeconds"], stop + drain, pod.name)

    def test_pods_keep_the_restricted_standard(self):
        """What the namespace enforces; a Deployment that breaks it is made, but its pods are not."""
        (namespace,) = self.manifests.of("Namespace")
        self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
        for pod in self.manifests.pods():
            mine, its = pod.spec["securityContext"], pod.container["securityContext"]
            self.assertTrue(mine["runAsNonRoot"] and mine["runAsUser"] > 0, pod.name)
            self.assertEqual(mine["seccompProfile"], {"type": "RuntimeDefault"}, pod.name)
            self.assertFalse(its["allowPrivilegeEscalation"], pod.name)
            self.assertEqual(its["capabilities"], {"drop": ["ALL"]}, pod.name)
            self.assertTrue(its["readOnlyRootFilesystem"], pod.name)
            self.assertFalse({"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.spec.keys(), pod.name)
            for volume in pod.spec.get("volumes", []):
                self.assertTrue({"configMap", "emptyDir", "persistentVolumeClaim", "secret"} & volume.keys(), pod.name)

    def test_what_is_scraped_is_a_port(self):
        scraped = [pod for pod in self.manifests.pods() if "prometheus.io/scrape" in pod.annotations]
        self.assertEqual({pod.component for pod in scraped}, {"ingest", "job", "query"})
        for pod in scraped:
            self.assertEqual(int(pod.annotations["prometheus.io/port"]), pod.port("admin"))
        for monitor in self.manifests.of("PodMonitor"):
            for pod in self.manifests.pods():
                if selects(monitor["spec"]["selector"], pod.labels):
                    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                        self.assertIn(endpoint["port"], pod.ports)
                        self.assertEqual(endpoint["path"], pod.annotations["prometheus.io/path"])

    def test_the_way_in_leads_to_services(self):
        for ingress in self.manifests.of("Ingress"):
            for rule in ingress["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    backend = path["backend"]["service"]
                    service = self.manifests.service(backend["name"])
                    self.assertIn(backend["port"]["name"], [p["name"] for p in service["spec"]["ports"]])
            health = ingress["metadata"]["annotations"]["alb.ingress.kubernetes.io/healthcheck-port"]
            for name in ("topline-ingest", "topline-query"):
                for pod in self.manifests.behind(self.manifests.service(name)):
                    self.assertEqual(int(health), pod.port("admin"))

    def test_who_speaks_tls_is_said_to(self):
        """By the services to load balancers and meshes, by the Ingress to the ALB; probes go where there is none."""
        for service in self.manifests.of("Service"):
            for port in service["spec"]["ports"]:
                if port["name"] == "http":
                    for pod in self.manifests.behind(service):
                        self.assertEqual(port["appProtocol"], "https" if pod.has_certificate else "http", service["metadata"]["name"])
                        self.assertEqual(port["port"], 443 if pod.has_certificate else 80, service["metadata"]["name"])
        for pod in self.manifests.pods():
            for kind, probe in pod.probes.items():
                if pod.has_certificate:
                    self.assertNotEqual(probe["httpGet"]["port"], "http", f"{pod.name}: {kind}")
        for ingress in self.manifests.of("Ingress"):
            notes = ingress["metadata"]["annotations"]
            pods = self.manifests.behind(self.manifests.service("topline-ingest"))
            self.assertEqual(notes.get("alb.ingress.kubernetes.io/backend-protocol", "HTTP"), "HTTPS" if pods[0].has_certificate else "HTTP")
            self.assertEqual(notes.get("alb.ingress.kubernetes.io/healthcheck-protocol", "HTTP"), "HTTP")


class Kind(Overlay, unittest.TestCase):
    manifests = OVERLAYS["kind"]

    def test_the_cluster_maps_the_node_ports(self):
        ports = {
            port["nodePort"]
            for service in self.manifests.of("Service")
            for port in service["spec"]["ports"]
            if "nodePort" in port
        }
        with open(os.path.join(os.path.dirname(__file__), "../kind-cluster.yaml")) as file:
            mapped = set(map(int, re.findall(r"containerPort: (\d+)", file.read())))
        self.assertEqual(ports, mapped)


class KindFull(Kind):
    manifests = OVERLAYS["kind-full"]


class Tls:
    def test_the_way_in_speaks_tls(self):
        for component in self.secured:
            pods = [pod for pod in self.manifests.pods() if pod.component == component]
            self.assertTrue(pods, component)
            for pod in pods:
                self.assertTrue(pod.has_certificate, pod.name)


class KindTls(Tls, Kind):
    manifests = OVERLAYS["kind-tls"]
    secured = ("ingest", "query", "gateway")


class Eks(Overlay, unittest.TestCase):
    manifests = OVERLAYS["eks"]

    def test_every_volume_is_of_the_storage_class(self):
        (storage,) = self.manifests.of("StorageClass")
        for workload in self.manifests.of("StatefulSet"):
            for claim in workload["spec"]["volumeClaimTemplates"]:
                self.assertEqual(claim["spec"]["storageClassName"], storage["metadata"]["name"])


class EksFull(Eks):
    manifests = OVERLAYS["eks-full"]


class EksTls(Tls, Eks):
    manifests = OVERLAYS["eks-tls"]
    secured = ("ingest", "query")


if __name__ == "__main__":
    unittest.main()
