"""Dashboard and alerts against a real Prometheus that scrapes the running system, as the manifests tell it to."""

import json
import math
import os
import re
import shutil
import subprocess
import time
import unittest
import urllib.parse
from pathlib import Path

import yaml

from load import Load
from manifests import Manifests
from system import System, die_with_parent, eventually, get

ROOT = Path(__file__).resolve().parent.parent.parent
DASHBOARD = json.loads((ROOT / "dashboards/grafana/overview.json").read_text())
ALERTS = yaml.safe_load((ROOT / "dashboards/prometheus/alerts.yml").read_text())
NAMES = set(re.findall(r'= "(topline_\w+)",', (ROOT / "crates/telemetry/src/names.rs").read_text()))
RUNBOOK = (ROOT / "docs/runbook.md").read_text()

# What is not there without a cluster: the feed between its roles, and the topics of the side outputs.
NEEDS_CLUSTER = re.compile(r"topline_(feed|job_side)_")
# Selectors of alerts that rightly find nothing while all is well, or that are not of our processes.
SILENT = re.compile(r'kubelet_|kube_|status=~"5\.\."|reason=~"overloaded')

PORT = 9090
RATE_INTERVAL = "10s"
# A checkpoint comes every 10 s, and a rate needs two samples.
PATIENCE = 60


def panels():
    """(title, expression) of everything that is shown."""
    return [
        (panel["title"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


def rules():
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def base(name):
    """The name of the metric a series belongs to."""
    without = re.sub(r"_(bucket|sum|count)$", "", name)
    return name if name in NAMES else without


class Names(unittest.TestCase):
    def test_all_metrics_exist(self):
        self.assertGreater(len(NAMES), 30)
        for where, text in [*panels(), *((rule["alert"], rule["expr"]) for rule in rules())]:
            for name in re.findall(r"topline_\w+", text):
                self.assertIn(base(name), NAMES, where)

    def test_all_metrics_are_shown(self):
        shown = {base(name) for _, expr in panels() for name in re.findall(r"topline_\w+", expr)}
        self.assertEqual(NAMES - shown, set())

    def test_the_runbook_names_what_exists(self):
        documented = set(re.findall(r"`(topline_\w+)[`{]", RUNBOOK))
        self.assertGreater(len(documented), 10)
        self.assertLessEqual({base(name) for name in documented}, NAMES)

    def test_every_alert_has_its_section(self):
        for rule in rules():
            name = rule["alert"]
            page, _, section = rule["annotations"]["runbook_url"].partition("#")
            self.assertEqual(section, name.lower())
            self.assertRegex(page, r"^(https?://\S+|docs/runbook\.md)$")
            self.assertEqual(page, rules()[0]["annotations"]["runbook_url"].partition("#")[0], "see dashboards/generate --runbook")
            self.assertIn("summary", rule["annotations"])
            self.assertIn("for", rule)
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
            section = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", RUNBOOK, re.DOTALL | re.MULTILINE)
            self.assertTrue(section, f"{name} is not in the runbook")
            for part in ("Means:", "Confirm:", "Do:"):
                self.assertIn(part, section[1], name)

    def test_every_alert_is_tested_both_ways(self):
        tests = yaml.safe_load((ROOT / "dashboards/prometheus/alerts_test.yml").read_text())["tests"]
        names = [test["name"] for test in tests]
        for rule in rules():
            self.assertIn(f"{rule['alert']} fires", names)
            self.assertIn(f"{rule['alert']} is silent", names)

    def test_panels_say_what_they_show(self):
        titles = [panel["title"] for panel in DASHBOARD["panels"]]
        for panel in DASHBOARD["panels"]:
            if panel["type"] != "row":
                self.assertTrue(panel["description"] and panel["fieldConfig"]["defaults"]["unit"], panel["title"])
        self.assertEqual(len({panel["id"] for panel in DASHBOARD["panels"]}), len(titles))
        taken = set()
        for panel in DASHBOARD["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, f"{panel['title']} lies over another")
            taken |= cells


@unittest.skipUnless(shutil.which("prometheus"), "no prometheus")
class Scraped(unittest.TestCase):
    """The pods of the kind overlay, and a `topline serve` beside them, as two namespaces."""

    @classmethod
    def setUpClass(cls):
        cls.manifests = Manifests(f"{os.environ['RENDERED']}/kind.yaml")
        cls.system = System(cls.manifests)
        cls.addClassCleanup(cls.system.stop)
        cls.system.start()
        cls.start_serve()
        cls.system.wait_ready()
        cls.start_prometheus()
        ingest, query = cls.system.of("ingest")[0], cls.system.of("query")[0]
        post, ask = (ingest.address, 8080), ((query if cls.system.fluvio else ingest).address, 8080)
        cls.loads = [Load(post, ask), Load((cls.serve, 8080), (cls.serve, 8080))]
        for load in cls.loads:
            load.start()
        cls.pending = cls.data_of_all()

    @classmethod
    def tearDownClass(cls):
        for load in cls.loads:
            load.stop()

    @classmethod
    def spawn(cls, name, *command):
        with open(cls.system.directory / name, "wb") as output:
            process = subprocess.Popen(command, env={}, stdout=output, stderr=output, preexec_fn=die_with_parent)
        cls.addClassCleanup(process.wait)
        cls.addClassCleanup(process.kill)

    @classmethod
    def start_serve(cls):
        cls.serve = cls.system.spare
        cls.spawn(
            "serve", os.environ["TOPLINE"], "serve", f"--listen={cls.serve}:8080", f"--admin-listen={cls.serve}:9090",
            f"--data-dir={cls.system.directory}/serve-data",
        )
        eventually("serve is ready", lambda: get(cls.serve, 9090, "/readyz")[0] == 200)

    @classmethod
    def start_prometheus(cls):
        """With the configuration of the manifests; only where the targets come from is another."""
        (pod,) = cls.system.of("prometheus")
        cls.prometheus = pod.address
        configuration = yaml.safe_load(cls.config_map("topline-prometheus")["prometheus.yml"])
        (scrape,) = configuration["scrape_configs"]
        assert scrape.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"own_namespace": True}}]
        scrape["static_configs"] = cls.targets()
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        rules = cls.system.directory / "alerts.yml"
        rules.write_text(cls.config_map("topline-alerts")["alerts.yml"])
        configuration["rule_files"] = [str(rules)]
        file = cls.system.directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(configuration))
        subprocess.run(["promtool", "check", "config", file], check=True, stdout=subprocess.DEVNULL)
        cls.spawn(
            "prometheus", shutil.which("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={cls.system.directory}/tsdb",
            f"--web.listen-address={cls.prometheus}:{PORT}", "--log.level=warn",
        )
        eventually("prometheus is ready", lambda: get(cls.prometheus, PORT, "/-/ready")[0] == 200)

    @classmethod
    def config_map(cls, prefix):
        (found,) = [m for m in cls.manifests.of("ConfigMap") if re.fullmatch(rf"{prefix}(-\w{{10}})?", m["metadata"]["name"])]
        return found["data"]

    @classmethod
    def targets(cls):
        """What service discovery would find: each declared port of each pod, with what is known of the pod."""
        found = []
        for running in cls.system.runnable():
            for port in running.pod.ports.values():
                found.append(cls.target("topline", running.pod, f"{running.address}:{port}", port))
        pod = cls.system.of("ingest")[0].pod
        labels = cls.target("single", pod, f"{cls.serve}:9090", 9090)
        labels["labels"].update({"__meta_kubernetes_pod_name": "serve", "__meta_kubernetes_pod_label_app_kubernetes_io_component": "serve"})
        return [*found, labels]

    @staticmethod
    def target(namespace, pod, address, port):
        known = {"namespace": namespace, "pod_name": pod.name, "pod_phase": "Running", "pod_container_port_number": str(port)}
        sanitized = lambda key: re.sub(r"\W", "_", key)
        known |= {f"pod_label_{sanitized(k)}": v for k, v in pod.labels.items()}
        known |= {f"pod_annotation_{sanitized(k)}": v for k, v in pod.annotations.items()}
        return {"targets": [address], "labels": {f"__meta_kubernetes_{k}": v for k, v in known.items()}}

    @classmethod
    def api(cls, path, **parameters):
        status, _, body = get(cls.prometheus, PORT, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(body)
        assert status == 200, f"{parameters}: {answer}"
        return answer["data"]

    @classmethod
    def has_data(cls, expression):
        """Whether it gives a number, for the cluster or for the single server."""
        for namespace in ("topline", "single"):
            substituted = expression.replace("$namespace", namespace).replace("$pod", ".*").replace("$__rate_interval", RATE_INTERVAL)
            if any(not math.isnan(float(s["value"][1])) for s in cls.api("query", query=substituted)["result"]):
                return True
        return False

    @classmethod
    def data_of_all(cls):
        """Expressions of panels, and selectors of alerts, that give no data however long one waits."""
        pending = {expression: title for title, expression in panels()}
        for rule in rules():
            for selector in re.findall(r"(?:topline_|process_|kube_|kubelet_|\bup\b)\w*(?:\{[^}]*\})?", rule["expr"]):
                pending[selector] = rule["alert"]
        deadline = time.monotonic() + PATIENCE
        while any(not SILENT.search(e) for e in pending) and time.monotonic() < deadline:
            pending = {e: where for e, where in pending.items() if not cls.has_data(e)}
            time.sleep(1)
        return pending

    def test_each_pod_is_scraped_once(self):
        up = [t["labels"] for t in self.api("targets", state="active")["activeTargets"] if t["health"] == "up"]
        wanted = [r.pod.name for r in self.system.runnable() if r.pod.component in ("ingest", "job", "query")]
        self.assertEqual(sorted(t["pod"] for t in up), sorted([*wanted, "serve"]))
        for target in up:
            self.assertEqual(target["job"], "topline")
            self.assertTrue({"namespace", "component"} <= target.keys())

    def test_every_panel_has_data(self):
        without = {e: title for e, title in self.pending.items() if e in dict(map(reversed, panels()))}
        if not self.system.fluvio:
            skipped = [e for e in without if NEEDS_CLUSTER.search(e)]
            if skipped:
                print(f"\nskipped: no fluvio-run: {len(skipped)} expressions of panels that only a cluster fills")
            without = {e: title for e, title in without.items() if e not in skipped}
        self.assertEqual(without, {})

    def test_every_series_of_alerts_is_there(self):
        without = {e for e in self.pending if e not in dict(map(reversed, panels()))}
        if not self.system.fluvio:
            without = {e for e in without if not NEEDS_CLUSTER.search(e)}
        self.assertEqual({e for e in without if not SILENT.search(e)}, set())

    def test_no_alert_fires_while_all_is_well(self):
        for rule in self.api("rules")["groups"]:
            for alert in rule["rules"]:
                self.assertEqual(alert["health"], "ok", alert)
                self.assertNotEqual(alert["state"], "firing", alert)

    def test_variables_find_something(self):
        for variable in DASHBOARD["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
                found = self.api("query", query=f"count by ({label}) ({metric.replace('$namespace', 'topline')})")["result"]
                self.assertTrue(all(label in series["metric"] for series in found) and found, variable["name"])


if __name__ == "__main__":
    unittest.main()
