"""What each role needs: memory by the size of the state, CPU by load. Called by k8s/measure.

The pods of the kind overlay, one of each, run as processes with the arguments, environment and configuration of the manifests.
"""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from load import NDJSON, TOKEN, today
from manifests import Manifests
from system import System, eventually, get

STORES, ITEMS, LINES = 1_000, 100_000, 5
# Bodies of a set, and purchases in each: 5 million lines.
BODIES, PURCHASES = 500, 2_000
# Lines a second of a paced pass, requests a second of the load generator, and for how long it sends.
PACE, GETS, POSTS, SECONDS = 250_000, 4_000, 1_000, 20
CONNECTIONS = 4
# Longer than the interval of checkpoints.
IDLE = 12
# As many as TOPLINE_MAX_BULK_REQUESTS of the manifests, and as large as --max-bulk-bytes lets them be.
LARGE, LARGE_BYTES = 16, 15 << 20
COMPONENTS = ("ingest", "job", "query", "sc", "spu", "gateway")
TICK = os.sysconf("SC_CLK_TCK")


def make_bodies(path, seed):
    """A set of bodies: stores and items by Zipf's law, ids as the load generator has them."""
    rng = random.Random(seed)
    weights = lambda count: list(itertools.accumulate(1 / n for n in range(1, count + 1)))
    stores, items = weights(STORES), weights(ITEMS)
    date = today()
    with open(path, "w") as file:
        for _ in range(BODIES):
            bought = iter(rng.choices(range(1, ITEMS + 1), cum_weights=items, k=PURCHASES * LINES))
            for store in rng.choices(range(1, STORES + 1), cum_weights=stores, k=PURCHASES):
                basket = ",".join(f'{{"ItemID":{item},"numberOfItems":2}}' for item in itertools.islice(bought, LINES))
                file.write(f'{{"storeID":{store},"custID":1000,"date":"{date}","items":[{basket}]}}\n')


def body_file(work, name):
    """Of today: the purchases of another day may be late."""
    return work / f"{name}-{today()}.ndjson"


def bodies(path):
    with open(path) as file:
        while body := "".join(itertools.islice(file, PURCHASES)):
            yield body


@dataclass
class Reading:
    """Of a pod: CPU seconds so far, memory now and at most, in bytes."""

    cpu: float
    resident: int
    peak: int


def reading(system, component):
    (running,) = system.of(component)
    cpu = resident = peak = 0
    for process in system.processes(running):
        stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        cpu += (int(stat[11]) + int(stat[12])) / TICK
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        resident += int(status["VmRSS"].split()[0]) << 10
        peak += int(status["VmHWM"].split()[0]) << 10
    return Reading(cpu, resident, peak)


def one_of_each(manifests):
    """The overlay, cut down to one pod of each workload; the worker has all partitions, and may hold what it likes."""
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        scaler["spec"]["minReplicas"] = 1
    for kind in ("StatefulSet", "Deployment"):
        for workload in manifests.of(kind):
            workload["spec"]["replicas"] = 1
            (container,) = workload["spec"]["template"]["spec"]["containers"]
            if workload["metadata"]["labels"]["app.kubernetes.io/component"] == "job":
                unlimited = [v for v in container["env"] if not v["name"].startswith("TOPLINE_MAX_")]
                container["env"] = [{**v, "value": "1"} if v["name"] == "TOPLINE_WORKERS" else v for v in unlimited]
    setup = manifests.named("Job", "topline-setup")["spec"]["template"]["spec"]["containers"][0]
    setup["args"] = [a for a in setup["args"] if not a.startswith("--register-spu") or "=5001=" in a]
    return manifests


class Measurement:
    def __init__(self, system, work):
        self.system, self.work, self.rows = system, work, []
        self.first, self.second = body_file(work, "first"), body_file(work, "second")
        self.gateway = self.place("gateway", "http")

    def place(self, component, port):
        (running,) = self.system.of(component)
        return running.address, running.pod.port(port)

    def metric(self, component, name):
        """The sum of all series of a metric."""
        text = get(*self.place(component, "admin"), "/metrics")[2]
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((name + "{", name + " ")))

    def phase(self, name, work):
        """Does something and notes what each pod used for it; `work` gives how much was done, if it can be counted."""
        before = {c: reading(self.system, c) for c in COMPONENTS}
        started = time.monotonic()
        done = work()
        elapsed = time.monotonic() - started
        after = {c: reading(self.system, c) for c in COMPONENTS}
        self.rows.append({
            "phase": name, "seconds": round(elapsed, 1), "done": done, "pairs": int(self.metric("job", "topline_job_live_pairs")),
            "state": int(self.metric("job", "topline_job_state_bytes")),
            **{
                c: {
                    "cpu": round(after[c].cpu - before[c].cpu, 2),
                    "mb": round(after[c].resident / 1e6),
                    "peak": round(after[c].peak / 1e6),
                }
                for c in COMPONENTS
            },
        })
        print(name, file=sys.stderr, flush=True)

    def caught_up(self):
        """Waits until the replica has all there is."""
        eventually("the replica has caught up", lambda: self.metric("job", "topline_job_lag_batches") == 0
                   and self.metric("query", "topline_view_lag_seconds") < 1)

    def bulk(self, path, pace=PACE, connections=CONNECTIONS, source=None):
        """Sends bodies; the n-th is due when the pace has come to it."""
        lines, lock = 0, threading.Lock()
        queue = enumerate(source or bodies(path))
        started = time.monotonic()

        def send():
            nonlocal lines
            while True:
                with lock:
                    number, body = next(queue, (0, None))
                if body is None:
                    return
                if pace:
                    time.sleep(max(0.0, started + number * PURCHASES * LINES / pace - time.monotonic()))
                while (answer := get(*self.gateway, "/v1/purchases", NDJSON, "POST", body))[0] == 503:
                    time.sleep(0.1)
                assert answer[0] == 200, answer
                with lock:
                    lines += json.loads(answer[2])["accepted"] * LINES

        with ThreadPoolExecutor(connections) as pool:
            for sender in [pool.submit(send) for _ in range(connections)]:
                sender.result()
        self.caught_up()
        return lines

    def large(self):
        """As many bodies at once as ingest reads, as large as it takes them."""
        body = "".join(itertools.islice(bodies(self.first), LARGE_BYTES * BODIES // self.first.stat().st_size))
        return self.bulk(None, None, LARGE, [body] * LARGE)

    def loadgen(self, profile, rate):
        report = self.work / f"{profile}.json"
        subprocess.run(
            [os.environ["TOPLINE"], "loadgen", f"http://{self.gateway[0]}:{self.gateway[1]}", "--profile", profile, "--rate", str(rate),
             "--duration", f"{SECONDS}s", "--warm-up", "0s", "--no-seeding", "--clients", "64", "--json", report],
            env={**os.environ, "TOPLINE_WRITE_TOKEN": TOKEN["Authorization"].removeprefix("Bearer ")},
            check=True, stdout=subprocess.DEVNULL,
        )
        return rate * SECONDS

    def restart(self, component):
        """Killed, and started again: memory while the state is restored."""
        (running,) = self.system.of(component)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        running.start()
        eventually(f"{component} is ready", lambda: running.probe("readinessProbe"))

    def run(self):
        idle = lambda: time.sleep(IDLE)
        self.phase("empty, idle", idle)
        self.phase(f"bulk, {PACE} lines/s", lambda: self.bulk(self.first))
        self.phase("idle", idle)
        self.phase(f"get-heavy, {GETS} requests/s", lambda: self.loadgen("get-heavy", GETS))
        self.phase(f"post-only, {POSTS} requests/s", lambda: self.loadgen("post-only", POSTS))
        self.phase(f"bulk, {PACE} lines/s, other purchases", lambda: self.bulk(self.second))
        self.phase("idle", idle)
        self.phase("bulk, as much as is taken", lambda: self.bulk(self.first, None))
        self.phase(f"{LARGE} bodies of {LARGE_BYTES >> 20} MiB at once", self.large)
        for component in ("job", "query"):
            self.restart(component)
        self.phase("job and query killed and started again, idle", idle)


def print_table(rows):
    """Markdown: of each pod its memory now and at most, in MB, and its CPU seconds."""
    print("| during | s | done | pairs | state |", " | ".join(COMPONENTS), "|")
    print("|---|" + "---:|" * (4 + len(COMPONENTS)))
    for row in rows:
        cells = [f"{row[c]['mb']}, {row[c]['peak']} MB, {row[c]['cpu']} s" for c in COMPONENTS]
        print(f"| {row['phase']} | {row['seconds']} | {row['done'] or ''} | {row['pairs']} | {row['state'] / 1e6:.0f} MB |", " | ".join(cells), "|")


def main(work, *arguments):
    work = Path(work)
    for name, seed in (("first", 1), ("second", 2)):
        if not (file := body_file(work, name)).exists():
            make_bodies(file, seed)
    if arguments == ("prepare",):
        return
    system = System(one_of_each(Manifests(work / "kind.yaml")))
    assert system.fluvio, "fluvio-run must be on PATH"
    try:
        system.start()
        system.wait_ready()
        measurement = Measurement(system, work)
        measurement.run()
        (work / "sizing.json").write_text(json.dumps(measurement.rows, indent=1))
        print_table(measurement.rows)
    finally:
        system.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
