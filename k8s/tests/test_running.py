"""Each container's command, started as a process with its arguments and environment: does it serve what the manifests say?"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import time
import unittest

from load import JSON, NDJSON, Load, today
from manifests import Manifests
from system import SECURE, System, can_contain, eventually, get


def setUpModule():
    if not shutil.which("fluvio-run"):
        print("\nskipped: no fluvio-run: the roles run as `topline serve`, Fluvio's containers do not run")
    if not can_contain():
        print("\nskipped: no mount namespaces: the processes run with the rights of the tests, and may write anywhere")
    if not shutil.which("nginx"):
        print("\nskipped: no nginx: the gateway does not run")


class Running:
    overlay: str

    @classmethod
    def setUpClass(cls):
        cls.system = System(Manifests(f"{os.environ['RENDERED']}/{cls.overlay}.yaml"))
        cls.addClassCleanup(cls.system.stop)
        cls.system.start()
        cls.system.wait_ready()

    def place(self, component, port="http"):
        running = self.system.of(component)[0]
        return running.address, running.pod.port(port)

    def gateways(self):
        return [(r.address, r.pod.port("http")) for r in self.system.of("gateway") if r.process]

    def way_in(self):
        """Where POSTs and GETs go."""
        if self.gateways() and self.system.fluvio:
            return self.place("gateway"), self.place("gateway")
        # Without a cluster each role has data of its own.
        return self.place("ingest"), self.place("query" if self.system.fluvio else "ingest")

    def test_1_all_probes_succeed(self):
        for running in self.system.runnable():
            for kind in running.pod.probes:
                self.assertTrue(running.probe(kind), f"{running.pod.name}: {kind}")

    def test_2_a_purchase_comes_back(self):
        post, ask = self.way_in()
        path = f"/purchase/77/customer/1/date/{today()}"
        body = json.dumps({"items": [{"ItemID": "5", "numberOfItems:": 3}]})
        token = {**JSON, "Authorization": "Bearer wrong"}
        if "TOPLINE_WRITE_TOKEN" in self.system.of("ingest")[0].environment:
            self.assertEqual(get(*post, path, token, "POST", body)[0], 401)
        status, headers, answer = get(*post, path, JSON, "POST", body)
        self.assertEqual(status, 201, answer)
        status, _, answer = get(*ask, "/items/store/77", {"Topline-Wait-For": headers["Topline-Position"]})
        self.assertEqual((status, json.loads(answer)), (200, {"stores": [{"itemID": 5, "numberOfItems": 3}]}))

    def test_3_annotated_ports_give_metrics(self):
        for running in self.system.runnable():
            notes = running.pod.annotations
            if notes.get("prometheus.io/scrape") == "true":
                status, _, text = get(running.address, int(notes["prometheus.io/port"]), notes["prometheus.io/path"])
                self.assertEqual(status, 200, running.pod.name)
                self.assertIn("\ntopline_", text, running.pod.name)

    def test_4_ports_are_those_declared(self):
        """No port is declared that is not served, and none served that is not declared."""
        listening = {}
        for running, state, (address, port), _ in self.system.sockets():
            if state == "0A" and not (running.pod.component == "job" and not self.system.fluvio):
                self.assertEqual(address, running.address, running.pod.name)
                listening.setdefault(running.pod.name, set()).add(port)
        self.assertTrue(listening)
        for name, ports in listening.items():
            self.assertEqual(ports, set(self.system.pods[name].pod.ports.values()), name)

    def test_5_connections_are_allowed(self):
        """What the containers are told to connect to, and what they do connect to, the network policies let through."""
        post, ask = self.way_in()
        load = Load(post, ask)
        load.start()
        time.sleep(1)
        seen = {reference for reference in self.system.references if self.system.pods[reference[0]].process}
        by_address = {running.address: running for running in self.system.pods.values()}
        for owner, state, _, (address, port) in self.system.sockets():
            if state == "01" and address in by_address and port in by_address[address].pod.ports.values():
                seen.add((owner.pod.name, by_address[address].pod.name, port))
        load.stop()
        manifests = self.system.manifests
        for source, target, port in sorted(seen):
            allowed = manifests.allows(self.system.pods[source].pod, self.system.pods[target].pod, port)
            self.assertTrue(allowed, f"{source} to {target}:{port}")
        self.said(seen)

    def said(self, seen):
        """The picture of k8s/base/network-policies.yaml, as it was seen."""
        components = lambda name: self.system.pods[name].pod.component
        arrows = {(components(source), components(target), port) for source, target, port in seen}
        if self.system.fluvio:
            clients = {(c, "spu", 9005) for c in ("ingest", "job", "query")}
            self.assertLessEqual(clients | {("setup", "sc", 9003), ("spu", "sc", 9004)}, arrows)

    def test_6_nothing_else_is_allowed(self):
        manifests = self.system.manifests
        pods = {name: self.system.pods[name].pod for name in self.system.pods}
        one = {pod.component: pod for pod in pods.values()}
        for source, target, port in (
            ("ingest", "job", 9090), ("query", "job", 9090), ("ingest", "spu", 9006), ("query", "sc", 9004), ("setup", "spu", 9005),
            ("job", "ingest", 8080), ("gateway", "job", 9090), ("gateway", "ingest", 9090), ("gateway", "spu", 9005), ("spu", "query", 8080),
        ):
            if source in one and target in one:
                self.assertFalse(manifests.allows(one[source], one[target], port), f"{source} to {target}:{port}")

    def test_7_files_are_written_on_volumes_only(self):
        for running in self.system.runnable():
            places = tuple(f"{place}/" for place in running.mounts().values())
            if not self.system.fluvio and running.pod.is_topline:
                places += (f"{running.directory}/data/",)
            for file in self.system.written(running):
                if file != f"{running.directory}/output":
                    self.assertTrue(file.startswith(places), f"{running.pod.name} writes {file}")

    def test_8_the_gateway_answers_errors_in_their_form(self):
        """Also where nginx itself has to say no; how much is too much, ingest says."""
        for place in self.gateways():
            for status, method, path, headers, body, words in (
                (400, "GET", "/%zz", {}, None, "not a valid HTTP request"),
                (404, "GET", "/.gateway/error", {}, None, "no such path"),
                (405, "TRACE", "/", {}, None, "use GET, HEAD or POST"),
                (413, "POST", "/v1/purchases", NDJSON, b" " * ((16 << 20) + 1), "larger than 16777216 bytes"),
                (414, "GET", f"/{'a' * 9000}", {}, None, "shorten it"),
                (431, "GET", "/", {"A": "a" * 9000}, None, "fewer or shorter"),
                (501, "POST", "/v1/purchases", {"Transfer-Encoding": "gzip"}, None, "only chunked"),
            ):
                with self.subTest(status=status):
                    self.assert_error(get(*place, path, headers, method, body), status, words)

    def assert_error(self, answer, status, words):
        self.assertEqual((answer[0], answer[1]["Content-Type"]), (status, "application/json"), answer[2])
        error = json.loads(answer[2])
        self.assertEqual(list(error), ["message"])
        self.assertIn(words, error["message"])

    def test_8_setup_may_be_repeated(self):
        for running in self.system.of("setup"):
            if self.system.fluvio:
                running.start()
                eventually("setup ends well", lambda: self.system.ended_well(running))

    def test_8_load_can_be_put_on_it(self):
        for running in self.system.of("loadgen"):
            if self.system.fluvio and shutil.which("nginx"):
                running.environment |= {"TOPLINE_LOADGEN_DURATION": "1s", "TOPLINE_LOADGEN_WARM_UP": "0s"}
                running.start()
                eventually("the load ends well", lambda: self.system.ended_well(running))
                reports = os.listdir(running.directory / "reports")
                self.assertLessEqual({"summary.json", "report.html"}, set(reports))

    def test_9_roles_end_within_their_grace_period(self):
        """All at once, and the cluster stays: what a rolling update does to each."""
        roles = [r for r in self.system.runnable() if r.pod.is_topline and r.process.poll() is None]
        self.assertTrue(roles)
        started = time.monotonic()
        for running in roles:
            running.process.send_signal(signal.SIGTERM)
        for running in roles:
            stop = running.pod.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            grace = running.pod.spec["terminationGracePeriodSeconds"] - stop
            left = grace - (time.monotonic() - started)
            self.assertEqual(running.process.wait(left), 0, f"{running.pod.name}: {running.output()}")

    def test_9_then_the_gateway_says_that_nobody_answers(self):
        for place in self.gateways():
            self.assert_error(get(*place, "/v1/top-items"), 502, "try again later")


class Kind(Running, unittest.TestCase):
    overlay = "kind-full"


class KindTls(Running, unittest.TestCase):
    """Clients, the gateway and the roles check each other's certificates."""

    overlay = "kind-tls"

    def test_2_nothing_is_said_in_the_clear(self):
        for component in ("ingest", "query", "gateway"):
            for running in self.system.of(component):
                if running.process:
                    place = (running.address, running.pod.port("http"))
                    self.assertIn(place, SECURE)
                    connection = http.client.HTTPConnection(*place, timeout=10)
                    self.addCleanup(connection.close)
                    connection.request("GET", "/v1/top-items")
                    # nginx says 400, rustls closes.
                    with contextlib.suppress(http.client.HTTPException, OSError):
                        answer = connection.getresponse()
                        self.assert_error((answer.status, answer.headers, answer.read().decode()), 400, "use https")


@unittest.skipUnless(shutil.which("fluvio-run"), "no fluvio-run")
class Eks(Running, unittest.TestCase):
    overlay = "eks-full"


if __name__ == "__main__":
    unittest.main()
